// How llama.cpp names the tensors of the families that we run, and in which order it keeps their rows.
//
//   const GgufLayout layout = gguf_layout(config);  // of a config.json, or config_from_gguf
//   huggingface_name(layout, "blk.3.attn_q.weight");  // "model.layers.3.self_attn.q_proj.weight"
//   rows_from_gguf(layout, "model.layers.3.self_attn.q_proj.weight", 4096);  // where its rows are
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "models/gguf/family.h"
#include "models/weight_source.h"

namespace kvasir::models {

// What of a model decides on names and rows.
struct GgufLayout {
  const GgufFamily* family = nullptr;
  std::vector<GgufName> names = {};  // of the family's, those that apply
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;

  std::string architecture() const { return std::string(family->architecture); }
};

// Of a config.json. Throws kUnsupported for a model_type that llama.cpp has no name for, or we no record;
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
