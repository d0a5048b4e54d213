// The logits of the windows that a call has run of late. A window that comes again, token for token, need not
// run again: a page that several documents share, a question that is asked twice. Logits depend on nothing
// but the window, so nobody can tell the difference.
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

class WindowMemory {
 public:
  struct Entry {
    std::vector<std::int32_t> input_ids, token_type_ids;
    std::size_t keys = 0;
    runtime::Sequence::Tokens wanted = {};
    std::vector<float> start, end;  // empty until the model has run

    bool ready() const noexcept { return !start.empty(); }
  };

  explicit WindowMemory(std::size_t bytes) : limit_(bytes) {}

  // The entry of a sequence, and whether it is new: then the caller is to run it and fill in the logits.
  // Valid until the next trim().
  std::pair<Entry*, bool> find_or_add(const runtime::Sequence& sequence);

  // Forgets the oldest entries, until the rest fits into the bytes.
  void trim() noexcept;

 private:
  struct Remembered {
    Entry entry;
    std::uint64_t hash;
  };
  std::size_t limit_, bytes_ = 0;
  std::list<Remembered> entries_;  // oldest first
  std::unordered_multimap<std::uint64_t, std::list<Remembered>::iterator> by_hash_;
};

}  // namespace kvasir::qa
