// Turns a text's hidden states into one vector: the modules of sentence-transformers after its Transformer.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "models/head.h"
#include "models/load_options.h"

namespace kvasir::models {

// Of the states x_1 … x_n of a text, special tokens included, without the first RaggedBatch::unpooled of them
// (kCls: with them). If there are several, their vectors are concatenated in this order.
enum class Pooling {
  kCls,           // x_1
  kMax,           // of each component
  kMean,          // Σ x_i / n
  kMeanSqrtLen,   // Σ x_i / √n
  kWeightedMean,  // Σ i x_i / Σ i, i counting from 1 in the whole text
  kLastToken,     // x_n
};
// Its name in descriptions of models, such as "mean_sqrt_len".
const char* pooling_name(Pooling pooling) noexcept;

// activation(x Wᵀ + b); the weights are in the module's folder, as linear.weight and linear.bias.
struct DenseModule {
  std::filesystem::path folder;
  std::size_t in_features = 0, out_features = 0;
  bool bias = true;
  HeadActivation activation = HeadActivation::kTanh;
};
// x / max(‖x‖, 1e-12)
struct NormalizeModule {};
using SentenceModule = std::variant<DenseModule, NormalizeModule>;

struct SentenceLayout {
  std::vector<Pooling> pooling;  // at least one, in the order above
  std::size_t width = 0;         // width of the states that they expect; 0: any
  std::vector<SentenceModule> modules;
};

// Loads the modules' weights. Throws as load_encoder_model; kFormat if the width of a module does not match
// that of the one before it.
std::unique_ptr<const Head> load_sentence_head(const SentenceLayout& layout, const EncoderFacts& facts,
                                               const LoadOptions& options);

}  // namespace kvasir::models
