// Results of questions that a reader has answered recently. A result is found only by the same question, the
// same texts in the same order and the same options, all compared in full; hashes only narrow the search.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kvasir/reader.h"

namespace kvasir::qa {

struct PreparedText;

// The AskOptions that a result depends on.
using AnswerOptions = std::tuple<Decode, std::optional<int>, std::optional<int>, std::optional<int>,
                                 std::optional<int>, bool, bool, int, double, bool>;
AnswerOptions answer_options(const AskOptions& options);

struct AnswerKey {
  std::string_view question;
  std::span<const PreparedText* const> texts;
  AnswerOptions options;
};

// All members may be called from many threads at once.
class AnswerCache {
 public:
  // Keeps about this many bytes of questions, texts and results; the least recently used go first. Entries
  // with the same text share it. 0: keeps nothing.
  explicit AnswerCache(std::size_t bytes) : limit_(bytes) {}

  std::optional<AskResult> find(const AnswerKey& key);
  void store(const AnswerKey& key, const AskResult& result);

  std::size_t bytes() const;  // held now

 private:
  struct Text {
    std::string bytes;
    std::size_t uses = 0;
  };
  using Texts = std::unordered_multimap<std::uint64_t, Text>;  // by hash
  struct Entry {
    std::uint64_t hash;
    std::string question;
    std::vector<Texts::value_type*> texts;
    AnswerOptions options;
    AskResult result;
  };
  using Entries = std::list<Entry>;

  Entries::iterator locate(std::uint64_t hash, const AnswerKey& key);
  void add(std::uint64_t hash, const AnswerKey& key, const AskResult& result);
  Texts::value_type* share(const PreparedText& text);
  void release(Texts::value_type* text) noexcept;
  void drop_oldest() noexcept;
  void clear() noexcept;

  mutable std::mutex mutex_;
  std::size_t limit_, bytes_ = 0;
  Texts texts_;
  Entries entries_;  // oldest first
  std::unordered_multimap<std::uint64_t, Entries::iterator> by_hash_;
};

}  // namespace kvasir::qa
