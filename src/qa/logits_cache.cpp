#include "qa/logits_cache.h"

#include <algorithm>
#include <functional>
#include <string_view>

namespace kvasir::qa {

namespace {

std::uint64_t hash_of(std::span<const std::int32_t> ids) noexcept {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(ids.data()), ids.size_bytes()});
}

bool same(const LogitsCache::Entry& entry, const runtime::Sequence& sequence) noexcept {
  return entry.keys == sequence.keys && entry.wanted == sequence.wanted &&
         std::ranges::equal(entry.input_ids, sequence.input_ids) &&
         std::ranges::equal(entry.token_type_ids, sequence.token_type_ids);
}

// Includes the logits that will be added, and some 150 bytes for nodes and vectors.
std::size_t bytes_of(const LogitsCache::Entry& entry) noexcept {
  const std::size_t tokens = entry.input_ids.size();
  return (tokens + entry.token_type_ids.size()) * sizeof(std::int32_t) + tokens * 2 * sizeof(float) + 150;
}

}  // namespace

std::pair<LogitsCache::Entry*, bool> LogitsCache::find_or_add(const runtime::Sequence& sequence) {
  const std::uint64_t hash = hash_of(sequence.input_ids);
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (!same(it->second->entry, sequence)) continue;
    entries_.splice(entries_.end(), entries_, it->second);  // now the newest
    return {&it->second->entry, false};
  }
  Entry entry{.input_ids = {sequence.input_ids.begin(), sequence.input_ids.end()},
              .token_type_ids = {sequence.token_type_ids.begin(), sequence.token_type_ids.end()},
              .keys = sequence.keys,
              .wanted = sequence.wanted,
              .start = {},
              .end = {}};
  bytes_ += bytes_of(entry);
  entries_.push_back({std::move(entry), hash});
  by_hash_.emplace(hash, std::prev(entries_.end()));
  return {&entries_.back().entry, true};
}

void LogitsCache::trim() noexcept {
  while (bytes_ > limit_) {
    const auto oldest = entries_.begin();
    const auto [first, last] = by_hash_.equal_range(oldest->hash);
    by_hash_.erase(std::find_if(first, last, [&](const auto& item) { return item.second == oldest; }));
    bytes_ -= bytes_of(oldest->entry);
    entries_.pop_front();
  }
}

}  // namespace kvasir::qa
