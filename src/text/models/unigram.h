// Unigram, the model of SentencePiece: of all ways to cut a word into tokens, it takes the one with the
// highest sum of scores.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/models/model.h"
#include "text/models/trie.h"

namespace kvasir::text {

struct UnigramOptions {
  std::optional<std::int32_t> unk_id;
  bool byte_fallback = false;  // <0xE2> and so on for each byte of an unknown character
};

class Unigram : public Model {
 public:
  // scores[i] belongs to the token with id i. `origin` names the model in errors. Throws kFormat.
  Unigram(Vocabulary vocabulary, std::vector<double> scores, const UnigramOptions& options,
          const std::string& origin);

  // Neighbouring unknown characters are one token. Throws kFormat for one if there is no unknown token.
  void tokenize(std::string_view word, std::vector<WordToken>& tokens) const override;
  const Vocabulary& vocabulary() const noexcept override { return vocabulary_; }

 private:
  // The best way to cut the word up to some place.
  struct Best {
    double score;
    std::int32_t id;
    std::uint32_t begin;
  };
  static constexpr std::uint32_t kNowhere = 0xFFFFFFFF;
  void find_best(std::string_view word, Best* best) const;
  void add_unknown(std::string_view word, std::uint32_t begin, std::uint32_t end,
                   std::vector<WordToken>& tokens) const;

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  UnigramOptions options_;
  std::string origin_;
  double unk_score_;
  Trie trie_;
};

}  // namespace kvasir::text
