// The order of a matrix's rows.
#pragma once

#include <cstdint>
#include <vector>

namespace kvasir::models {

// Row i of the result is row order[i] of the source. Empty: as they are.
using RowOrder = std::vector<std::uint32_t>;

}  // namespace kvasir::models
