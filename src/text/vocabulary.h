// Tokens and their ids, both ways.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::text {

inline constexpr std::int32_t kNoToken = -1;
// Far above any real vocabulary (the largest has 1 million): what a file says beyond it is a fault, not a
// wish for memory.
inline constexpr std::int32_t kMaxTokenId = 10'000'000;

// Hash of a string that can be continued: hash(a + b) == hash(b, hash(a)). FNV-1a, 64 bits: one
// multiplication a byte, so that the hashes of all beginnings of a word fall out of one pass.
inline constexpr std::uint64_t kHashSeed = 0xCBF29CE484222325;
constexpr std::uint64_t hash_step(std::uint64_t state, std::uint8_t byte) noexcept {
  return (state ^ byte) * 0x100000001B3;
}
constexpr std::uint64_t hash(std::string_view text, std::uint64_t state = kHashSeed) noexcept {
  for (const char c : text) state = hash_step(state, static_cast<std::uint8_t>(c));
  return state;
}

// Tokens in the order in which a file lists them.
class VocabularyList {
 public:
  struct Entry {
    std::uint32_t offset, length;
    std::int32_t id;
  };
  // Precondition: 0 <= id <= kMaxTokenId.
  void add(std::string_view token, std::int32_t id) {
    entries_.push_back(
        {static_cast<std::uint32_t>(pool_.size()), static_cast<std::uint32_t>(token.size()), id});
    pool_.append(token);
  }
  void clear() { pool_.clear(), entries_.clear(); }
  bool empty() const noexcept { return entries_.empty(); }

 private:
  friend class Vocabulary;
  std::string pool_;
  std::vector<Entry> entries_;
};

class Vocabulary {
 public:
  // What to do with a token that is listed twice.
  enum class Repeated { kError, kLastWins };
  // `origin` names the list in errors. Throws kFormat for an id that two tokens have, and for a repeated
  // token.
  Vocabulary(VocabularyList list, Repeated repeated, const std::string& origin);

  // Id of prefix + rest, or kNoToken. state = hash(prefix + rest).
  std::int32_t find(std::uint64_t state, std::string_view prefix, std::string_view rest) const noexcept {
    if (!possible(state)) return kNoToken;
    const std::uint64_t mixed = mix(state);
    const auto tag = static_cast<std::uint32_t>(mixed);
    for (std::size_t at = mixed >> shift_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.id == kNoToken) return kNoToken;
      if (slot.tag == tag && slot.length == prefix.size() + rest.size()) {
        const std::string_view token(pool_.data() + slot.offset, slot.length);
        if (token.starts_with(prefix) && token.substr(prefix.size()) == rest) return slot.id;
      }
    }
  }
  std::int32_t find(std::string_view token) const noexcept { return find(hash(token), {}, token); }

  std::string_view token(std::int32_t id) const noexcept;  // "" if there is none
  bool contains(std::int32_t id) const noexcept;
  std::size_t size() const noexcept { return size_; }  // number of tokens
  std::int32_t end_id() const noexcept { return static_cast<std::int32_t>(by_id_.size()); }  // largest id + 1
  std::size_t longest() const noexcept { return longest_; }  // bytes of the longest token

 private:
  struct Slot {
    std::uint32_t tag = 0, offset = 0, length = 0;
    std::int32_t id = kNoToken;
  };
  struct Text {
    std::uint32_t offset = 0, length = kAbsent;
  };
  static constexpr std::uint32_t kAbsent = 0xFFFFFFFF;

  // FNV's low bits are good, its high ones less so for short strings; the multiplication mends that.
  static std::uint64_t mix(std::uint64_t state) noexcept {
    return (state ^ state >> 32) * 0x9E3779B97F4A7C15;
  }
  // One bit of 2^17 (16 KiB: stays in the first-level cache) for each token: refuses 4 of 5 strings that are
  // no token without touching the megabyte of slots.
  static constexpr int kFilterBits = 17;
  bool possible(std::uint64_t state) const noexcept {
    const std::size_t bit = (state ^ state >> 29) & ((std::size_t{1} << kFilterBits) - 1);
    return (filter_[bit / 64] >> (bit % 64) & 1) != 0;
  }
  void insert(const VocabularyList::Entry& entry, Repeated repeated, const std::string& origin);

  std::string pool_;
  std::vector<Slot> slots_;
  std::vector<std::uint64_t> filter_;
  std::vector<Text> by_id_;
  std::size_t mask_ = 0, size_ = 0, longest_ = 0;
  int shift_ = 0;
};

}  // namespace kvasir::text
