// The relative positions of DeBERTa: scores between the content of one token and the distance to another.
//
//   score(i, j) = q_i · k_j + q_i · K(δ) + k_j · Q(δ),   δ = bucket(i - j)
//
// "c2p" (content to position) is the second term, "p2c" the third. K and Q are projections of a table of
// distances: weights, so they are computed once, at load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "models/self_attention.h"

namespace kvasir::models {

// Which row of the table of distances stands for a distance.
struct DistanceBuckets {
  std::size_t position_buckets = 0;        // 0: every distance has its own
  std::size_t max_relative_positions = 0;  // the distance at which the buckets end

  // Distances from -span() on; larger ones use the last row.
  std::size_t span() const noexcept {
    return position_buckets > 0 ? position_buckets : max_relative_positions;
  }
  std::size_t rows() const noexcept { return 2 * span(); }
  // In [0, rows()); does not decrease as the distance grows.
  std::size_t row(std::ptrdiff_t query_minus_key) const noexcept;
};

// The projected table of one layer.
struct ProjectedDistances {
  struct Term {
    std::vector<kernels::PackedMatrix>
        heads;  // [rows, head_dim] of each, scaled as the scores are; empty: no such term
    // What they were packed of, not scaled: [rows, hidden_size], rows `stride` floats apart. Only with a
    // tape.
    const float* rows = nullptr;
    std::size_t stride = 0;
  };
  Term keys;     // K, for c2p
  Term queries;  // Q, for p2c
  float scale = 1;
  std::vector<std::span<const float>> rows;  // all of what the terms were packed of, with a tape
};

// The rows of all distances that occur in sequences of up to `longest` tokens, from the greatest to the
// least, so that what query i needs for keys 0, 1, … is contiguous.
class DistanceRows {
 public:
  DistanceRows(const DistanceBuckets& buckets, std::size_t longest);
  const std::uint32_t* of_query(std::size_t i) const noexcept { return rows_.data() + (longest_ - 1 - i); }

 private:
  std::size_t longest_;
  std::vector<std::uint32_t> rows_;
};

class DisentangledBias final : public ScoreBias {
 public:
  DisentangledBias(std::shared_ptr<const ProjectedDistances> distances,
                   std::shared_ptr<const DistanceRows> rows, const kernels::Kernels& kernels)
      : distances_(std::move(distances)), rows_(std::move(rows)), kernels_(kernels) {}

  std::size_t scratch_size(const AttentionTask& task) const noexcept override;
  Rows rows(const AttentionTask& task, const AttentionBuffers& buffers,
            float* scratch) const noexcept override;
  void add_gradients(const AttentionTask& task, const AttentionBuffers& buffers,
                     const Gradients& gradients) const override;
  std::vector<std::span<const float>> parameters() const override { return distances_->rows; }

 private:
  std::shared_ptr<const ProjectedDistances> distances_;
  std::shared_ptr<const DistanceRows> rows_;
  const kernels::Kernels& kernels_;
};

}  // namespace kvasir::models
