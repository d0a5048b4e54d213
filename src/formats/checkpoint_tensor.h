// A weight of a model, and where it was read from.
#pragma once

#include <string>

#include "base/mapped_file.h"
#include "tensor/view.h"

namespace kvasir::formats {

struct CheckpointTensor {
  tensor::TensorView view;
  std::string file;                          // the file it is in, for errors
  const base::MappedFile* mapped = nullptr;  // the file that the view points into; null: it points to a copy
};

}  // namespace kvasir::formats
