#include "train/tensor_files.h"

#include <utility>

#include "kvasir/error.h"

namespace kvasir::train {

void TensorList::add(const std::string& name, const Parameter& parameter, const NamedTensor& tensor,
                     std::span<const float> from) {
  std::vector<float>& rows = memory_.emplace_back(tensor.rows * parameter.columns);
  parameter.read(tensor, from, rows.data());
  tensors_.push_back({.name = name,
                      .view = {.dtype = tensor::DType::kF32,
                               .shape = tensor.shape,
                               .data = reinterpret_cast<const std::byte*>(rows.data())}});
}

TensorSource::TensorSource(const std::filesystem::path& path, std::string advice)
    : file_(path), advice_(std::move(advice)) {}

void TensorSource::refuse(const std::string& what) const {
  throw Error(ErrorCode::kFormat, file_.file().path().string() + ": " + what + "; " + advice_);
}

void TensorSource::fill(const std::string& name, const Parameter& parameter, const NamedTensor& tensor,
                        std::span<float> to) {
  const auto found = file_.tensors().find(name);
  if (found == file_.tensors().end()) refuse("tensor " + name + " is missing");
  if (found->second.shape != tensor.shape) {
    refuse("tensor " + name + " has shape " + tensor::shape_text(found->second.shape) + ", expected " +
           tensor::shape_text(tensor.shape));
  }
  rows_.resize(found->second.elements());
  found->second.read_floats(0, rows_);
  parameter.write(tensor, rows_.data(), to);
}

}  // namespace kvasir::train
