#include "models/gguf_names.h"

#include <algorithm>

#include "kvasir/error.h"
#include "models/causal_attention.h"
#include "models/config.h"

namespace kvasir::models {

namespace {

constexpr GgufRows kPairs = GgufRows::kRotaryPairs, kFused = GgufRows::kQueriesKeysValues;

constexpr GgufName kLlama[] = {
    {"token_embd", "model.embed_tokens"},
    {"blk.N.attn_norm", "model.layers.N.input_layernorm"},
    {"blk.N.attn_q", "model.layers.N.self_attn.q_proj", kPairs},
    {"blk.N.attn_k", "model.layers.N.self_attn.k_proj", kPairs},
    {"blk.N.attn_v", "model.layers.N.self_attn.v_proj"},
    {"blk.N.attn_output", "model.layers.N.self_attn.o_proj"},
    {"blk.N.ffn_norm", "model.layers.N.post_attention_layernorm"},
    {"blk.N.ffn_gate", "model.layers.N.mlp.gate_proj"},
    {"blk.N.ffn_up", "model.layers.N.mlp.up_proj"},
    {"blk.N.ffn_down", "model.layers.N.mlp.down_proj"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

// The norm before the attention is called attn_norm_2 where the feed-forward has one of its own (40B, 180B).
constexpr GgufName kFalcon[] = {
    {"token_embd", "transformer.word_embeddings"},
    {"blk.N.attn_norm", "transformer.h.N.input_layernorm"},
    {"blk.N.attn_qkv", "transformer.h.N.self_attention.query_key_value", kFused},
    {"blk.N.attn_output", "transformer.h.N.self_attention.dense"},
    {"blk.N.ffn_up", "transformer.h.N.mlp.dense_h_to_4h"},
    {"blk.N.ffn_down", "transformer.h.N.mlp.dense_4h_to_h"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
};
constexpr GgufName kFalconTwoNorms[] = {
    {"token_embd", "transformer.word_embeddings"},
    {"blk.N.attn_norm", "transformer.h.N.ln_mlp"},
    {"blk.N.attn_norm_2", "transformer.h.N.ln_attn"},
    {"blk.N.attn_qkv", "transformer.h.N.self_attention.query_key_value", kFused},
    {"blk.N.attn_output", "transformer.h.N.self_attention.dense"},
    {"blk.N.ffn_up", "transformer.h.N.mlp.dense_h_to_4h"},
    {"blk.N.ffn_down", "transformer.h.N.mlp.dense_4h_to_h"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
};

constexpr GgufName kBloom[] = {
    {"token_embd", "transformer.word_embeddings"},
    {"token_embd_norm", "transformer.word_embeddings_layernorm"},
    {"blk.N.attn_norm", "transformer.h.N.input_layernorm"},
    {"blk.N.attn_qkv", "transformer.h.N.self_attention.query_key_value", kFused},
    {"blk.N.attn_output", "transformer.h.N.self_attention.dense"},
    {"blk.N.ffn_norm", "transformer.h.N.post_attention_layernorm"},
    {"blk.N.ffn_up", "transformer.h.N.mlp.dense_h_to_4h"},
    {"blk.N.ffn_down", "transformer.h.N.mlp.dense_4h_to_h"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
};

constexpr GgufName kMpt[] = {
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"blk.N.attn_norm", "transformer.blocks.N.norm_1"},
    {"blk.N.attn_qkv", "transformer.blocks.N.attn.Wqkv"},
    {"blk.N.attn_q_norm", "transformer.blocks.N.attn.q_ln"},
    {"blk.N.attn_k_norm", "transformer.blocks.N.attn.k_ln"},
    {"blk.N.attn_output", "transformer.blocks.N.attn.out_proj"},
    {"blk.N.ffn_norm", "transformer.blocks.N.norm_2"},
    {"blk.N.ffn_up", "transformer.blocks.N.ffn.up_proj"},
    {"blk.N.ffn_down", "transformer.blocks.N.ffn.down_proj"},
    {"output_norm", "transformer.norm_f"},
    {"output", "lm_head"},
};

struct Family {
  std::string_view model_type, architecture;
  std::span<const GgufName> names;
};
constexpr Family kFamilies[] = {
    {"llama", "llama", kLlama},        {"falcon", "falcon", kFalcon}, {"RefinedWebModel", "falcon", kFalcon},
    {"RefinedWeb", "falcon", kFalcon}, {"bloom", "bloom", kBloom},    {"mpt", "mpt", kMpt},
};

// A name as its table has it: what stands for N, and what stands after the table's name.
struct Match {
  std::string_view layer, suffix;
};
std::optional<Match> match(std::string_view pattern, std::string_view name) {
  Match found;
  if (const std::size_t at = pattern.find(".N."); at != std::string_view::npos) {
    if (!name.starts_with(pattern.substr(0, at + 1))) return std::nullopt;
    name.remove_prefix(at + 1);
    found.layer = name.substr(0, name.find_first_not_of("0123456789"));
    if (found.layer.empty()) return std::nullopt;
    name.remove_prefix(found.layer.size());
    pattern.remove_prefix(at + 2);
  }
  if (!name.starts_with(pattern)) return std::nullopt;
  found.suffix = name.substr(pattern.size());
  if (found.suffix != ".weight" && found.suffix != ".bias") return std::nullopt;
  return found;
}

std::string fill(std::string_view pattern, const Match& match) {
  std::string name(pattern);
  if (const std::size_t at = name.find(".N."); at != std::string::npos) {
    name.replace(at + 1, 1, match.layer);
  }
  return name.append(match.suffix);
}

struct Line {
  const GgufName* name;
  Match match;
};
std::optional<Line> find_huggingface(const GgufLayout& layout, std::string_view name) {
  for (const GgufName& line : layout.names) {
    const std::string_view whole = line.huggingface;
    for (const std::string_view pattern : {whole, whole.substr(whole.find('.') + 1)}) {
      if (const std::optional<Match> found = match(pattern, name)) return Line{&line, *found};
    }
  }
  return std::nullopt;
}

RowOrder inverse(const RowOrder& order) {
  RowOrder result(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) result[order[i]] = static_cast<std::uint32_t>(i);
  return result;
}

RowOrder rotary_pairs(std::size_t heads, std::size_t head_dim) {
  RowOrder order;
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t i = 0; i < head_dim; ++i) {
      order.push_back(static_cast<std::uint32_t>(head * head_dim + i % 2 * (head_dim / 2) + i / 2));
    }
  }
  return order;
}

// The first of several keys that a size may have.
std::size_t size_of(const base::JsonObject& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (config.has(key)) return static_cast<std::size_t>(config.integer(key, 1, kMaxWidth));
  }
  return static_cast<std::size_t>(
      config.integer(*keys.begin(), 1, kMaxWidth));  // which says that it is missing
}

std::size_t kv_heads(const base::JsonObject& config, const GgufLayout& layout) {
  const auto heads = static_cast<std::int64_t>(layout.heads), max = static_cast<std::int64_t>(kMaxWidth);
  if (layout.architecture == "llama") {
    return static_cast<std::size_t>(config.integer_or("num_key_value_heads", heads, 1, max));
  }
  if (layout.architecture != "falcon") return layout.heads;
  const bool is_new =
      config.boolean_or("new_decoder_architecture", config.string("model_type") == "RefinedWeb");
  if (!is_new) return config.boolean_or("multi_query", true) ? 1 : layout.heads;
  const char* key = config.has("num_kv_heads") ? "num_kv_heads" : "n_head_kv";
  return static_cast<std::size_t>(config.integer_or(key, heads, 1, max));
}

// Whether attention and feed-forward of a Falcon have a norm each.
bool has_two_norms(const base::JsonObject& config) {
  const bool is_new =
      config.boolean_or("new_decoder_architecture", config.string("model_type") == "RefinedWeb");
  return is_new && config.integer_or("num_ln_in_parallel_attn", 2, 1, 2) == 2;
}

}  // namespace

GgufLayout gguf_layout(const base::JsonObject& config) {
  const std::string type = config.string("model_type");
  const auto* family = std::ranges::find(kFamilies, type, &Family::model_type);
  if (family == std::end(kFamilies)) {
    throw Error(ErrorCode::kUnsupported, config.origin() + ": model_type " + type +
                                             " is not supported in GGUF; llama, falcon, bloom and mpt are");
  }
  GgufLayout layout{.architecture = family->architecture, .names = family->names};
  if (layout.architecture == "falcon" && has_two_norms(config)) layout.names = kFalconTwoNorms;
  layout.heads = size_of(config, {"num_attention_heads", "n_head", "n_heads"});
  layout.kv_heads = kv_heads(config, layout);
  const std::size_t width = size_of(config, {"hidden_size", "d_model", "n_embed"});
  if (!config.has("head_dim") && width % layout.heads != 0) {
    config.fail("a width of " + std::to_string(width) + " cannot be split into " +
                std::to_string(layout.heads) + " heads");
  }
  if (layout.heads % layout.kv_heads != 0) {
    config.fail(std::to_string(layout.heads) + " heads cannot share " + std::to_string(layout.kv_heads) +
                " heads of keys and values");
  }
  layout.head_dim = config.has("head_dim") ? size_of(config, {"head_dim"}) : width / layout.heads;
  return layout;
}

std::optional<std::string> huggingface_name(const GgufLayout& layout, std::string_view gguf) {
  for (const GgufName& line : layout.names) {
    if (const std::optional<Match> found = match(line.gguf, gguf)) return fill(line.huggingface, *found);
  }
  return std::nullopt;
}

std::optional<std::string> gguf_name(const GgufLayout& layout, std::string_view huggingface) {
  const std::optional<Line> line = find_huggingface(layout, huggingface);
  if (!line) return std::nullopt;
  return fill(line->name->gguf, line->match);
}

RowOrder rows_to_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows) {
  const std::optional<Line> line = find_huggingface(layout, huggingface);
  if (!line || line->name->rows == GgufRows::kSame) return {};
  if (line->name->rows == GgufRows::kRotaryPairs) {
    const std::size_t heads = line->name->gguf == "blk.N.attn_q" ? layout.heads : layout.kv_heads;
    if (rows != heads * layout.head_dim || layout.head_dim % 2 != 0) return {};
    return rotary_pairs(heads, layout.head_dim);
  }
  const CausalAttention attention{
      .heads = layout.heads, .kv_heads = layout.kv_heads, .head_dim = layout.head_dim};
  if (rows != attention.qkv_width()) return {};
  return queries_keys_values(attention, layout.kv_heads);
}

RowOrder rows_from_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows) {
  return inverse(rows_to_gguf(layout, huggingface, rows));
}

}  // namespace kvasir::models
