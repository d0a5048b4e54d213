#include "train/batch_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kvasir/error.h"
#include "train/random.h"

namespace kvasir::train {

namespace {

// Windows are sorted within so many batches' worth of them, as Hugging Face's LengthGroupedSampler does.
constexpr std::size_t kPoolBatches = 50;

// Steele, Lea, Flood (2014). The standard library's distributions and shuffles differ from one to the next.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t state) : state_(state) {}

  std::uint64_t next() noexcept {
    const std::uint64_t number = split_mix(state_);
    state_ += kSplitMixStep;
    return number;
  }
  // Uniform in [0, count). count > 0.
  std::uint64_t below(std::uint64_t count) noexcept {
    const std::uint64_t uneven = (0 - count) % count;  // 2^64 mod count: that many numbers are too many
    std::uint64_t number = next();
    while (number < uneven) number = next();
    return number % count;
  }

 private:
  std::uint64_t state_;
};

// What random numbers are for.
enum class Purpose : std::uint64_t { kSubset = 0, kOrder = 1, kBatches = 2 };

struct Key {
  std::uint64_t seed;
  std::size_t epoch;
  Purpose purpose;
  std::size_t file = 0;
};

SplitMix64 generator(const Key& key) {
  std::uint64_t state = key.seed;
  for (const std::uint64_t part :
       {static_cast<std::uint64_t>(key.epoch), static_cast<std::uint64_t>(key.purpose),
        static_cast<std::uint64_t>(key.file)})
    state = SplitMix64(state ^ SplitMix64(part).next()).next();
  return SplitMix64(state);
}

// Puts a random choice of `count` items, in random order, to the front (Fisher and Yates).
template <class Item>
void shuffle(std::vector<Item>& items, std::size_t count, SplitMix64 random) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t other = i + static_cast<std::size_t>(random.below(items.size() - i));
    std::swap(items[i], items[other]);
  }
}

template <class Item>
void shuffle(std::vector<Item>& items, SplitMix64 random) {
  shuffle(items, items.size(), random);
}

}  // namespace

BatchSampler::BatchSampler(const Windows& windows, const BatchSamplerOptions& options)
    : options_(options), lengths_(windows.lengths.begin(), windows.lengths.end()) {
  if (options.batch_tokens == 0 && options.batch_size == 0)
    throw Error(ErrorCode::kInvalidArgument, "batch size: is 0; a step needs at least one window");
  windows_of_.resize(std::max<std::size_t>(windows.weights.size(), 1));
  for (std::size_t i = 0; i < lengths_.size(); ++i) {
    const std::size_t file = windows.files.empty() ? 0 : windows.files[i];
    if (file >= windows_of_.size()) windows_of_.resize(file + 1);
    windows_of_[file].push_back(static_cast<std::uint32_t>(i));
  }
  for (std::size_t file = 0; file < windows_of_.size(); ++file) {
    const double weight = file < windows.weights.size() ? windows.weights[file] : 1;
    share_.push_back(
        static_cast<std::size_t>(std::llround(weight * static_cast<double>(windows_of_[file].size()))));
  }
  epoch_size_ = std::accumulate(share_.begin(), share_.end(), std::size_t{0});
  options_.batch_size = std::min(options_.batch_size, epoch_size_);
  if (epoch_size_ == 0)
    throw Error(ErrorCode::kInvalidArgument,
                "training data: there is no window to train on; give more data or greater weights");
}

std::size_t BatchSampler::steps_per_epoch(std::size_t epoch) const {
  if (options_.batch_tokens != 0) return this->epoch(epoch).size();
  return (epoch_size_ + options_.batch_size - 1) / options_.batch_size;
}

std::vector<std::vector<std::uint32_t>> BatchSampler::epoch(std::size_t epoch) const {
  std::vector<std::uint32_t> order = chosen(epoch);
  shuffle(order, generator({.seed = options_.data_seed, .epoch = epoch, .purpose = Purpose::kOrder}));
  if (!options_.group_by_length) return cut(order);
  sort_by_length(order);
  std::vector<std::vector<std::uint32_t>> batches = cut(order);
  // The last, which may be smaller, stays the last.
  std::vector<std::uint32_t> last = std::move(batches.back());
  batches.pop_back();
  shuffle(batches, generator({.seed = options_.data_seed, .epoch = epoch, .purpose = Purpose::kBatches}));
  batches.push_back(std::move(last));
  return batches;
}

std::vector<std::uint32_t> BatchSampler::chosen(std::size_t epoch) const {
  std::vector<std::uint32_t> all;
  all.reserve(epoch_size_);
  for (std::size_t file = 0; file < windows_of_.size(); ++file) {
    std::vector<std::uint32_t> windows = windows_of_[file];
    if (windows.empty()) continue;
    for (std::size_t copies = share_[file] / windows.size(); copies > 0; --copies)
      all.insert(all.end(), windows.begin(), windows.end());
    const std::size_t rest = share_[file] % windows.size();
    const Key key{.seed = options_.data_seed, .epoch = epoch, .purpose = Purpose::kSubset, .file = file};
    shuffle(windows, rest, generator(key));
    all.insert(all.end(), windows.begin(), windows.begin() + static_cast<std::ptrdiff_t>(rest));
  }
  return all;
}

void BatchSampler::sort_by_length(std::vector<std::uint32_t>& order) const {
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin;
    if (options_.batch_tokens == 0) {
      end = begin + std::min(order.size() - begin, kPoolBatches * options_.batch_size);
    } else {
      for (std::size_t tokens = 0; end < order.size() && tokens / kPoolBatches < options_.batch_tokens; ++end)
        tokens += lengths_[order[end]];
    }
    std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(begin),
                     order.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](std::uint32_t a, std::uint32_t b) { return lengths_[a] > lengths_[b]; });
    begin = end;
  }
}

std::vector<std::vector<std::uint32_t>> BatchSampler::cut(std::span<const std::uint32_t> order) const {
  std::vector<std::vector<std::uint32_t>> batches;
  std::size_t tokens = 0;
  for (const std::uint32_t window : order) {
    const bool is_full =
        !batches.empty() && (options_.batch_tokens == 0 ? batches.back().size() == options_.batch_size
                                                        : tokens + lengths_[window] > options_.batch_tokens);
    if (batches.empty() || is_full) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(window);
    tokens += lengths_[window];
  }
  return batches;
}

}  // namespace kvasir::train
