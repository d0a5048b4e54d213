// Writes GGUF files, version 3, as llama.cpp reads them: data in the order of the tensors, each at a multiple
// of 32 bytes, no gaps.
//
//   formats::write_gguf("model.gguf", {{"general.architecture", "llama"}, {"llama.block_count", 2U}},
//   tensors,
//                       [&](std::size_t i, std::span<std::byte> out) { … });
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "tensor/view.h"

namespace kvasir::formats {

struct GgufEntry {
  std::string key;
  std::variant<std::uint32_t, std::int32_t, std::uint64_t, float, bool, std::string, std::vector<std::string>,
               std::vector<float>, std::vector<std::int32_t>>
      value;
};

// A tensor to write, without its data. shape: in PyTorch's order, one to four dimensions.
struct GgufTensor {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
};

// Fills in the data of tensors[index], which are written before the next are asked for: so that a model is
// never in memory whole.
using FillTensor = std::function<void(std::size_t index, std::span<std::byte> out)>;

// Writes atomically. Throws kInvalidArgument for what parse_gguf would refuse (a key or name twice or too
// long, a type that GGUF has not, rows of no whole blocks), kIo, and what fill throws.
void write_gguf(const std::filesystem::path& path, std::span<const GgufEntry> metadata,
                std::span<const GgufTensor> tensors, const FillTensor& fill);

}  // namespace kvasir::formats
