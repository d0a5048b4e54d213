// Which windows are trained on in which step.
//
// The order is a function of the seed and the number of the epoch and of nothing else: training that goes on
// from a checkpoint sees the batches that it would have seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kvasir::train {

struct BatchSamplerOptions {
  std::uint64_t data_seed = 42;
  std::size_t batch_size = 8;    // windows of a step
  std::size_t batch_tokens = 0;  // if not 0: tokens of a step at most, and batch_size does not count
  // Steps of windows that are about as long as each other.
  bool group_by_length = false;
};

class BatchSampler {
 public:
  // Windows, their tokens, and where they come from. What is given is copied.
  struct Windows {
    std::span<const std::uint32_t> lengths;  // [windows]
    std::span<const std::uint32_t> files;    // [windows], indices of weights; empty: all of file 0
    // Of each file: of its n windows, an epoch has round(weight * n); with less than n a subset that is drawn
    // anew for each epoch, with more some of them several times. Empty: 1 for all.
    std::span<const double> weights;
  };
  // Throws kInvalidArgument if a batch is empty, or an epoch.
  BatchSampler(const Windows& windows, const BatchSamplerOptions& options);

  // The same for all epochs.
  std::size_t windows_per_epoch() const noexcept { return epoch_size_; }
  // The same for all epochs, unless batches are made by tokens.
  std::size_t steps_per_epoch(std::size_t epoch) const;
  // The windows of each step of an epoch, from 0. All have batch_size windows but the last; by tokens, as
  // many as fit one after the other, at least one.
  std::vector<std::vector<std::uint32_t>> epoch(std::size_t epoch) const;

 private:
  std::vector<std::uint32_t> chosen(std::size_t epoch) const;
  void sort_by_length(std::vector<std::uint32_t>& order) const;
  std::vector<std::vector<std::uint32_t>> cut(std::span<const std::uint32_t> order) const;

  BatchSamplerOptions options_;
  std::vector<std::uint32_t> lengths_;
  std::vector<std::vector<std::uint32_t>> windows_of_;  // each file
  std::vector<std::size_t> share_;                      // windows that each file gives to an epoch
  std::size_t epoch_size_ = 0;
};

}  // namespace kvasir::train
