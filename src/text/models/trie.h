// A map from byte strings to numbers. One pass over a text finds all keys that the text begins with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace kvasir::text {

class Trie {
 public:
  struct Entry {
    std::string_view key;  // not empty
    std::int32_t value;    // not negative
  };
  // Of equal keys the last one counts.
  explicit Trie(std::vector<Entry> entries);

  // Calls found(length, value) for each key that `text` begins with, shortest first.
  template <class Found>
  void find_prefixes(std::string_view text, const Found& found) const {
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const std::uint32_t child = units_[node].base ^ static_cast<std::uint8_t>(text[i]);
      if (units_[child].parent != node) return;
      node = child;
      if (const std::int32_t value = units_[node].value; value >= 0) found(i + 1, value);
    }
  }

 private:
  // A double array: the child of a node by a byte is at base ^ byte, if that has the node as its parent.
  struct Unit {
    std::uint32_t base = 0;
    std::uint32_t parent = kFree;
    std::int32_t value = -1;
  };
  static constexpr std::uint32_t kFree = 0xFFFFFFFF, kRoot = 0xFFFFFFFE;

  class Builder;
  std::vector<Unit> units_;
};

}  // namespace kvasir::text
