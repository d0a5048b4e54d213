// WordPiece, the model of BERT: the longest token that the word begins with, then the longest that the rest
// begins with, marked by a prefix ("##") as a continuation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/models/model.h"

namespace kvasir::text {

struct WordPieceOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_subword_prefix = "##";
  std::size_t max_input_chars_per_word = 100;  // a word of more code points is one unknown token
};

class WordPiece : public Model {
 public:
  // `origin` names the model in errors. Throws kFormat if the vocabulary lacks the unknown token.
  WordPiece(Vocabulary vocabulary, const WordPieceOptions& options, const std::string& origin);

  // If nothing fits at some place of the word, the whole of it is one unknown token.
  void tokenize(std::string_view word, std::vector<WordToken>& tokens) const override;
  const Vocabulary& vocabulary() const noexcept override { return vocabulary_; }

  // The same for a word of at most max_chars() code points.
  void tokenize_short(std::string_view word, std::vector<WordToken>& tokens) const;
  std::int32_t unk_id() const noexcept { return unk_id_; }
  std::size_t max_chars() const noexcept { return max_chars_; }

 private:
  // Longest token that `rest` begins with, after prefix; its id is kNoToken if there is none.
  struct Match {
    std::int32_t id;
    std::size_t length;
  };
  Match longest_match(std::string_view prefix, TokenKey key, std::string_view rest) const;

  Vocabulary vocabulary_;
  std::string prefix_;
  TokenKey prefix_key_;
  std::size_t max_chars_;
  std::int32_t unk_id_;
};

}  // namespace kvasir::text
