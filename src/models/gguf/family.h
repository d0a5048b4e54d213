// How GGUF, the format of llama.cpp, describes a family of models, as data. A new family is one file here
// (llama.cpp, falcon.cpp, … define one record each) and its line at the end of this header: names.h, config.h
// and the export read nothing else. The families themselves (decoder/*.cpp) know Hugging Face's names and
// settings only.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "models/gguf/settings.h"
#include "tensor/dtype.h"

namespace kvasir::models {

struct GgufLayout;

enum class GgufRows {
  kSame,
  // Llama's queries and keys: the two numbers that a rotary position turns lie side by side, row 2 j + h of a
  // head being Hugging Face's row h · head_dim / 2 + j.
  kRotaryQueries,
  kRotaryKeys,
  // Fused queries, keys and values: all queries, then all keys, then all values, whereas Hugging Face has
  // them by groups.
  kQueriesKeysValues
};

// A tensor: names without ".weight" and ".bias", N the number of the layer.
struct GgufName {
  std::string_view gguf, huggingface;
  GgufRows rows = GgufRows::kSame;
  bool required = true;  // a complete model must have it
  // Whether a model of the family uses this name; null: all do.
  bool (*applies)(const base::JsonObject& config) = nullptr;
};

// The matrix that makes logits.
struct GgufHead {
  enum class Tied { kAlways, kUnlessSaid, kIfSaid };
  Tied tied = Tied::kIfSaid;  // to the table of embeddings, as config.json's tie_word_embeddings says
  bool copied = false;        // llama.cpp requires a tensor "output" even then
  // Its type where other matrices have 4 bits: its errors go directly into the logits.
  tensor::DType with_4_bits = tensor::DType::kQ6_K;
};

struct GgufFamily {
  std::string_view architecture;                       // general.architecture
  std::span<const std::string_view> model_types = {};  // of config.json; reading GGUF yields the first
  std::span<const GgufName> names = {};
  // "block_count", "attention.head_count" and "embedding_length" among them.
  std::span<const GgufSetting> settings = {};
  std::span<const GgufAssumption> assumptions = {};
  GgufHead head = {};
  // Metadata that the tables cannot express. The size of the vocabulary, whether the head is tied, and (when
  // writing) "attention.head_count_kv" are handled already.
  void (*read)(GgufReader& reader) = nullptr;
  void (*write)(GgufWriter& writer) = nullptr;
  // The number of heads of keys and values of a config.json; null: as many as of queries.
  std::size_t (*kv_heads)(const base::JsonObject& config, std::size_t heads) = nullptr;
  // What rotary angles are divided by, as the tensor rope_freqs.weight has it; null or empty: nothing.
  std::vector<float> (*rotary_divisors)(const base::JsonObject& config, const GgufLayout& layout) = nullptr;
};

extern const GgufFamily kGgufLlama, kGgufFalcon, kGgufBloom, kGgufMpt;
inline constexpr std::array kGgufFamilies{&kGgufLlama, &kGgufFalcon, &kGgufBloom, &kGgufMpt};
std::string gguf_families();  // their architectures, for errors: "llama, falcon, bloom and mpt"

}  // namespace kvasir::models
