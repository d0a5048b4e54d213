// Suffixes of the names of a weight's tensors.
#pragma once

namespace kvasir::models {

inline constexpr const char* kWeight = ".weight";
inline constexpr const char* kBias = ".bias";
inline constexpr const char* kWeightScale = ".weight_scale";
inline constexpr const char* kScaleSuffix = "_scale";  // behind the name of a tensor that is stored as bytes

}  // namespace kvasir::models
