#include "text/vocabulary.h"

#include <algorithm>
#include <bit>

#include "kvasir/error.h"

namespace kvasir::text {

Vocabulary::Vocabulary(VocabularyList list, Repeated repeated, const std::string& origin)
    : pool_(std::move(list.pool_)), filter_((std::size_t{1} << kFilterBits) / 64) {
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(list.entries_.size() * 2, 16));
  slots_.resize(slots);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  std::int32_t end = 0;
  for (const auto& entry : list.entries_) end = std::max(end, entry.id + 1);
  by_id_.resize(static_cast<std::size_t>(end));
  for (const auto& entry : list.entries_) insert(entry, repeated, origin);
}

void Vocabulary::insert(const VocabularyList::Entry& entry, Repeated repeated, const std::string& origin) {
  const std::string_view token(pool_.data() + entry.offset, entry.length);
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::kFormat, origin + ": token \"" + std::string(token) + "\" " + what);
  };
  const TokenKey key(token);
  const std::uint64_t mixed = mix(key);
  std::size_t at = mixed >> shift_;
  const auto id_at = [&] { return static_cast<std::int32_t>(slots_[at].id_and_length & kIdMask); };
  while (slots_[at].id_and_length != kFree && this->token(id_at()) != token) at = (at + 1) & mask_;
  if (slots_[at].id_and_length != kFree) {
    if (repeated == Repeated::kError) fail("is listed twice");
    if (repeated == Repeated::kLastWins) {
      by_id_[static_cast<std::size_t>(id_at())] = {};
      --size_;
    }
  }
  Text& text = by_id_[static_cast<std::size_t>(entry.id)];
  if (text.length != kAbsent) {
    fail("has id " + std::to_string(entry.id) + ", which token \"" +
         std::string(pool_.data() + text.offset, text.length) + "\" has already");
  }
  text = {entry.offset, entry.length};
  const std::uint32_t length = std::min(key.length_, kLongLength);
  slots_[at] = {key.head_, static_cast<std::uint32_t>(mixed),
                static_cast<std::uint32_t>(entry.id) | length << kIdBits};
  const std::size_t bit = filter_bit(key);
  filter_[bit / 64] |= std::uint64_t{1} << (bit % 64);
  longest_ = std::max<std::size_t>(longest_, entry.length);
  ++size_;
}

std::string_view Vocabulary::token(std::int32_t id) const noexcept {
  if (!contains(id)) return {};
  const Text& text = by_id_[static_cast<std::size_t>(id)];
  return {pool_.data() + text.offset, text.length};
}

bool Vocabulary::contains(std::int32_t id) const noexcept {
  return id >= 0 && id < end_id() && by_id_[static_cast<std::size_t>(id)].length != kAbsent;
}

}  // namespace kvasir::text
