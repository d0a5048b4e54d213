// Writes GGUF files, version 3, as llama.cpp reads them: data in the order of the tensors, each at a multiple
// of 32 bytes, no gaps.
//
//   const std::vector<GgufEntry> metadata = {{"general.architecture", "llama"}, {"llama.block_count", 2U}};
//   const auto fill = [&](std::size_t i, std::span<std::byte> out) { … };    // the data of tensors[i]
//   formats::write_gguf("model.gguf", metadata, tensors, fill);
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

// A tensor to write, without its data. shape has one to four dimensions, in PyTorch's order.
struct GgufTensor {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
};

// Fills in the data of tensors[index]. They are written before those of the next tensor are requested, so
// that the whole model is never in memory.
using FillTensor = std::function<void(std::size_t index, std::span<std::byte> out)>;

// Writes atomically. Throws kInvalidArgument for what parse_gguf would refuse (a key or name that is too long
// or appears twice, a type that GGUF does not have, rows that are not whole quants), kIo, and what `fill`
// throws.
void write_gguf(const std::filesystem::path& path, std::span<const GgufEntry> metadata,
                std::span<const GgufTensor> tensors, const FillTensor& fill);

}  // namespace kvasir::formats
