// The safetensors format: u64 header length, JSON header, data. Reading maps the file; writing is atomic.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/view.h"

namespace kvasir::formats {

class SafetensorsFile {
 public:
  // Maps and validates the whole header (spec: training-formats-hub §5): bounds, order, no holes or overlaps,
  // no duplicate names, no trailing bytes, shapes that match sizes without overflow. Throws kFormat naming
  // file and tensor.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, tensor::TensorView>& tensors() const noexcept { return tensors_; }
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  const base::MappedFile& file() const noexcept { return file_; }

 private:
  base::MappedFile file_;
  std::map<std::string, tensor::TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  tensor::TensorView view;
};
// Writes atomically, in the reference's order (dtype size descending, then name), header padded to 8 bytes,
// with {"format": "pt"}.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors);

}  // namespace kvasir::formats
