// A language model on this machine: prompts, which multiply-adds bound, and writing, which memory bounds.
#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench.h"
#include "interrupt.h"
#include "kernels/quants.h"
#include "progress.h"

namespace kvasir::cli {

namespace {

constexpr std::size_t kPrompt = 512, kLongPrompt = 1000, kShortPrompt = 16, kNewTokens = 64;
constexpr std::size_t kBegun = 17;  // tokens of a prompt of which all but the last lie in a page, once known
constexpr std::size_t kSequences = 8;
constexpr int kRuns = 3;

// Prompts that no prompt before began like.
class Prompts {
 public:
  explicit Prompts(const Generator& generator) : vocab_size_(generator.vocab_size()) {}
  std::vector<std::int32_t> next(std::size_t tokens) {
    std::vector<std::int32_t> ids(tokens);
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random_() % vocab_size_);
    return ids;
  }

 private:
  std::size_t vocab_size_;
  std::mt19937 random_{5};
};

GenerateOptions writing(std::size_t tokens) {
  GenerateOptions options;
  options.max_new_tokens = tokens;
  options.ignore_eos = true;
  options.cancel = &interrupt_flag();
  return options;
}

// Tokens per second that so many sequences get together, without their prompts: those are known before, so
// that no sequence waits for what another one begins with.
double writing_rate(const Generator& generator, Prompts& prompts, std::size_t sequences) {
  std::vector<std::vector<std::int32_t>> ids;
  for (std::size_t i = 0; i < sequences; ++i) {
    ids.push_back(prompts.next(kBegun));
    generator.generate(ids.back(), writing(1));
  }
  std::vector<GenerateResult> results(sequences);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < sequences; ++i) {
      threads.emplace_back([&, i] {
        try {
          results[i] = generator.generate(ids[i], writing(kNewTokens));
        } catch (const Error&) {  // the interrupt, which check_interrupt() reports
        }
      });
    }
  }
  check_interrupt();
  double seconds = 0;
  for (const GenerateResult& result : results) {
    seconds = std::max(seconds, result.seconds - result.prompt_seconds);
  }
  return static_cast<double>(sequences * (kNewTokens - 1)) / seconds;
}

void bench_prompt(Report& report, const Generator& generator, Prompts& prompts, const Ceilings& ceilings) {
  const std::size_t tokens = std::min(kPrompt, generator.context_length() / 2);
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    best = std::min(best, generator.generate(prompts.next(tokens), writing(1)).prompt_seconds);
  }
  const double rate = generator.multiply_adds(tokens) / best;
  report.add({"Language model, prompts", std::to_string(tokens) + " tokens", "tokens/s",
              static_cast<double>(tokens) / best, rate / ceilings.int8});
}

void bench_writing(Report& report, const Generator& generator, Prompts& prompts) {
  const std::string section = "Language model, writing";
  const double bytes = static_cast<double>(generator.weight_bytes());
  report.add({section, "weights", "MB", bytes / 1e6, {}});
  double one = 0, several = 0, bandwidth = 0;
  for (int run = 0; run < kRuns; ++run) {
    // By turns: what memory gives changes with what else runs on a machine.
    bandwidth = std::max(bandwidth, kernels::measure_bandwidth(generator.threads()));
    one = std::max(one, writing_rate(generator, prompts, 1));
    several = std::max(several, writing_rate(generator, prompts, kSequences));
  }
  report.add({section, "read bandwidth", "GB/s", bandwidth / 1e9, {}});
  report.add({section, "1 sequence", "tokens/s", one, one * bytes / bandwidth});
  report.add({section, std::to_string(kSequences) + " sequences", "tokens/s", several, {}});
}

// A prompt whose beginning another request had.
void bench_first_token(Report& report, const Generator& generator, Prompts& prompts) {
  const std::string section = "Language model, time to the first token";
  const std::size_t tokens = std::min(kLongPrompt, generator.context_length() / 2);
  double fresh = 1e30, cached = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<std::int32_t> ids = prompts.next(tokens);
    fresh = std::min(fresh, generator.generate(ids, writing(1)).prompt_seconds);
    const std::vector<std::int32_t> question = prompts.next(kShortPrompt);
    ids.insert(ids.end(), question.begin(), question.end());
    cached = std::min(cached, generator.generate(ids, writing(1)).prompt_seconds);
  }
  report.add({section, std::to_string(tokens) + " tokens", "ms", fresh * 1e3, {}});
  report.add({section,
              std::to_string(kShortPrompt) + " tokens after " + std::to_string(tokens) + " known ones",
              "ms",
              cached * 1e3,
              {}});
}

}  // namespace

void bench_generator(Report& report, const Generator& generator, const Ceilings& ceilings) {
  Prompts prompts(generator);
  bench_prompt(report, generator, prompts, ceilings);
  bench_writing(report, generator, prompts);
  bench_first_token(report, generator, prompts);
}

}  // namespace kvasir::cli
