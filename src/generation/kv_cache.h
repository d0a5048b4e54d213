// The keys and values of many sequences: a pool of pages of 16 tokens, of which sequences that begin alike
// share the first ones (a system prompt, retrieved passages), also one after another.
//
//   KvCache cache(model.kv_shape(kernels::KvType::kF16), {.max_bytes = …});
//   KvCache::Sequence sequence = cache.begin(prompt);            // sequence.length() tokens are there
//   already if (!cache.reserve(sequence, prompt.size())) …               // no room … run
//   prompt[sequence.length(), …) with sequence.pages() … cache.commit(sequence, prompt); // now it has all of
//   them
//
// A full page is known by the page before it and its 16 ids, compared exactly, so what is shared is what
// would have been computed. Pages that no sequence holds stay until their memory is wanted, the least
// recently used first. Not thread-safe: one loop owns it.
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
    bool share = true;  // false: each sequence computes all of its own
  };
  KvCache(const models::KvShape& shape, const Options& options);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  // What one sequence holds. It must not outlive the cache.
  class Sequence {
   public:
    Sequence() = default;
    Sequence(Sequence&& other) noexcept { *this = std::move(other); }
    Sequence& operator=(Sequence&& other) noexcept;
    ~Sequence() { clear(); }

    std::size_t length() const noexcept { return length_; }  // tokens whose keys and values are there
    // From now on its pages do not become known to others: what it stores depends on more than the ids.
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

  // A sequence that begins with the pages that are known of these ids; at least one id is left to run. At
  // most `most` tokens are taken from others.
  Sequence begin(std::span<const std::int32_t> ids, std::size_t most = SIZE_MAX);
  // Makes room for so many tokens in all. False: there is no memory, and the sequence is as before.
  bool reserve(Sequence& sequence, std::size_t tokens);
  // Says that the first ids.size() tokens are there now, and what they are: full pages become known.
  void commit(Sequence& sequence, std::span<const std::int32_t> ids);
  // A second sequence like the first. False: there is no memory for a copy of the page that is not full.
  bool fork(const Sequence& sequence, Sequence& copy);

  const models::KvShape& shape() const noexcept { return shape_; }
  std::size_t max_tokens() const noexcept { return max_pages_ * kernels::kPageTokens; }
  std::size_t pages_in_use() const noexcept { return pages_.size() - idle_.size(); }
  std::size_t pages_allocated() const noexcept { return pages_.size(); }

 private:
  // What a full page is known by. serial: of the page before; 0: it is the first.
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
  std::list<Page*> idle_;  // that no sequence holds; what is to go first is first
  std::unordered_map<Key, Page*, Hash> known_;
  std::uint64_t next_serial_ = 1;
};

}  // namespace kvasir::generation
