// The reader's model on this machine.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench.h"
#include "interrupt.h"
#include "progress.h"

namespace kvasir::cli {

namespace {

// Token ids that a model of this vocabulary accepts; what they mean does not change the time.
std::vector<std::vector<std::int32_t>> random_sequences(const models::EncoderFacts& facts,
                                                        const std::vector<std::size_t>& lengths) {
  std::mt19937 random(3);
  std::vector<std::vector<std::int32_t>> sequences;
  for (const std::size_t length : lengths) {
    auto& ids = sequences.emplace_back(length);
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % facts.vocab_size);
  }
  return sequences;
}

struct Run {
  double seconds = 0, multiply_adds = 0;
};

Run run_sequences(const runtime::Engine& engine, const std::vector<std::size_t>& lengths) {
  const auto ids = random_sequences(engine.facts(), lengths);
  std::vector<runtime::Sequence> sequences;
  Run run;
  for (const auto& sequence : ids) {
    sequences.push_back({.input_ids = sequence, .token_type_ids = {}});
    run.multiply_adds += engine.model().multiply_adds(sequence.size());
  }
  run.seconds = best_seconds([&] {
    engine.run(
        sequences, [](std::size_t, std::span<const float>) {}, &interrupt_flag());
  });
  return run;
}

constexpr int kMixed = 32;  // sequences of the mixed batch: a second or two of BERT-base

// Lengths as those of SQuAD's questions with their windows: mean 186, a few at the full length.
std::vector<std::size_t> mixed_lengths(const runtime::Engine& engine) {
  const std::size_t limit = engine.facts().max_positions;
  std::mt19937 random(4);
  std::lognormal_distribution<double> length(5.15, 0.4);
  std::vector<std::size_t> lengths;
  lengths.reserve(kMixed);
  for (int i = 0; i < kMixed; ++i) {
    lengths.push_back(std::clamp<std::size_t>(static_cast<std::size_t>(length(random)), 40,
                                              std::min<std::size_t>(384, limit)));
  }
  return lengths;
}

}  // namespace

void bench_encoder(Report& report, const runtime::Engine& engine, const Ceilings& ceilings) {
  const models::Precision precision = engine.precision();
  const double ceiling = precision == models::Precision::kInt8   ? ceilings.int8
                         : precision == models::Precision::kBf16 ? ceilings.bf16
                                                                 : ceilings.fp32;
  const std::size_t limit = engine.facts().max_positions;
  for (const std::size_t length : {32U, 128U, 384U}) {
    if (length > limit) continue;
    const Run run = run_sequences(engine, {length});
    report.add({"Encoder latency, one sequence", std::to_string(length) + " tokens", "ms", run.seconds * 1e3,
                run.multiply_adds / run.seconds / ceiling});
  }
  const std::vector<std::size_t> lengths = mixed_lengths(engine);
  const Run run = run_sequences(engine, lengths);
  report.add({"Encoder throughput, mixed lengths", std::to_string(kMixed) + " sequences of 40 to 384 tokens",
              "/s", static_cast<double>(lengths.size()) / run.seconds,
              run.multiply_adds / run.seconds / ceiling});
}

namespace {

// Sequences a second of so many callers, each of whom asks for one sequence after the other.
double callers_rate(const runtime::Engine& engine, const std::vector<std::vector<std::int32_t>>& ids,
                    int callers) {
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> done{0};
  const double start = monotonic_seconds();
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<std::size_t>(callers));
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&, caller] {
      for (auto i = static_cast<std::size_t>(caller); !stop; i += static_cast<std::size_t>(callers)) {
        const runtime::Sequence sequence{.input_ids = ids[i % ids.size()], .token_type_ids = {}};
        engine.run({&sequence, 1}, [&](std::size_t, std::span<const float>) { ++done; });
      }
    });
  }
  while (monotonic_seconds() - start < kBudget / 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  stop = true;
  threads.clear();
  return static_cast<double>(done) / (monotonic_seconds() - start);
}

}  // namespace

// By turns, so that a change of the machine's speed meets all alike.
void bench_callers(Report& report, const runtime::Engine& engine) {
  constexpr std::array<int, 3> kCallers{1, 2, 4};
  constexpr int kRounds = 4;
  const auto ids = random_sequences(engine.facts(), mixed_lengths(engine));
  std::array<double, kCallers.size()> best{};
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kCallers.size(); ++i) {
      check_interrupt();
      best[i] = std::max(best[i], callers_rate(engine, ids, kCallers[i]));
    }
  }
  for (std::size_t i = 0; i < kCallers.size(); ++i) {
    report.add({"Callers at the same time, one sequence of 40 to 384 tokens each",
                std::to_string(kCallers[i]) + (kCallers[i] == 1 ? " caller" : " callers"),
                "/s",
                best[i],
                {}});
  }
}

}  // namespace kvasir::cli
