// Low-rank adapters (Hu et al. 2021) in the files of PEFT: W' = W + (alpha / r) B A for some matrices W of
// the encoder; only A, B and the head learn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "models/encoder_model.h"
#include "train/parameters.h"

namespace kvasir::train {

struct LoraOptions {
  std::size_t r = 0;  // 0: no adapters
  double alpha = 8;
  double dropout = 0;  // of what A reads
  // Names of modules, or the ends of names: "query" is every …attention.self.query.
  std::vector<std::string> target_modules = {"query", "value"};
};

struct LoraAdapter {
  std::string module;         // as in checkpoints, with the encoder's prefix
  std::size_t first_row = 0;  // of W in the fused matrix that it is a part of
  models::Linear a, b;        // [r, in], [out, r]
};

class Lora {
 public:
  // Makes adapters for the target modules: A as PEFT draws it (uniform within ±1/√in), B zeros. Registers
  // them with the parameters and freezes all others but the head's. Throws kInvalidArgument if a target is no
  // matrix of the encoder, naming those that are.
  Lora(const LoraOptions& options, models::TrainableModel& model, Parameters& parameters, std::uint64_t seed);

  // Fills adapters and head from a folder of PEFT's (adapter_config.json, adapter_model.safetensors). Throws
  // kNotFound, kFormat (a tensor that is missing, or of another shape).
  void load(const std::filesystem::path& folder, Parameters& parameters);
  // Writes such a folder's two files. base_model: for adapter_config.json.
  void save(const std::filesystem::path& folder, const std::string& base_model,
            const Parameters& parameters) const;
  // Adds the adapters to the weights that they belong to.
  void merge(Parameters& parameters) const;

  // The matrices that have adapters.
  std::vector<const models::Linear*> targets() const;
  std::span<const LoraAdapter* const> of(const models::Linear& linear) const;
  float scale() const noexcept {
    return static_cast<float>(options_.alpha / static_cast<double>(options_.r));
  }
  float dropout() const noexcept { return static_cast<float>(options_.dropout); }
  const LoraOptions& options() const noexcept { return options_; }

 private:
  LoraOptions options_;
  std::deque<LoraAdapter> adapters_;  // never moved
  std::unordered_map<const models::Linear*, std::vector<const LoraAdapter*>> by_linear_;
};

// The weights with their adapters added, for as long as this lives; then as they were, bit by bit.
class MergedWeights {
 public:
  MergedWeights(const Lora& lora, Parameters& parameters);
  ~MergedWeights();
  MergedWeights(const MergedWeights&) = delete;
  MergedWeights& operator=(const MergedWeights&) = delete;

 private:
  std::vector<std::pair<Parameter*, std::vector<float>>> before_;
};

// Options as a folder's adapter_config.json has them. Throws kNotFound, kFormat, kUnsupported (another kind
// of adapter).
LoraOptions read_lora_options(const std::filesystem::path& folder);

}  // namespace kvasir::train
