// kvasir_families TOKENS ROUNDS MODEL…: the speed of models side by side, per multiply-add.
//
// One sequence of TOKENS, one thread. The models take turns, so that all share the machine's good and bad
// moments, and each counts with its best round. Prints milliseconds, multiply-adds per second and their ratio
// to the first model's.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <limits>
#include <vector>

#include "runtime/engine.h"

namespace {

using namespace kvasir;

struct Contestant {
  runtime::Engine engine;
  double seconds = std::numeric_limits<double>::infinity();
};

void run(Contestant& contestant, std::size_t tokens) {
  std::vector<std::int32_t> ids(tokens);
  for (std::size_t i = 0; i < tokens; ++i) ids[i] = static_cast<std::int32_t>(1000 + i * 104729 % 20000);
  const runtime::Sequence sequence{.input_ids = ids, .token_type_ids = {}};
  const auto begin = std::chrono::steady_clock::now();
  contestant.engine.run({&sequence, 1}, [](std::size_t, std::span<const float>) {});
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  contestant.seconds = std::min(contestant.seconds, time.count());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: kvasir_families TOKENS ROUNDS MODEL…\n";
    return 2;
  }
  try {
    const auto tokens = static_cast<std::size_t>(std::atoi(argv[1]));
    const int rounds = std::atoi(argv[2]);
    std::vector<Contestant> contestants;
    for (int i = 3; i < argc; ++i) {
      contestants.push_back(
          {.engine = runtime::Engine::load(argv[i], models::Task::kQuestionAnswering, {.threads = 1})});
    }
    for (int round = 0; round < rounds; ++round) {
      for (Contestant& contestant : contestants) run(contestant, tokens);
    }
    double first = 0;
    for (std::size_t i = 0; i < contestants.size(); ++i) {
      const Contestant& contestant = contestants[i];
      const double rate = contestant.engine.model().multiply_adds(tokens) / contestant.seconds;
      if (i == 0) first = rate;
      std::printf("%8.2f ms  %6.1f GMAC/s  %.2f  %s\n", contestant.seconds * 1e3, rate / 1e9, rate / first,
                  argv[3 + i]);
    }
  } catch (const std::exception& error) {
    std::cerr << "kvasir_families: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
