#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "bench.h"
#include "interrupt.h"
#include "json_output.h"
#include "progress.h"
#include "terminal.h"

namespace kvasir::cli {

double best_seconds(const std::function<void()>& body) {
  double best = 1e30;
  const double begin = monotonic_seconds();
  for (int run = 0; run < kMinRuns || monotonic_seconds() - begin < kBudget; ++run) {
    check_interrupt();
    const double start = monotonic_seconds();
    body();
    best = std::min(best, monotonic_seconds() - start);
  }
  return best;
}

void Report::add(const Figure& figure) {
  if (json_) {
    figures_.push_back(figure);
    return;
  }
  std::string out;
  if (figure.section != section_) {
    const Style style = make_style(use_color(program_.color, STDOUT_FILENO));
    out += std::string(section_.empty() ? "" : "\n") + std::string(style.bold) + figure.section +
           std::string(style.reset) + '\n';
    section_ = figure.section;
  }
  char line[160];
  std::snprintf(line, sizeof line, "  %-34s %10.*f %s", figure.name.c_str(), figure.value < 10 ? 2 : 1,
                figure.value, figure.unit.c_str());
  out += line;
  if (figure.share) {
    std::snprintf(line, sizeof line, "%*s%3.0f %% of the ceiling", static_cast<int>(14 - figure.unit.size()),
                  "", *figure.share * 100);
    out += line;
  }
  program_.out.write(out + '\n');
  program_.out.flush();
}

namespace {

void append(std::string& out, const Figure& figure) {
  out += "{\"section\":";
  append_json_string(out, figure.section);
  out += ",\"name\":";
  append_json_string(out, figure.name);
  out += ",\"value\":";
  append_json_number(out, figure.value);
  out += ",\"unit\":";
  append_json_string(out, figure.unit);
  if (figure.share) {
    out += ",\"share_of_ceiling\":";
    append_json_number(out, *figure.share);
  }
  out += '}';
}

}  // namespace

void Report::finish(const std::string& isa, int threads, const std::string& model) {
  if (!json_) return;
  std::string& out = program_.out.buffer();
  out += "{\"isa\":";
  append_json_string(out, isa);
  out += ",\"threads\":";
  append_json_integer(out, threads);
  out += ",\"model\":";
  append_json_string(out, model);
  out += ",\"figures\":[";
  for (std::size_t i = 0; i < figures_.size(); ++i) {
    if (i > 0) out += ',';
    append(out, figures_[i]);
  }
  out += "]}\n";
}

}  // namespace kvasir::cli
