// How llama.cpp names the tensors of the families that we run, and in which order it keeps their rows. The
// families themselves (decoder/*.cpp) know Hugging Face's names and rows only.
//
//   const GgufLayout layout = gguf_layout(config);                    // of a config.json, or
//   config_from_gguf huggingface_name(layout, "blk.3.attn_q.weight");                  //
//   "model.layers.3.self_attn.q_proj.weight" rows_from_gguf(layout, "model.layers.3.self_attn.q_proj.weight",
//   4096);   // where Hugging Face's rows are
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json.h"
#include "models/weight_source.h"

namespace kvasir::models {

enum class GgufRows {
  kSame,
  // Llama's queries and keys: the two numbers that a rotary position turns lie side by side, row 2 j + h of a
  // head being Hugging Face's row h · head_dim / 2 + j.
  kRotaryPairs,
  // Fused queries, keys and values: all queries, then all keys, then all values, whereas Hugging Face has
  // them by groups.
  kQueriesKeysValues
};

// A line of a family's table: names without ".weight" and ".bias", N the number of the layer.
struct GgufName {
  std::string_view gguf, huggingface;
  GgufRows rows = GgufRows::kSame;
};

// What of a model decides on names and rows.
struct GgufLayout {
  std::string_view architecture;  // "llama", "falcon", "bloom", "mpt"
  std::span<const GgufName> names;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
};

// Of a config.json. Throws kUnsupported for a model_type that llama.cpp has no name for, or we no table;
// kFormat for heads that do not divide.
GgufLayout gguf_layout(const base::JsonObject& config);

// nullopt: the other side has no such tensor. Hugging Face's names may lack the prefix "model." or
// "transformer.", and are given with it.
std::optional<std::string> huggingface_name(const GgufLayout& layout, std::string_view gguf);
std::optional<std::string> gguf_name(const GgufLayout& layout, std::string_view huggingface);

// Row i of Hugging Face's tensor is row order[i] of GGUF's, and the other way round. By Hugging Face's name.
// rows: of the tensor. A tensor of another number of rows than the layout says gets no order, and is refused
// for its shape by who checks that.
RowOrder rows_from_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows);
RowOrder rows_to_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows);

}  // namespace kvasir::models
