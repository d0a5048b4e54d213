// kvasir_latency MODEL [THREADS [ISA]] [--precision NAME]: forward passes on demand, for bench/rivals, which
// asks us and the rivals by turns.
//
// Reads "run BATCH TOKENS REPEATS" from standard input; runs that batch of full sequences once unmeasured and
// REPEATS times measured; writes the milliseconds of each and the logits of the last sequence (starts, then
// ends), which show whether everybody computed the same thing.
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "kvasir/error.h"
#include "runtime/engine.h"

namespace {

using namespace kvasir;

// The input that bench/rivals/worker.py gives to the rivals too.
std::int32_t token(std::size_t sequence, std::size_t position) {
  return static_cast<std::int32_t>(1000 + (sequence * 7919 + position * 104729) % 20000);
}

std::string run(const runtime::Engine& engine, std::size_t batch, std::size_t tokens, int repeats) {
  std::vector<std::vector<std::int32_t>> ids(batch, std::vector<std::int32_t>(tokens));
  std::vector<runtime::Sequence> sequences(batch);
  for (std::size_t s = 0; s < batch; ++s) {
    for (std::size_t i = 0; i < tokens; ++i) ids[s][i] = token(s, i);
    sequences[s].input_ids = ids[s];
  }
  std::vector<float> logits;
  const auto consume = [&](std::size_t sequence, std::span<const float> outputs) {
    if (sequence + 1 < batch) return;
    models::SpanLogits columns = models::split_span_logits(outputs);
    logits = std::move(columns.start);
    logits.insert(logits.end(), columns.end.begin(), columns.end.end());
  };
  std::ostringstream line;
  engine.run(sequences, consume);
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    engine.run(sequences, consume);
    line << std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count()
         << ' ';
  }
  line << '|';
  for (const float logit : logits) line << ' ' << logit;
  return line.str();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    runtime::EngineOptions options;
    if (words.size() > 2 && words[words.size() - 2] == "--precision") {
      options.precision = models::parse_precision(words.back());
      words.resize(words.size() - 2);
    }
    if (words.empty() || words.size() > 3) {
      std::cerr
          << "usage: kvasir_latency MODEL [THREADS [ISA]] [--precision NAME], commands \"run BATCH TOKENS "
             "REPEATS\" on standard input\n";
      return 2;
    }
    if (words.size() > 1) options.threads = std::stoi(words[1]);
    if (words.size() > 2) options.isa = base::parse_isa(words[2]);
    const auto engine = runtime::Engine::load(words[0], models::Task::kQuestionAnswering, options);
    std::cout << "ready kvasir " << base::isa_name(engine.isa()) << ' ' << engine.threads() << " threads\n"
              << std::flush;
    std::string word;
    std::size_t batch = 0, tokens = 0;
    int repeats = 0;
    while (std::cin >> word >> batch >> tokens >> repeats && word == "run") {
      std::cout << run(engine, batch, tokens, repeats) << '\n' << std::flush;
    }
  } catch (const std::exception& error) {
    std::cerr << "kvasir_latency: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
