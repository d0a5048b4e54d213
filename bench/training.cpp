// Kvasir's part of bench/rivals/training.py: steps of fine-tuning on batches of given lengths, random tokens.
//
//   kvasir_training MODEL LENGTHS THREADS
//
// LENGTHS has a batch on each line, the tokens of its windows. Reads "run" from standard input and replies
// with the seconds that all batches took, a step each, and the process's peak memory in MB. Without standard
// input, with "-" for LENGTHS: eight steps of 16 windows of SQuAD's lengths, told one by one with the share
// of the machine's ceiling.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "train/span_trainer.h"

namespace {

using kvasir::train::SpanBatch;
using Clock = std::chrono::steady_clock;
using Lengths = std::vector<std::vector<std::size_t>>;

constexpr std::size_t kQuestion = 15;  // tokens

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Lengths read_lengths(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  Lengths lengths;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    lengths.emplace_back();
    for (std::size_t length = 0; words >> length;) lengths.back().push_back(length);
  }
  return lengths;
}

// Median 165 tokens, mean 186, at most 384: the windows of SQuAD.
Lengths draw_lengths() {
  std::mt19937 random(1);
  std::lognormal_distribution<double> length(std::log(165.0), 0.45);
  Lengths lengths(8, std::vector<std::size_t>(16));
  for (auto& batch : lengths) {
    for (std::size_t& tokens : batch)
      tokens = static_cast<std::size_t>(std::clamp(length(random), 40.0, 384.0));
  }
  return lengths;
}

SpanBatch make_batch(const std::vector<std::size_t>& lengths, std::size_t vocabulary, std::mt19937& random) {
  SpanBatch batch;
  for (const std::size_t tokens : lengths) {
    for (std::size_t t = 0; t < tokens; ++t) {
      batch.input_ids.push_back(static_cast<std::int32_t>(1000 + random() % (vocabulary - 1000)));
      batch.token_type_ids.push_back(t < kQuestion ? 0 : 1);
    }
    batch.cu_seqlens.push_back(static_cast<std::int32_t>(batch.input_ids.size()));
    batch.start_positions.push_back(
        static_cast<std::int32_t>(kQuestion + random() % (tokens - kQuestion - 5)));
    batch.end_positions.push_back(batch.start_positions.back() + 3);
  }
  return batch;
}

void step(kvasir::train::SpanTrainer& trainer, const SpanBatch& batch) {
  trainer.add_batch(batch, {});
  trainer.step(1e-5);
}

void serve(kvasir::train::SpanTrainer& trainer, const std::vector<SpanBatch>& batches) {
  for (std::size_t i = 0; i < std::min<std::size_t>(2, batches.size()); ++i) step(trainer, batches[i]);
  std::cout << "ready kvasir" << std::endl;
  for (std::string word; std::cin >> word && word == "run";) {
    const auto start = Clock::now();
    for (const SpanBatch& batch : batches) step(trainer, batch);
    const double seconds = seconds_since(start);
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::cout << seconds << ' ' << static_cast<double>(usage.ru_maxrss) / 1024 << std::endl;
  }
}

void tell(kvasir::train::SpanTrainer& trainer, const std::vector<SpanBatch>& batches, int threads) {
  const double ceiling = kvasir::kernels::measure_fma_ceiling(kvasir::base::best_isa(), threads);
  double best = 0;
  for (const SpanBatch& batch : batches) {
    double multiply_adds = 0;
    for (std::size_t s = 0; s < batch.sequences(); ++s) {
      const auto tokens = static_cast<std::size_t>(batch.cu_seqlens[s + 1] - batch.cu_seqlens[s]);
      multiply_adds += 3 * trainer.multiply_adds(tokens);
    }
    const auto start = Clock::now();
    trainer.add_batch(batch, {});
    const double gradients = seconds_since(start);
    trainer.step(1e-5);
    const double seconds = seconds_since(start), rate = multiply_adds / seconds;
    best = std::max(best, rate);
    std::printf("%zu tokens, %.0f ms, of them AdamW %.0f; %.0f tokens/s, %.1f GMAC/s, %.0f %% of %.1f\n",
                batch.tokens(), seconds * 1e3, (seconds - gradients) * 1e3,
                static_cast<double>(batch.tokens()) / seconds, rate / 1e9, 100 * rate / ceiling,
                ceiling / 1e9);
  }
  std::printf("best %.1f GMAC/s, %.0f %% of the ceiling; activations and their gradients %.0f MB\n",
              best / 1e9, 100 * best / ceiling, static_cast<double>(trainer.peak_activation_bytes()) / 1e6);
}

int run(int count, char** words) {
  if (count != 4) {
    std::fprintf(stderr, "usage: kvasir_training MODEL LENGTHS|- THREADS\n");
    return 2;
  }
  const int threads = std::stoi(words[3]);
  const bool tells = std::string(words[2]) == "-";
  kvasir::train::SpanTrainer trainer(words[1], {.threads = threads, .adamw = {.weight_decay = 0.01}});
  std::mt19937 random(1);
  std::vector<SpanBatch> batches;
  for (const auto& lengths : tells ? draw_lengths() : read_lengths(words[2])) {
    batches.push_back(make_batch(lengths, trainer.facts().vocab_size, random));
  }
  tells ? tell(trainer, batches, threads) : serve(trainer, batches);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvasir_training: %s\n", error.what());
    return 1;
  }
}
