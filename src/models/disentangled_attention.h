// The relative positions of DeBERTa: scores between the content of one token and the distance to another.
//
//   score(i, j) = q_i · k_j + q_i · K(δ) + k_j · Q(δ),   δ = bucket(i - j)
//
// "c2p" (content to position) is the second term, "p2c" the third. K and Q are projections of a table of
// distances: weights, so they are computed once, at load.
#pragma once

#include <cstddef>
#include <cstdint>
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

// The projected table of one layer: per head [rows, head_dim], scaled as the scores are. Empty if the layer
// has no such term.
struct ProjectedDistances {
  std::vector<kernels::PackedMatrix> keys;     // K, for c2p
  std::vector<kernels::PackedMatrix> queries;  // Q, for p2c
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
  DisentangledBias(const ProjectedDistances& distances, const DistanceRows& rows,
                   const kernels::Fp32Kernels& kernels)
      : distances_(distances), rows_(rows), kernels_(kernels) {}

  std::size_t scratch_size(const AttentionTask& task) const noexcept override;
  Rows rows(const AttentionTask& task, const AttentionBuffers& buffers,
            float* scratch) const noexcept override;

 private:
  const ProjectedDistances& distances_;
  const DistanceRows& rows_;
  const kernels::Fp32Kernels& kernels_;
};

}  // namespace kvasir::models
