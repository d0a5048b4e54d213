// A weight of a model, and where it was read from.
#pragma once

#include <string>

#include "base/mapped_file.h"
#include "tensor/view.h"

namespace kvasir::formats {

struct CheckpointTensor {
  tensor::TensorView view;
  std::string file;                          // where it lies, for errors
  const base::MappedFile* mapped = nullptr;  // the view lies in it; null: in a copy
};

}  // namespace kvasir::formats
