#include "text/models/trie.h"

#include <algorithm>
#include <array>

namespace kvasir::text {

// Places the children of one node after the other, those with one parent all in the first free places that
// fit. Blocks of 256 units, so that base ^ byte stays in the block of base.
class Trie::Builder {
 public:
  Builder(Trie& trie, const std::vector<Entry>& entries) : units_(trie.units_), entries_(entries) {
    add_block();
    units_[0].parent = kRoot;
    struct Range {
      std::uint32_t node;
      std::size_t begin, end, depth;
    };
    std::vector<Range> todo{{0, 0, entries.size(), 0}};
    while (!todo.empty()) {
      const Range range = todo.back();
      todo.pop_back();
      std::size_t at = range.begin;
      for (; at < range.end && entries_[at].key.size() == range.depth; ++at) {
        units_[range.node].value = entries_[at].value;
      }
      if (at == range.end) continue;
      labels_.clear();
      starts_.clear();
      for (std::size_t i = at; i < range.end; ++i) {
        const auto label = static_cast<std::uint8_t>(entries_[i].key[range.depth]);
        if (!labels_.empty() && labels_.back() == label) continue;
        labels_.push_back(label);
        starts_.push_back(i);
      }
      starts_.push_back(range.end);
      const std::uint32_t base = find_base();
      units_[range.node].base = base;
      for (std::size_t i = 0; i < labels_.size(); ++i) {
        const std::uint32_t child = base ^ labels_[i];
        units_[child].parent = range.node;
        todo.push_back({child, starts_[i], starts_[i + 1], range.depth + 1});
      }
    }
    // A look-up in a node without children must fail: its base leads to the root, which is no node's child.
  }

 private:
  void add_block() { units_.resize(units_.size() + 256); }

  std::uint32_t find_base() {
    // A place before this one is hardly ever free; and where many do not fit, a new block is cheaper.
    constexpr std::size_t kMaxTries = 64;
    while (first_free_ < units_.size() && units_[first_free_].parent != kFree) ++first_free_;
    std::size_t tries = 0;
    for (std::size_t at = first_free_; at < units_.size() && tries < kMaxTries; ++at) {
      if (units_[at].parent != kFree) continue;
      ++tries;
      const auto base = static_cast<std::uint32_t>(at) ^ labels_.front();
      if (fits(base)) return base;
    }
    const auto block = static_cast<std::uint32_t>(units_.size());
    add_block();
    if (tries == kMaxTries) first_free_ = std::max(first_free_, static_cast<std::size_t>(block) - 256);
    return block;
  }
  bool fits(std::uint32_t base) const {
    return std::all_of(labels_.begin(), labels_.end(),
                       [&](std::uint8_t label) { return units_[base ^ label].parent == kFree; });
  }

  std::vector<Unit>& units_;
  const std::vector<Entry>& entries_;
  std::vector<std::uint8_t> labels_;
  std::vector<std::size_t> starts_;
  std::size_t first_free_ = 1;
};

Trie::Trie(std::vector<Entry> entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.key < b.key; });
  Builder(*this, entries);
}

}  // namespace kvasir::text
