#include "metrics_output.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "json_output.h"
#include "qa/evaluation.h"

namespace kvasir::cli {

void append_metrics_json(std::string& out, std::span<const qa::Metric> metrics) {
  out += '{';
  bool first = true;
  for (const qa::Metric& metric : metrics) {
    if (!first) out += ", ";
    first = false;
    append_json_string(out, metric.name);
    out += ": ";
    if (metric.integer) {
      append_json_integer(out, std::llround(metric.value));
    } else {
      append_json_number(out, metric.value);
    }
  }
  out += "}\n";
}

void append_metrics_table(std::string& out, std::span<const qa::Metric> metrics) {
  std::size_t width = 0;
  for (const qa::Metric& metric : metrics) width = std::max(width, metric.name.size());
  for (const qa::Metric& metric : metrics) {
    char value[64];
    if (metric.integer) {
      std::snprintf(value, sizeof value, "%10lld", std::llround(metric.value));
    } else {
      std::snprintf(value, sizeof value, "%13.2f",
                    metric.value);  // so that the points stand below each other
    }
    out += metric.name + std::string(width - metric.name.size() + 1, ' ') + value + '\n';
  }
}

std::string metric_version(const std::string& given, const qa::SquadDataset& data) {
  if (!given.empty()) return given;
  return qa::version_of(data);
}

}  // namespace kvasir::cli
