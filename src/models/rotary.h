// Rotary position embedding (Su et al. 2021): queries and keys are turned by angles that grow with the
// position, so that scores depend on distances.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "models/config.h"
#include "models/forward_context.h"

namespace kvasir::models {

// rope_theta and rope_scaling of config.json (modeling_rope_utils of transformers).
struct RotaryScaling {
  enum class Kind { kNone, kLinear, kDynamic, kLlama3 };
  Kind kind = Kind::kNone;
  double factor = 1;
  // Of kLlama3: wavelengths over original / low_freq_factor are stretched, those under original /
  // high_freq_factor are not.
  double low_freq_factor = 1, high_freq_factor = 4;
  std::size_t original_positions = 0;
};
struct Rotary {
  double theta = 10'000;
  std::size_t head_dim = 0;   // even
  std::size_t positions = 0;  // max_position_embeddings
  RotaryScaling scaling{};
};
// Reads rope_theta and rope_scaling, or rope_parameters of transformers 5. Throws kUnsupported for an unknown
// scaling.
void read_rotary(const ConfigReader& reader, Rotary& rotary);

// Radians per position of each pair of numbers of a head, [head_dim / 2], in a sequence of `length` tokens,
// which matters for dynamic scaling only.
std::vector<float> rotary_frequencies(const Rotary& rotary, std::size_t length);
// The row of one position: [head_dim / 2] cosines, then as many sines.
void rotary_angles(std::span<const float> frequencies, std::size_t position, float* row) noexcept;

// Rotates the heads, which lie side by side at the beginning of each row of x.
struct RotateRows {
  const float* angles = nullptr;                   // rows of head_dim, from rotary_angles
  std::span<const std::uint32_t> angle_rows = {};  // angles of each row of x; empty: in order
  float* x = nullptr;
  std::size_t rows = 0, x_stride = 0;  // floats between rows
  std::size_t heads = 0, head_dim = 0;
};
void rotate(ForwardContext& context, const RotateRows& call);

}  // namespace kvasir::models
