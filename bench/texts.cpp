// kvasir_texts embed|rerank MODEL FILE [THREADS [ISA]] [--precision NAME]: a file of texts through a
// sentence model or a cross-encoder on demand, for bench/rivals/embedding.py, which asks us and the rivals by
// turns.
//
// FILE has a text on each line, or a query and a passage with a tab between. Reads "run OUT" from standard
// input; has about 50 lines done unmeasured and all of them measured, tokenising included; writes the
// vectors or logits to OUT, as 32-bit floats one after the other, and the seconds to standard output.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/embedder.h"
#include "kvasir/reranker.h"

namespace {

using namespace kvasir;

constexpr std::size_t kWarmUp = 50;  // that of bench/rivals/embedding_worker.py

struct Arguments {
  std::string task, model, file, isa, precision = "auto";
  int threads = 0;
};

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// About kWarmUp of all, spread over them.
template <typename T>
std::vector<T> some_of(const std::vector<T>& all) {
  const std::size_t step = std::max<std::size_t>(1, all.size() / kWarmUp);
  std::vector<T> some;
  for (std::size_t i = 0; i < all.size(); i += step) some.push_back(all[i]);
  return some;
}

// Answers "run OUT": work makes numbers of texts or pairs.
template <typename T>
void serve(const std::vector<T>& all, const std::function<std::vector<float>(const std::vector<T>&)>& work) {
  const std::vector<T> some = some_of(all);
  std::string word, out;
  while (std::cin >> word >> out && word == "run") {
    work(some);
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<float> numbers = work(all);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    std::ofstream file(out, std::ios::binary);
    file.write(reinterpret_cast<const char*>(numbers.data()),
               static_cast<std::streamsize>(numbers.size() * sizeof(float)));
    if (!file.flush()) throw std::runtime_error(out + ": cannot be written");
    std::cout << time.count() << '\n' << std::flush;
  }
}

void say_ready() {
  std::cout << "ready kvasir\n" << std::flush;
}

void embed(const Arguments& arguments, const std::vector<std::string>& lines) {
  const Embedder embedder =
      Embedder::load(arguments.model,
                     {.threads = arguments.threads, .isa = arguments.isa, .precision = arguments.precision});
  std::vector<EmbedText> texts;
  for (const std::string& line : lines) texts.push_back({.text = line});
  say_ready();
  serve<EmbedText>(texts, [&](const std::vector<EmbedText>& some) {
    std::vector<float> vectors;
    vectors.reserve(some.size() * embedder.dimension());
    embedder.embed_batch(some, {}, [&](std::size_t, Embedding& embedding) {
      vectors.insert(vectors.end(), embedding.vector.begin(), embedding.vector.end());
    });
    return vectors;
  });
}

void rerank(const Arguments& arguments, const std::vector<std::string>& lines) {
  const Reranker reranker =
      Reranker::load(arguments.model,
                     {.threads = arguments.threads, .isa = arguments.isa, .precision = arguments.precision});
  std::vector<TextPair> pairs;
  for (const std::string_view line : lines) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string_view::npos) throw std::runtime_error(arguments.file + ": a line without a tab");
    pairs.push_back({.query = line.substr(0, tab), .text = line.substr(tab + 1)});
  }
  say_ready();
  serve<TextPair>(pairs, [&](const std::vector<TextPair>& some) {
    std::vector<float> logits;
    reranker.score_batch(some, {}, [&](std::size_t, PairScore& score) {
      logits.insert(logits.end(), score.logits.begin(), score.logits.end());
    });
    return logits;
  });
}

bool parse(std::vector<std::string> words, Arguments& arguments) {
  if (words.size() > 2 && words[words.size() - 2] == "--precision") {
    arguments.precision = words.back();
    words.resize(words.size() - 2);
  }
  if (words.size() < 3 || words.size() > 5 || (words[0] != "embed" && words[0] != "rerank")) return false;
  arguments.task = words[0];
  arguments.model = words[1];
  arguments.file = words[2];
  if (words.size() > 3) arguments.threads = std::stoi(words[3]);
  if (words.size() > 4) arguments.isa = words[4];
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Arguments arguments;
    if (!parse({argv + 1, argv + argc}, arguments)) {
      std::cerr << "usage: kvasir_texts embed|rerank MODEL FILE [THREADS [ISA]] [--precision NAME], commands "
                   "\"run OUT\" on standard input\n";
      return 2;
    }
    const std::vector<std::string> lines = read_lines(arguments.file);
    if (arguments.task == "embed") {
      embed(arguments, lines);
    } else {
      rerank(arguments, lines);
    }
  } catch (const std::exception& error) {
    std::cerr << "kvasir_texts: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
