// The logits of the windows that a call has run lately. A window that comes again, token for token, need not
// run again: a page that several documents share, a question that is asked twice. Logits depend on nothing
// but the window, so the answers are the same with and without this cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/engine.h"

namespace kvasir::qa {

class LogitsCache {
 public:
  struct Entry {
    std::vector<std::int32_t> input_ids, token_type_ids;
    std::size_t keys = 0;
    runtime::Sequence::Tokens wanted = {};
    std::vector<float> start, end;  // empty until the model has run

    bool ready() const noexcept { return !start.empty(); }
  };

  explicit LogitsCache(std::size_t bytes) : limit_(bytes) {}

  // The entry of a sequence, and whether it is new: then the caller has to run it and fill in the logits.
  // Valid until the next trim().
  std::pair<Entry*, bool> find_or_add(const runtime::Sequence& sequence);

  // Removes the oldest entries until the rest fits into the limit.
  void trim() noexcept;

 private:
  struct Kept {
    Entry entry;
    std::uint64_t hash;
  };
  std::size_t limit_, bytes_ = 0;
  std::list<Kept> entries_;  // oldest first
  std::unordered_multimap<std::uint64_t, std::list<Kept>::iterator> by_hash_;
};

}  // namespace kvasir::qa
