// What kvasir bench measures, a file for each kind of figure, and how it is reported.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "command.h"
#include "kvasir/generator.h"
#include "runtime/engine.h"
#include "text/tokenizer.h"

namespace kvasir::cli {

// Seconds of the fastest of several runs, at least kMinRuns, and for kBudget seconds: fifty figures take some
// 30 seconds together.
inline constexpr double kBudget = 0.4;
inline constexpr int kMinRuns = 2;
double best_seconds(const std::function<void()>& body);

// One line of the report.
struct Figure {
  std::string section, name, unit;
  double value = 0;
  std::optional<double> share;  // of the ceiling
};

// Writes figures as they come, or all of them as JSON at the end.
class Report {
 public:
  Report(Program& program, bool json) : program_(program), json_(json) {}

  void add(const Figure& figure);
  void finish(const std::string& isa, int threads, const std::string& model);

 private:
  Program& program_;
  bool json_;
  std::string section_;
  std::vector<Figure> figures_;
};

// Multiply-adds per second, see kernels::measure_fma_ceiling; bf16: 0 where there is none.
struct Ceilings {
  double fp32, bf16, int8;
};

void bench_tokenizer(Report& report, const text::Tokenizer& tokenizer);
void bench_products(Report& report, base::Isa isa, int threads, const Ceilings& ceilings);
void bench_stored_weights(Report& report, base::Isa isa, int threads, const Ceilings& ceilings);
void bench_encoder(Report& report, const runtime::Engine& engine, const Ceilings& ceilings);
void bench_callers(Report& report, const runtime::Engine& engine);
void bench_generator(Report& report, const Generator& generator, const Ceilings& ceilings);

}  // namespace kvasir::cli
