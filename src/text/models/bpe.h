// Byte pair encoding: a word starts as its characters; the pair of neighbours that comes first in a list of
// merges becomes one token, until no pair is in the list.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/models/model.h"
#include "text/normalized_text.h"

namespace kvasir::text {

struct BpeOptions {
  std::optional<std::string> unk_token;  // without it, unknown characters vanish
  std::string continuing_subword_prefix, end_of_word_suffix;
  bool fuse_unk = false;       // neighbouring unknown characters are one token
  bool byte_fallback = false;  // <0xE2> and so on for each byte of an unknown character
  bool ignore_merges = false;  // a word that is in the vocabulary becomes that token without merging
};

// Pairs of tokens in the order in which a file lists them.
class MergeList {
 public:
  void add(std::string_view left, std::string_view right) {
    add(left, right, static_cast<std::uint32_t>(entries_.size()));
  }
  // With a given rank: of pairs with the same rank, the leftmost comes first.
  void add(std::string_view left, std::string_view right, std::uint32_t rank) {
    entries_.push_back({pool_.size(), static_cast<std::uint32_t>(left.size()),
                        static_cast<std::uint32_t>(right.size()), rank});
    pool_.append(left).append(right);
  }
  std::size_t size() const noexcept { return entries_.size(); }
  std::uint32_t rank(std::size_t i) const noexcept { return entries_[i].rank; }
  std::string_view left(std::size_t i) const noexcept {
    return std::string_view(pool_).substr(entries_[i].offset, entries_[i].left);
  }
  std::string_view right(std::size_t i) const noexcept {
    return std::string_view(pool_).substr(entries_[i].offset + entries_[i].left, entries_[i].right);
  }

 private:
  struct Entry {
    std::size_t offset;
    std::uint32_t left, right, rank;
  };
  std::string pool_;
  std::vector<Entry> entries_;
};

class Bpe : public Model {
 public:
  // `origin` names the model in errors. Throws kFormat for a merge of or to a token that is not there.
  Bpe(Vocabulary vocabulary, const MergeList& merges, const BpeOptions& options, const std::string& origin);

  // Throws kFormat for an unknown character if the unknown token is not in the vocabulary. Memory: O(word),
  // for the words of separates_words() O(longest of them).
  void tokenize(std::string_view word, std::vector<WordToken>& tokens) const override;
  const Vocabulary& vocabulary() const noexcept override { return vocabulary_; }

  // Whether no token has "▁" after another character (as in Llama's): then no merge crosses such a place, and
  // a text can be cut there.
  bool separates_words() const noexcept override { return separates_words_; }

  // Whether every byte has a token (by its character, see byte_level.h), so that tokenize_bytes() can be
  // used.
  bool is_byte_level() const noexcept { return byte_words_ != nullptr; }
  // tokenize() of a word given as bytes instead of characters; offsets are those of `bytes`.
  void tokenize_bytes(std::string_view bytes, std::vector<WordToken>& tokens) const;

 private:
  struct Merge {
    std::uint32_t rank = kNoRank;
    std::int32_t id = kNoToken;
  };
  static constexpr std::uint32_t kNoRank = 0xFFFFFFFF;
  struct Slot {
    std::uint64_t pair = kFree;
    Merge merge;
  };
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};

  void add_merges(const MergeList& merges, const std::string& origin);
  void prepare_bytes();
  Merge find_merge(std::int32_t left, std::int32_t right) const noexcept {
    const std::uint64_t pair = static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
                               static_cast<std::uint32_t>(right);
    for (std::size_t at = (pair * 0x9E3779B97F4A7C15) >> shift_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.pair == pair) return slot.merge;
      if (slot.pair == kFree) return {};
    }
  }
  // Appends the characters of a part of a word, as tokens; the first begins at `position`.
  void add_characters(std::string_view word, Piece part, std::uint32_t position,
                      std::vector<WordToken>& tokens) const;
  void add_character(std::string_view word, Piece character, std::vector<WordToken>& tokens,
                     std::optional<WordToken>& unknown) const;
  // Merges tokens[first, …).
  void merge(std::vector<WordToken>& tokens, std::size_t first) const;
  void merge_few(std::vector<WordToken>& tokens, std::size_t first) const;
  void merge_many(std::vector<WordToken>& tokens, std::size_t first) const;
  // Whether the characters of a token merge to exactly that token. Determined once for each token (harmlessly
  // twice by two threads). Most words are one token, and then need a single look-up in the vocabulary.
  bool is_whole(std::int32_t id) const;
  bool add_whole(std::int32_t id, std::size_t begin, std::size_t end, std::vector<WordToken>& tokens) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::string origin_;
  std::int32_t unk_id_ = kNoToken;
  bool plain_;  // neither prefix nor suffix
  bool separates_words_ = false;
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  int shift_ = 0;
  std::array<std::int32_t, 256> fallback_;        // <0x00> and so on
  std::array<std::int32_t, 256> byte_tokens_;     // tokens of the bytes' characters
  std::unique_ptr<const Vocabulary> byte_words_;  // the tokens as bytes, if is_byte_level()
  enum : std::uint8_t { kUnknown, kWhole, kNotWhole };
  mutable std::vector<std::atomic<std::uint8_t>> whole_;
};

}  // namespace kvasir::text
