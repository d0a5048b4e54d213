// Weights that learn otherwise than the rest: not at all, or more slowly.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "train/parameters.h"

namespace kvasir::train {

// Rows of a parameter that do not learn though the others of it do: matrices that are fused with them.
struct FrozenRows {
  Parameter* parameter;
  const NamedTensor* tensor;
  std::vector<float> rows;  // as they are to stay
};

// Freezes the tensors in whose names one of the patterns (regular expressions, Oniguruma) is found. Throws
// kInvalidArgument for a pattern that is none or that no tensor has, and if nothing is left that learns.
std::vector<FrozenRows> freeze(std::span<const std::string> patterns, Parameters& parameters);

// ELECTRA's layer-wise decay (Clark et al. 2020): with L layers, the learning rate is multiplied by decay^(L
// + 2) for what lies below the layers, by decay^(L + 1 - i) for layer i = 0, 1, …, and by 1 for the head.
void decay_by_layer(double decay, Parameters& parameters);

}  // namespace kvasir::train
