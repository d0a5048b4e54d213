// SQuAD metrics as a table and as JSON, under the official scripts' key names.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "qa/squad.h"

namespace kvasir::cli {

// {"exact": 54.5, …}\n, keys in the order of the metrics.
void append_metrics_json(std::string& out, std::span<const qa::Metric> metrics);
// One metric a line, aligned.
void append_metrics_table(std::string& out, std::span<const qa::Metric> metrics);

// "v1.1" or "v2.0": `given` (--metric) if not empty, else by the data.
std::string metric_version(const std::string& given, const qa::SquadDataset& data);

}  // namespace kvasir::cli
