// Tensors of parameters in safetensors files.
#pragma once

#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "train/parameters.h"

namespace kvasir::train {

// The tensors of a file that is about to be written, with the memory that they lie in.
class TensorList {
 public:
  // from: numbers in the parameter's layout.
  void add(const std::string& name, const Parameter& parameter, const NamedTensor& tensor,
           std::span<const float> from);
  void write(const std::filesystem::path& path) const { formats::write_safetensors(path, tensors_); }

 private:
  std::deque<std::vector<float>> memory_;
  std::vector<formats::NamedTensor> tensors_;
};

// A file whose tensors fill parameters.
class TensorSource {
 public:
  // advice: what is likely if a tensor does not fit, for errors. Throws as formats::SafetensorsFile.
  TensorSource(const std::filesystem::path& path, std::string advice);

  bool has(const std::string& name) const { return file_.tensors().contains(name); }
  // to: numbers in the parameter's layout. Throws kFormat if the tensor is missing or has another shape.
  void fill(const std::string& name, const Parameter& parameter, const NamedTensor& tensor,
            std::span<float> to);

 private:
  [[noreturn]] void refuse(const std::string& what) const;

  formats::SafetensorsFile file_;
  std::string advice_;
  std::vector<float> rows_;
};

}  // namespace kvasir::train
