// pytorch_model.bin: what torch.save writes of a dict of tensors, as a ZIP archive (since PyTorch 1.6) or in
// the older format without one. Read without running any of it: see pickle.h.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/buffer.h"
#include "tensor/view.h"

namespace kvasir::formats {

struct TorchContent {
  // Views of the bytes that were parsed, or of copies: where a tensor is not contiguous (a transposed one),
  // or the file big-endian.
  std::map<std::string, tensor::TensorView> tensors;
  std::vector<tensor::Buffer<std::byte>> copies;
};

// Validates a whole file in memory (spec: training-formats-hub §5). Throws kFormat naming origin (the file)
// and tensor; kUnsupported, naming it, if the file would build anything but tensors.
TorchContent parse_torch(std::span<const std::byte> bytes, const std::string& origin);

class TorchFile {
 public:
  // Maps and validates a file. Throws as base::MappedFile and parse_torch.
  explicit TorchFile(const std::filesystem::path& path)
      : file_(path), content_(parse_torch(file_.bytes(), path.string())) {}

  const std::map<std::string, tensor::TensorView>& tensors() const noexcept { return content_.tensors; }
  const base::MappedFile& file() const noexcept { return file_; }

 private:
  base::MappedFile file_;
  TorchContent content_;
};

}  // namespace kvasir::formats
