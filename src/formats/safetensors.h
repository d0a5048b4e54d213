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

// What a file holds. The views point into the bytes that were parsed.
struct SafetensorsContent {
  std::map<std::string, tensor::TensorView> tensors;
  std::map<std::string, std::string> metadata;
};

// Validates a whole file in memory (spec: training-formats-hub §5): bounds, order, no holes or overlaps, no
// duplicate names, no trailing bytes, shapes that match sizes without overflow. Throws kFormat naming origin
// (the file) and tensor; kUnsupported for a dtype of the format that is not supported here.
SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& origin);

class SafetensorsFile {
 public:
  // Maps and validates a file. Throws as base::MappedFile and parse_safetensors.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::map<std::string, tensor::TensorView>& tensors() const noexcept { return content_.tensors; }
  const std::map<std::string, std::string>& metadata() const noexcept { return content_.metadata; }
  const base::MappedFile& file() const noexcept { return file_; }

 private:
  base::MappedFile file_;
  SafetensorsContent content_;
};

struct NamedTensor {
  std::string name;
  tensor::TensorView view;
};
// Writes atomically, in the reference's order (dtype size descending, then name), header padded to 8 bytes,
// with {"format": "pt"}: byte for byte what the reference writes. Throws kInvalidArgument (a name twice, or
// "__metadata__"), kIo.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors);

}  // namespace kvasir::formats
