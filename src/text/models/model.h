// Models: the part of tokenizer.json that cuts a word into tokens of the vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace kvasir::text {

// A token of a word: bytes [begin, end) of it.
struct WordToken {
  std::int32_t id;
  std::uint32_t begin, end;
};

class Model {
 public:
  virtual ~Model() = default;
  // Appends the tokens of a word, which is not empty. Offsets are those of `word`.
  virtual void tokenize(std::string_view word, std::vector<WordToken>& tokens) const = 0;
  // Whether a word can be tokenised in parts that begin where "▁" follows another character.
  virtual bool separates_words() const noexcept { return false; }
  virtual const Vocabulary& vocabulary() const noexcept = 0;
};

}  // namespace kvasir::text
