#include "qa/answer_cache.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <new>
#include <utility>

#include "qa/reader_impl.h"

namespace kvasir::qa {

namespace {

// Nodes of the containers, their pointers and the fixed part of an entry: some 300 bytes.
constexpr std::size_t kEntryBytes = 300;
constexpr std::size_t kTextBytes = 100;

std::size_t bytes_of(std::string_view question, std::size_t texts, const AskResult& result) noexcept {
  std::size_t bytes = kEntryBytes + question.size() + texts * sizeof(void*);
  for (const Answer& answer : result.answers) bytes += sizeof answer + answer.text.size();
  return bytes;
}

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) noexcept {
  return (hash ^ value) * 0x9E3779B97F4A7C15 + (hash >> 29);
}

std::uint64_t hash_of(const AnswerKey& key) noexcept {
  std::uint64_t hash = std::hash<std::string_view>()(key.question);
  for (const PreparedText* text : key.texts) hash = mix(hash, text->hash);
  return mix(hash, static_cast<std::uint64_t>(std::get<0>(key.options)));  // one of the options will do
}

}  // namespace

AnswerOptions answer_options(const AskOptions& options) {
  // By structured binding, which does not compile when an option is added: it belongs here, or is one of
  // those that no result depends on.
  const auto& [decode, top_k, max_seq_len, doc_stride, max_answer_len, handle_impossible_answer,
               align_to_words, n_best_size, null_score_diff_threshold, pad_to_max_length, progress, cancel] =
      options;
  static_cast<void>(progress), static_cast<void>(cancel);
  return {decode,           top_k,          max_seq_len,
          doc_stride,       max_answer_len, handle_impossible_answer,
          align_to_words,   n_best_size,    null_score_diff_threshold,
          pad_to_max_length};
}

std::optional<AskResult> AnswerCache::find(const AnswerKey& key) {
  if (limit_ == 0) return {};
  const std::uint64_t hash = hash_of(key);
  const std::lock_guard guard(mutex_);
  const auto entry = locate(hash, key);
  if (entry == entries_.end()) return {};
  entries_.splice(entries_.end(), entries_, entry);  // young again
  return entry->result;
}

void AnswerCache::store(const AnswerKey& key, const AskResult& result) {
  std::size_t size = bytes_of(key.question, key.texts.size(), result);
  for (const PreparedText* text : key.texts) size += kTextBytes + text->text.size();
  if (size > limit_) return;
  const std::uint64_t hash = hash_of(key);
  const std::lock_guard guard(mutex_);
  if (locate(hash, key) != entries_.end()) return;  // another caller was faster
  try {
    add(hash, key, result);
  } catch (const std::bad_alloc&) {
    clear();  // others need the memory more
  }
  while (bytes_ > limit_) drop_oldest();
}

std::size_t AnswerCache::bytes() const {
  const std::lock_guard guard(mutex_);
  return bytes_;
}

AnswerCache::Entries::iterator AnswerCache::locate(std::uint64_t hash, const AnswerKey& key) {
  const auto same_text = [](const Texts::value_type* ours, const PreparedText* theirs) {
    return ours->second.bytes == theirs->text;
  };
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    const Entry& entry = *it->second;
    if (entry.question == key.question && entry.options == key.options &&
        std::ranges::equal(entry.texts, key.texts, same_text)) {
      return it->second;
    }
  }
  return entries_.end();
}

void AnswerCache::add(std::uint64_t hash, const AnswerKey& key, const AskResult& result) {
  Entry& entry = entries_.emplace_back(Entry{.hash = hash,
                                             .question = std::string(key.question),
                                             .texts = {},
                                             .options = key.options,
                                             .result = result});
  bytes_ += bytes_of(key.question, key.texts.size(), result);
  entry.texts.reserve(key.texts.size());
  for (const PreparedText* text : key.texts) entry.texts.push_back(share(*text));
  by_hash_.emplace(hash, std::prev(entries_.end()));
}

AnswerCache::Texts::value_type* AnswerCache::share(const PreparedText& text) {
  const auto [first, last] = texts_.equal_range(text.hash);
  auto it = std::find_if(first, last, [&](const auto& item) { return item.second.bytes == text.text; });
  if (it == last) {
    it = texts_.emplace(text.hash, Text{.bytes = text.text});
    bytes_ += kTextBytes + text.text.size();
  }
  ++it->second.uses;
  return &*it;
}

void AnswerCache::release(Texts::value_type* text) noexcept {
  if (--text->second.uses > 0) return;
  bytes_ -= kTextBytes + text->second.bytes.size();
  const auto [first, last] = texts_.equal_range(text->first);
  texts_.erase(std::find_if(first, last, [&](const auto& item) { return &item == text; }));
}

void AnswerCache::drop_oldest() noexcept {
  const auto oldest = entries_.begin();
  const auto [first, last] = by_hash_.equal_range(oldest->hash);
  by_hash_.erase(std::find_if(first, last, [&](const auto& item) { return item.second == oldest; }));
  bytes_ -= bytes_of(oldest->question, oldest->texts.size(), oldest->result);
  for (Texts::value_type* text : oldest->texts) release(text);
  entries_.pop_front();
}

void AnswerCache::clear() noexcept {
  by_hash_.clear();
  entries_.clear();
  texts_.clear();
  bytes_ = 0;
}

}  // namespace kvasir::qa
