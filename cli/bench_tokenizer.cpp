#include <array>
#include <random>
#include <string>

#include "bench.h"

namespace kvasir::cli {

namespace {

// English-like text: the words below in random order, with the punctuation and the unknown names of real
// text.
std::string sample_text(std::size_t bytes) {
  constexpr auto kWords = std::to_array<std::string_view>({"the",
                                                           "of",
                                                           "and",
                                                           "in",
                                                           "to",
                                                           "a",
                                                           "was",
                                                           "is",
                                                           "for",
                                                           "with",
                                                           "treaty",
                                                           "signed",
                                                           "lighthouse",
                                                           "government",
                                                           "century",
                                                           "after",
                                                           "population",
                                                           "between",
                                                           "university",
                                                           "scientists",
                                                           "measured",
                                                           "temperature",
                                                           "because",
                                                           "known",
                                                           "Porthcawl",
                                                           "1868",
                                                           "3.5",
                                                           "million",
                                                           "Rees's",
                                                           "northern",
                                                           "photosynthesis",
                                                           "which",
                                                           "their",
                                                           "designed",
                                                           "Mary",
                                                           "Ellen",
                                                           "company",
                                                           "German-speaking"});
  std::mt19937 random(1);  // the same text every time
  std::string text;
  while (text.size() < bytes) {
    for (std::size_t i = 0, length = 8 + random() % 16; i < length; ++i) {
      text += kWords[random() % kWords.size()];
      text += i + 1 == length ? ". " : random() % 12 == 0 ? ", " : " ";
    }
  }
  return text;
}

}  // namespace

void bench_tokenizer(Report& report, const text::Tokenizer& tokenizer) {
  const std::string text = sample_text(std::size_t{1} << 20);
  std::size_t tokens = 0;
  const double seconds = best_seconds([&] { tokens = tokenizer.tokenize(text).size(); });
  report.add({"Tokenizer, one thread",
              "1 MiB of English",
              "MB/s",
              static_cast<double>(text.size()) / seconds / 1e6,
              {}});
  report.add(
      {"Tokenizer, one thread", "tokens", "million/s", static_cast<double>(tokens) / seconds / 1e6, {}});
}

}  // namespace kvasir::cli
