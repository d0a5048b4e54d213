// The names of tensors in llama.cpp, and the order of their rows, for the families that are supported.
//
//   const GgufLayout layout = gguf_layout(config);    // a config.json, or what config_from_gguf() returns
//   const auto name = huggingface_name(layout, "blk.3.attn_q.weight");
//   // name is "model.layers.3.self_attn.q_proj.weight"
//   const RowOrder order = rows_from_gguf(layout, *name, 4096);    // where Hugging Face's rows are
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

// The properties of a model that determine names and rows.
struct GgufLayout {
  const GgufFamily* family = nullptr;
  std::vector<GgufName> names = {};  // those of the family that apply
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;

  std::string architecture() const { return std::string(family->architecture); }
};

// The layout for a config.json. Throws kUnsupported for a model_type without a record in family.h; kFormat if
// the numbers of heads do not divide.
GgufLayout gguf_layout(const base::JsonObject& config);

// nullopt: the other format has no such tensor. Names that are passed in may lack Hugging Face's prefix
// "model." or "transformer."; names that are returned have it.
std::optional<std::string> huggingface_name(const GgufLayout& layout, std::string_view gguf);
std::optional<std::string> gguf_name(const GgufLayout& layout, std::string_view huggingface);

// rows_from_gguf: row i of Hugging Face's tensor is row order[i] of GGUF's; rows_to_gguf: the reverse. Both
// take Hugging Face's name of the tensor, and its number of rows. If that number is not what the layout says,
// no order is returned; the loader refuses such a tensor because of its shape.
RowOrder rows_from_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows);
RowOrder rows_to_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows);

}  // namespace kvasir::models
