// What a model was loaded from, tensor by tensor: for programs that write models anew.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/blocks.h"
#include "tensor/view.h"

namespace kvasir::models {

// Whether it is wide enough to be computed with bytes: heads are not.
bool can_be_int8(const Linear& linear) noexcept;

struct Inventory {
  enum class Kind {
    kMatrix,  // of a Linear
    kTable,   // embeddings
    kOther,   // vectors, and convolutions
  };
  struct Entry {
    Kind kind = Kind::kOther;
    std::string name;                // in the file, or today's if that is an old one
    tensor::TensorView view;         // valid as long as the model is
    const Linear* linear = nullptr;  // kMatrix: all or a part of its weight, in the order of entries
    std::optional<tensor::TensorView> scales = {};  // of a tensor of bytes, [rows]
  };
  std::vector<Entry> entries;
};

}  // namespace kvasir::models
