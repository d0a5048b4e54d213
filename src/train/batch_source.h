// Where the batches of a training run come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "train/span_batch.h"

namespace kvasir::train {

class BatchSource {
 public:
  BatchSource() = default;
  BatchSource(const BatchSource&) = delete;
  BatchSource& operator=(const BatchSource&) = delete;
  virtual ~BatchSource() = default;

  // Steps of the optimizer in an epoch, counted from 0.
  virtual std::uint64_t steps(std::uint64_t epoch) = 0;
  // The batches whose gradients make up one step. They depend on nothing but epoch and step, so that a run
  // that is resumed goes on with the same ones.
  virtual std::vector<SpanBatch> batches(std::uint64_t epoch, std::uint64_t step) = 0;
  // For errors: which questions a batch holds.
  virtual std::string describe(const SpanBatch& batch) const = 0;
};

}  // namespace kvasir::train
