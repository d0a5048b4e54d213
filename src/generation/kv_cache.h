// The keys and values of many sequences, in a pool of pages of 16 tokens each. Sequences that begin with the
// same tokens (a system prompt, retrieved passages) share their first pages, even if they do not exist at the
// same time.
//
//   KvCache cache(model.kv_shape(kernels::KvType::kF16), {.max_bytes = …});
//   KvCache::Sequence sequence = cache.begin(prompt);      // sequence.length() tokens are there already
//   if (!cache.reserve(sequence, prompt.size())) …         // there is no room
//   … run prompt[sequence.length(), …) with sequence.pages() …
//   cache.commit(sequence, prompt);                        // now all tokens of the prompt are there
//
// A full page is identified by the page before it and its 16 ids, which are compared exactly: sharing it
// gives the same result as computing it again. Pages that no sequence holds are kept until their memory is
// needed, and the least recently used is reused first. Not thread-safe: one loop owns the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "models/causal_lm.h"
#include "tensor/buffer.h"

namespace kvasir::generation {

class KvCache {
  struct Page;

 public:
  struct Options {
    std::size_t max_bytes = std::size_t{4} << 30;
    bool share = true;  // false: no pages are shared
  };
  KvCache(const models::KvShape& shape, const Options& options);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // The pages of one sequence. It must not outlive the cache.
  class Sequence {
   public:
    Sequence() = default;
    Sequence(Sequence&& other) noexcept { *this = std::move(other); }
    Sequence& operator=(Sequence&& other) noexcept;
    ~Sequence() { clear(); }

    std::size_t length() const noexcept { return length_; }  // tokens whose keys and values are there
    // From now on its pages are not offered to other sequences, because their contents depend on more than
    // the ids.
    void keep_private() noexcept { private_ = true; }
    std::span<std::byte* const> pages() const noexcept { return memory_; }
    void clear() noexcept;

   private:
    friend class KvCache;
    KvCache* cache_ = nullptr;
    std::vector<Page*> pages_;
    std::vector<std::byte*> memory_;  // of the pages
    std::size_t length_ = 0;
    bool private_ = false;
  };

  // Starts a sequence with the known pages of these ids. At least one id is left to run, and at most `most`
  // tokens come from known pages.
  Sequence begin(std::span<const std::int32_t> ids, std::size_t most = SIZE_MAX);
  // Makes room for this many tokens in all. False if there is no memory; the sequence is then unchanged.
  bool reserve(Sequence& sequence, std::size_t tokens);
  // To be called after the keys and values of the first ids.size() tokens have been stored; ids: those
  // tokens. Full pages become known to later sequences.
  void commit(Sequence& sequence, std::span<const std::int32_t> ids);
  // Makes `copy` the same as `sequence`. False if there is no memory to copy the page that is not full.
  bool fork(const Sequence& sequence, Sequence& copy);

  const models::KvShape& shape() const noexcept { return shape_; }
  std::size_t max_tokens() const noexcept { return max_pages_ * kernels::kPageTokens; }
  std::size_t pages_in_use() const noexcept { return pages_.size() - idle_.size(); }
  std::size_t pages_allocated() const noexcept { return pages_.size(); }

 private:
  // Identifies a full page. before: the serial number of the page before it; 0: it is the first.
  struct Key {
    std::uint64_t before;
    std::int32_t ids[kernels::kPageTokens];
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept;
  };

  Page* take_page();
  void hold(Page& page);
  void drop(Page& page) noexcept;
  void append(Sequence& sequence, Page& page);

  models::KvShape shape_;
  Options options_;
  std::size_t max_pages_;
  std::vector<std::unique_ptr<Page>> pages_;
  std::list<Page*> idle_;  // held by no sequence; the next to be reused is the first
  std::unordered_map<Key, Page*, Hash> known_;
  std::uint64_t next_serial_ = 1;
};

}  // namespace kvasir::generation
