#include "models/weight_checker.h"

#include <algorithm>
#include <cstdint>

#include "kvasir/error.h"
#include "models/stored_names.h"

namespace kvasir::models {

namespace {

// Or quants of GGUF, which stand for floats.
bool is_float(tensor::DType dtype) {
  using tensor::DType;
  return tensor::dtype_quant_elements(dtype) > 1 || dtype == DType::kF32 || dtype == DType::kF16 ||
         dtype == DType::kBF16 || dtype == DType::kF64;
}

std::string shape_of(Dims dims) {
  tensor::Shape shape;
  for (const Dim& dim : dims) shape.push_back(static_cast<std::int64_t>(dim.size));
  return tensor::shape_text(shape);
}

// "hidden_size = 384, intermediate_size = 1536"
std::string keys_of(Dims dims) {
  std::string keys;
  for (const Dim& dim : dims) {
    keys += (keys.empty() ? "" : ", ") + std::string(dim.key) + " = " + std::to_string(dim.size);
  }
  return keys;
}

}  // namespace

void WeightChecker::check_tensor(const std::string& name, Dims dims) {
  const StoredTensor* stored = source_.find(name);
  if (stored == nullptr) {
    missing_.push_back(name);
    return;
  }
  const std::string where = stored->where();
  const bool bytes = stored->view.dtype == tensor::DType::kI8 && dims.size() == 2;
  if (!bytes && !is_float(stored->view.dtype)) {
    throw Error(ErrorCode::kUnsupported, where + " is of type " + tensor::dtype_name(stored->view.dtype) +
                                             "; weights must be F32, F16, BF16 or F64, matrices also I8");
  }
  const bool equal = std::ranges::equal(
      stored->view.shape, dims, {}, [](std::int64_t size) { return size; },
      [](const Dim& dim) { return static_cast<std::int64_t>(dim.size); });
  if (equal) {
    if (bytes) check_scales(*stored, name, *dims.begin());
    return;
  }
  throw Error(ErrorCode::kFormat, where + " has shape " + tensor::shape_text(stored->view.shape) + ", but " +
                                      keys_of(dims) + " of " + source_.config_name() + " ask for " +
                                      shape_of(dims) + "; the two do not belong together");
}

void WeightChecker::check_scales(const StoredTensor& weight, const std::string& name, const Dim& rows) {
  const StoredTensor* scales = source_.find(name + kScaleSuffix);
  if (scales == nullptr) {
    throw Error(ErrorCode::kFormat, weight.where() + " is of type I8, and there is no tensor " + weight.name +
                                        kScaleSuffix + " with its scales; use a file of kvasir quantize");
  }
  const tensor::Shape shape{static_cast<std::int64_t>(rows.size)};
  if (scales->view.dtype == tensor::DType::kF32 && scales->view.shape == shape) return;
  throw Error(ErrorCode::kFormat, scales->where() + " is " + tensor::dtype_name(scales->view.dtype) + " " +
                                      tensor::shape_text(scales->view.shape) + "; the scales of " +
                                      weight.name + " should be F32 " + tensor::shape_text(shape));
}

void WeightChecker::finish(const std::string& advice) const {
  if (missing_.empty()) return;
  std::string message =
      source_.origin() + ": tensor " + source_.name_in_file(missing_.front()) + " is missing";
  if (!advice.empty()) {
    message += ": " + advice;
  } else {
    if (missing_.size() > 1) message += ", and " + std::to_string(missing_.size() - 1) + " more";
    message += std::string("; the weights and ") + source_.config_name() +
               " do not belong together, or the file is incomplete";
  }
  throw Error(ErrorCode::kFormat, message);
}

}  // namespace kvasir::models
