// Writes a language model of a Hugging Face folder as one GGUF file, which llama.cpp reads too: weights
// rounded to quants, tokenizer, chat template.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace kvasir::exporting {

struct GgufExportOptions {
  // The type of matrices: F32, F16, Q8_0, Q4_0, Q4_K, Q6_K. As in llama.cpp, the head (or the table of
  // embeddings, if it is also the head) gets Q6_K where others have 4 bits, and matrices whose rows are not a
  // whole number of quants get the next larger type whose quants fit. Vectors are F32.
  tensor::DType type = tensor::DType::kQ8_0;
  int threads = 0;  // 0: one per core
};
// "f32", "f16", "q8_0", "q4_0", "q4_k", "q6_k"; nullopt: another name.
std::optional<tensor::DType> parse_gguf_type(std::string_view name);

struct GgufExportReport {
  struct Tensor {
    std::string name;  // in GGUF
    tensor::DType dtype;
  };
  std::vector<Tensor> tensors;
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of the tensors
};

// Supports the families llama, falcon, bloom and mpt. Tensors are read and written one by one, so besides the
// mapped pages of the files it needs memory for the largest tensor. Throws as load_causal_lm for a bad
// folder, kFormat for a weight that is not finite, kUnsupported for what GGUF cannot express, kIo, and what
// `progress` (tensors done, all) throws.
GgufExportReport export_gguf(const std::filesystem::path& folder, const std::filesystem::path& out,
                             const GgufExportOptions& options,
                             const std::function<void(std::size_t, std::size_t)>& progress = {});

}  // namespace kvasir::exporting
