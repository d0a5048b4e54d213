#include "generation/kv_cache.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

namespace kvasir::generation {

using kernels::kPageTokens;

struct KvCache::Page {
  tensor::Buffer<std::byte> memory;
  std::size_t holders = 0;  // sequences
  // Of a page that is known: a number that no other page had before, and its key. A page whose predecessor
  // lost its number can no longer be found, and goes when its turn comes.
  std::uint64_t serial = 0;
  Key key{};
  std::list<Page*>::iterator idle{};  // its place, if holders == 0
};

std::size_t KvCache::Hash::operator()(const Key& key) const noexcept {
  std::uint64_t hash = key.before * 0x9E3779B97F4A7C15;
  for (const std::int32_t id : key.ids) {
    hash = (hash ^ static_cast<std::uint32_t>(id)) * 0x100000001B3;
    hash ^= hash >> 29;
  }
  return hash;
}

KvCache::KvCache(const models::KvShape& shape, const Options& options)
    : shape_(shape),
      options_(options),
      max_pages_(std::max<std::size_t>(1, options.max_bytes / shape.page_bytes())) {}

KvCache::~KvCache() = default;

KvCache::Sequence& KvCache::Sequence::operator=(Sequence&& other) noexcept {
  clear();
  cache_ = std::exchange(other.cache_, nullptr);
  pages_ = std::move(other.pages_);
  memory_ = std::move(other.memory_);
  length_ = std::exchange(other.length_, 0);
  private_ = std::exchange(other.private_, false);
  other.pages_.clear();
  other.memory_.clear();
  return *this;
}

void KvCache::Sequence::clear() noexcept {
  // The last first: what others may share is what they begin with, so it should stay longest.
  while (!pages_.empty()) {
    cache_->drop(*pages_.back());
    pages_.pop_back();
  }
  memory_.clear();
  length_ = 0;
  private_ = false;
}

void KvCache::hold(Page& page) {
  if (page.holders++ == 0) idle_.erase(page.idle);
}

void KvCache::drop(Page& page) noexcept {
  if (--page.holders > 0) return;
  // A page that is not known cannot be shared, so it is of no further use.
  page.idle = idle_.insert(page.serial == 0 ? idle_.begin() : idle_.end(), &page);
}

void KvCache::append(Sequence& sequence, Page& page) {
  sequence.pages_.push_back(&page);
  sequence.memory_.push_back(page.memory.data());
}

// A free page, with a reference count of one; null if there is no memory.
KvCache::Page* KvCache::take_page() {
  if (pages_.size() < max_pages_ && (idle_.empty() || idle_.front()->serial != 0)) {
    auto page = std::make_unique<Page>();
    page->memory = tensor::Buffer<std::byte>(shape_.page_bytes());
    page->holders = 1;
    pages_.push_back(std::move(page));
    return pages_.back().get();
  }
  if (idle_.empty()) return nullptr;
  Page* page = idle_.front();
  hold(*page);
  if (page->serial != 0) {
    known_.erase(page->key);
    page->serial = 0;
  }
  return page;
}

KvCache::Sequence KvCache::begin(std::span<const std::int32_t> ids, std::size_t most) {
  Sequence sequence;
  sequence.cache_ = this;
  if (!options_.share || ids.empty()) return sequence;
  const std::size_t limit = std::min(most, ids.size() - 1) / kPageTokens;
  Key key{.before = 0, .ids = {}};
  while (sequence.pages_.size() < limit) {
    std::copy_n(ids.data() + sequence.length_, kPageTokens, key.ids);
    const auto found = known_.find(key);
    if (found == known_.end()) break;
    hold(*found->second);
    append(sequence, *found->second);
    sequence.length_ += kPageTokens;
    key.before = found->second->serial;
  }
  return sequence;
}

bool KvCache::reserve(Sequence& sequence, std::size_t tokens) {
  const std::size_t before = sequence.pages_.size();
  while (sequence.pages_.size() * kPageTokens < tokens) {
    Page* page = take_page();
    if (page == nullptr) {
      while (sequence.pages_.size() > before) {
        drop(*sequence.pages_.back());
        sequence.pages_.pop_back();
        sequence.memory_.pop_back();
      }
      return false;
    }
    append(sequence, *page);
  }
  return true;
}

void KvCache::commit(Sequence& sequence, std::span<const std::int32_t> ids) {
  const std::size_t first = sequence.length_ / kPageTokens;
  sequence.length_ = ids.size();
  if (!options_.share || sequence.private_) return;
  for (std::size_t i = first; i < ids.size() / kPageTokens; ++i) {
    Page& page = *sequence.pages_[i];
    Key key{.before = i == 0 ? 0 : sequence.pages_[i - 1]->serial, .ids = {}};
    assert(i == 0 || key.before != 0);  // full pages of a sequence that shares are known
    std::copy_n(ids.data() + i * kPageTokens, kPageTokens, key.ids);
    const auto [place, fresh] = known_.try_emplace(key, &page);
    if (!fresh) {
      // Two sequences computed the same at once: from now on they share, and the page here is free again.
      if (place->second == &page) continue;
      hold(*place->second);
      drop(page);
      sequence.pages_[i] = place->second;
      sequence.memory_[i] = place->second->memory.data();
      continue;
    }
    page.serial = next_serial_++;
    page.key = key;
  }
}

bool KvCache::fork(const Sequence& sequence, Sequence& copy) {
  copy.clear();
  copy.cache_ = this;
  const std::size_t full = sequence.length_ / kPageTokens;
  for (std::size_t i = 0; i < full; ++i) {
    hold(*sequence.pages_[i]);
    append(copy, *sequence.pages_[i]);
  }
  if (!reserve(copy, sequence.length_)) {
    copy.clear();
    return false;
  }
  if (full * kPageTokens < sequence.length_) {
    std::memcpy(copy.memory_[full], sequence.memory_[full], shape_.page_bytes());
  }
  copy.length_ = sequence.length_;
  copy.private_ = sequence.private_;
  return true;
}

}  // namespace kvasir::generation
