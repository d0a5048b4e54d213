// Writes a model with its matrices as bytes: `kvasir quantize`. The layout is described in docs/int8.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cpu.h"

namespace kvasir::exporting {

enum class StoredPrecision {
  kInt8,  // matrices and embeddings as I8 with F32 scales, vectors as they are
  kFp16,  // everything as F16
};

struct QuantizeOptions {
  StoredPrecision precision = StoredPrecision::kInt8;
  // A matrix whose outputs would have a larger error than this, relative to their size (root mean squares),
  // stays F16 and is computed in fp32.
  double max_error = 0.1;
  int threads = 0;
  base::Isa isa = base::best_isa();
};

// The result for one Linear (kInt8).
struct QuantizedLayer {
  std::string name;   // of its first weight
  double error = -1;  // error of its outputs over the samples; -1: no sample reached it
  bool int8 = false;  // false: it stays F16
};

// How near the vectors of a sentence model are to what they were in fp32, over the samples.
struct CosineReport {
  double mean = 0, least = 0;
};

struct QuantizeReport {
  std::vector<QuantizedLayer> layers;
  std::optional<CosineReport> cosine;               // of a sentence model (kInt8)
  std::uint64_t bytes_before = 0, bytes_after = 0;  // of the tensors
};

// A sequence that the errors are measured with.
struct Sample {
  std::vector<std::int32_t> input_ids, token_type_ids;
};

// Reads the QA model of `from` and writes it to the folder `to`, which it creates: model.safetensors,
// config.json with quantization_config, and copies of all other files except weights. progress(done, all) is
// called as samples have run. Throws as models::load_encoder_model; kInvalidArgument if `to` holds files
// already, no sample is given for kInt8, or the model is quantised already; kIo.
using QuantizeProgress = std::function<void(std::size_t done, std::size_t all)>;
QuantizeReport quantize(const std::filesystem::path& from, const std::filesystem::path& to,
                        std::span<const Sample> samples, const QuantizeOptions& options = {},
                        const QuantizeProgress& progress = {});

}  // namespace kvasir::exporting
