// kvasir bench: how fast this machine runs kvasir, and what share of what it could do that is.
#include "bench.h"

#include <memory>
#include <optional>
#include <string>

#include "command.h"
#include "interrupt.h"
#include "kernels/bf16.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"
#include "model_location.h"
#include "models/causal_lm.h"
#include "models/sentence_modules.h"
#include "progress.h"
#include "reader_options.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(Each figure is the best of several runs, so that a busy neighbour counts little.
A ceiling is what a loop of multiply-adds on registers alone reaches on this
machine in that precision, with these threads and this instruction set
(KVASIR_ISA). That of decoding, which reads each weight once for a few tokens,
is what these threads read from memory just before. The encoder's share is that
of the precision it computes in; attention and all that is not a product count
against it. Of a language model: how fast it reads a prompt and writes, alone
and for eight at once, and how long the first token takes.

Examples:
  kvasir bench
  kvasir bench --model llama-2-7b.Q4_0.gguf
  KVASIR_ISA=avx2 kvasir bench --threads 2 --json)";

struct BenchArguments {
  ModelArguments model;
  bool json = false;
};

Ceilings measure_ceilings(base::Isa isa, int threads) {
  return {.fp32 = kernels::measure_fma_ceiling(isa, threads),
          .bf16 = kernels::measure_bf16_ceiling(isa, threads),
          .int8 = kernels::measure_int8_ceiling(isa, threads)};
}

// What runs the model, above the figures.
struct Setting {
  base::Isa isa;
  std::string precision;
  int threads;
  std::filesystem::path model;
};
void introduce(const BenchArguments& arguments, const Setting& setting, Program& program) {
  if (arguments.json) return;
  program.out.write("kvasir " KVASIR_VERSION ", " + std::string(base::isa_name(setting.isa)) + ", " +
                    setting.precision + ", " + std::to_string(setting.threads) +
                    (setting.threads == 1 ? " thread\n" : " threads\n") + setting.model.string() + "\n\n");
}

void add_model(Report& report, std::size_t parameters, double load_seconds) {
  report.add({"Model", "parameters", "million", static_cast<double>(parameters) / 1e6, {}});
  report.add({"Model", "load", "ms", load_seconds * 1e3, {}});
}

void run_language_model(const BenchArguments& arguments, const std::filesystem::path& model,
                        Program& program) {
  const runtime::EngineOptions options = engine_options(arguments.model);
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const double start = monotonic_seconds();
  const Generator generator = Generator::load(model, {.threads = options.threads,
                                                      .isa = base::isa_name(options.isa),
                                                      .precision = arguments.model.precision});
  const double load_seconds = monotonic_seconds() - start;
  at_once.reset();

  Report report(program, arguments.json);
  introduce(arguments, {options.isa, arguments.model.precision, generator.threads(), model}, program);
  add_model(report, generator.parameters(), load_seconds);
  bench_generator(report, generator, measure_ceilings(options.isa, generator.threads()));
  report.finish(base::isa_name(options.isa), generator.threads(), model.string());
}

void run_encoder(const BenchArguments& arguments, const std::filesystem::path& folder, Program& program) {
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const double start = monotonic_seconds();
  const runtime::Engine engine = runtime::Engine::load(folder, engine_options(arguments.model));
  const double load_seconds = monotonic_seconds() - start;
  const text::Tokenizer tokenizer = text::Tokenizer::load(models::encoder_folder(folder));
  at_once.reset();

  Report report(program, arguments.json);
  introduce(arguments, {engine.isa(), models::precision_name(engine.precision()), engine.threads(), folder},
            program);
  add_model(report, engine.model().parameters(), load_seconds);
  bench_tokenizer(report, tokenizer);
  const Ceilings ceilings = measure_ceilings(engine.isa(), engine.threads());
  bench_products(report, engine.isa(), engine.threads(), ceilings);
  bench_stored_weights(report, engine.isa(), engine.threads(), ceilings);
  bench_encoder(report, engine, ceilings);
  bench_callers(report, engine);
  report.finish(base::isa_name(engine.isa()), engine.threads(), folder.string());
}

void run_bench(const BenchArguments& arguments, Program& program) {
  const std::filesystem::path model = find_model(arguments.model.model);
  if (models::is_causal_lm(model)) return run_language_model(arguments, model, program);
  run_encoder(arguments, model, program);
}

}  // namespace

void add_bench(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command = app.add_subcommand("bench", "Measure tokenizer, kernels and model on this machine");
  command->fallthrough();
  command->footer(kFooter);
  command->add_flag("--json", arguments->json, "One JSON object, for machines");
  add_model_options(*command, arguments->model);
  command->callback([arguments, &program] {
    program.command = "bench";
    program.action = [arguments, &program] { run_bench(*arguments, program); };
  });
}

}  // namespace kvasir::cli
