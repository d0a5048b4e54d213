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

// qa::score_v1, and the number of questions that it counts as "total": the official script does not print it,
// but without it the percentages say little.
std::vector<qa::Metric> score_v1_with_total(const qa::SquadDataset& data, const qa::Predictions& predictions);

// "v1.1" or "v2.0": `given` (--metric) if not empty, else by the data.
std::string metric_version(const std::string& given, const qa::SquadDataset& data);

}  // namespace kvasir::cli
