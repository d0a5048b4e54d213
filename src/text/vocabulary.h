// Maps tokens to ids and back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::text {

inline constexpr std::int32_t kNoToken = -1;
// Far above any real vocabulary (the largest has 1 million): a larger id in a file is an error, so that it
// cannot request huge memory.
inline constexpr std::int32_t kMaxTokenId = 10'000'000;

// The key of a string: a hash, its first eight bytes and its length. It can be extended byte by byte, so that
// one pass yields the keys of all prefixes of a word. Most tokens have at most eight bytes; for those the key
// contains the whole string.
class TokenKey {
 public:
  constexpr TokenKey() = default;
  constexpr explicit TokenKey(std::string_view text) { append(text); }
  constexpr void append(std::uint8_t byte) noexcept {
    hash_ = (hash_ ^ byte) * 0x100000001B3;  // FNV-1a, 64 bits
    if (length_ < sizeof head_) head_ |= std::uint64_t{byte} << (8 * length_);
    ++length_;
  }
  constexpr void append(std::string_view text) noexcept {
    for (const char c : text) append(static_cast<std::uint8_t>(c));
  }

 private:
  friend class Vocabulary;
  std::uint64_t hash_ = 0xCBF29CE484222325, head_ = 0;
  std::uint32_t length_ = 0;
};

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
  enum class Repeated {
    kError,
    kLastWins,  // and its earlier ids become free
    kLastFound  // but it keeps all its ids
  };
  // `origin` names the list in errors. Throws kFormat for an id that two tokens have, and for a repeated
  // token.
  Vocabulary(VocabularyList list, Repeated repeated, const std::string& origin);

  // Id of prefix + rest, or kNoToken. key = TokenKey(prefix + rest).
  std::int32_t find(const TokenKey& key, std::string_view prefix, std::string_view rest) const noexcept {
    if (!possible(key)) return kNoToken;
    const std::uint64_t mixed = mix(key);
    const std::uint32_t length = std::min(key.length_, kLongLength);
    for (std::size_t at = mixed >> shift_;; at = (at + 1) & mask_) {
      const Slot& slot = slots_[at];
      if (slot.id_and_length == kFree) return kNoToken;
      if (slot.head == key.head_ && slot.tag == static_cast<std::uint32_t>(mixed) &&
          slot.id_and_length >> kIdBits == length) {
        const auto id = static_cast<std::int32_t>(slot.id_and_length & kIdMask);
        if (length <= sizeof slot.head || is_token(id, prefix, rest)) return id;
      }
    }
  }
  std::int32_t find(std::string_view token) const noexcept { return find(TokenKey(token), {}, token); }

  std::string_view token(std::int32_t id) const noexcept;  // "" if there is none
  bool contains(std::int32_t id) const noexcept;
  std::size_t size() const noexcept { return size_; }  // number of tokens
  std::int32_t end_id() const noexcept { return static_cast<std::int32_t>(by_id_.size()); }  // largest id + 1
  std::size_t longest() const noexcept { return longest_; }  // bytes of the longest token

 private:
  // 16 bytes, so that a token of at most eight bytes costs one cache line.
  struct Slot {
    std::uint64_t head = 0;
    std::uint32_t tag = 0;
    std::uint32_t id_and_length = kFree;  // id in the low 24 bits, min(length, kLongLength) in the high 8
  };
  struct Text {
    std::uint32_t offset = 0, length = kAbsent;
  };
  static constexpr std::uint32_t kAbsent = 0xFFFFFFFF, kFree = 0xFFFFFFFF, kLongLength = 0xFF;
  static constexpr int kIdBits = 24;
  static constexpr std::uint32_t kIdMask = (1U << kIdBits) - 1;
  static_assert(kMaxTokenId < static_cast<std::int32_t>(kIdMask));  // so that no slot in use looks free

  // The low bits of FNV are well distributed, the high ones less so for short strings; the multiplication
  // fixes that.
  static std::uint64_t mix(const TokenKey& key) noexcept {
    return (key.hash_ ^ key.hash_ >> 32) * 0x9E3779B97F4A7C15;
  }
  // One bit of 2^17 (16 KiB: stays in the first-level cache) for each token: it rejects 4 of 5 strings that
  // are not tokens without touching the slots.
  static constexpr int kFilterBits = 17;
  static std::size_t filter_bit(const TokenKey& key) noexcept {
    return (key.hash_ ^ key.hash_ >> 29) & ((std::size_t{1} << kFilterBits) - 1);
  }
  bool possible(const TokenKey& key) const noexcept {
    const std::size_t bit = filter_bit(key);
    return (filter_[bit / 64] >> (bit % 64) & 1) != 0;
  }
  bool is_token(std::int32_t id, std::string_view prefix, std::string_view rest) const noexcept {
    const std::string_view text = token(id);
    return text.size() == prefix.size() + rest.size() && text.starts_with(prefix) && text.ends_with(rest);
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
