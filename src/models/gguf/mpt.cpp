#include <optional>

#include "models/gguf/family.h"
#include "models/gguf/names.h"

namespace kvasir::models {

namespace {

constexpr std::string_view kModelTypes[] = {"mpt"};

constexpr GgufName kNames[] = {
    {"token_embd", "transformer.wte"},
    {.gguf = "position_embd", .huggingface = "transformer.wpe", .required = false},
    {"blk.N.attn_norm", "transformer.blocks.N.norm_1"},
    {"blk.N.attn_qkv", "transformer.blocks.N.attn.Wqkv"},
    {.gguf = "blk.N.attn_q_norm", .huggingface = "transformer.blocks.N.attn.q_ln", .required = false},
    {.gguf = "blk.N.attn_k_norm", .huggingface = "transformer.blocks.N.attn.k_ln", .required = false},
    {"blk.N.attn_output", "transformer.blocks.N.attn.out_proj"},
    {"blk.N.ffn_norm", "transformer.blocks.N.norm_2"},
    {"blk.N.ffn_up", "transformer.blocks.N.ffn.up_proj"},
    {"blk.N.ffn_down", "transformer.blocks.N.ffn.down_proj"},
    {"output_norm", "transformer.norm_f"},
    {"output", "lm_head"},
};

constexpr GgufSetting kSettings[] = {
    {.gguf = "embedding_length", .config = "d_model"},
    {.gguf = "block_count", .config = "n_layers", .max = kMaxLayers},
    {.gguf = "attention.head_count", .config = "n_heads"},
    {.gguf = "context_length", .config = "max_seq_len", .fallback = 2048},
    {.gguf = "attention.layer_norm_epsilon",
     .config = "layer_norm_epsilon",
     .kind = GgufSetting::Kind::kNumber,
     .fallback = 1e-5},
};
constexpr GgufAssumption kAssumptions[] = {{.config = "logit_scale", .value = nullptr, .said = false}};

void read(GgufReader& r) {
  const std::int64_t width = r.size("embedding_length"), inner = r.size("feed_forward_length");
  if (inner % width != 0) {
    r.unsupported("feed_forward_length", "is " + std::to_string(inner) + ", which is no multiple of " +
                                             std::to_string(width) + ", the model's width");
  }
  r.set("expansion_ratio", inner / width);
  r.set("no_bias", !r.has_tensor("blk.0.ffn_up.bias"));
  r.set("learned_pos_emb", r.has_tensor("position_embd.weight"));
  const double bias = r.number_or("attention.max_alibi_bias", 0);
  base::json::object attention{{"alibi", bias > 0}, {"qk_ln", r.has_tensor("blk.0.attn_q_norm.weight")}};
  if (bias > 0) attention["alibi_bias_max"] = bias;
  if (const double clip = r.number_or("attention.clamp_kqv", 0); clip > 0) attention["clip_qkv"] = clip;
  attention["kv_n_heads"] = r.size_or("attention.head_count_kv", r.size("attention.head_count"));
  r.set("attn_config", std::move(attention));
}

std::optional<base::JsonObject> attn_config(const base::JsonObject& config) {
  return config.has("attn_config") ? std::optional(config.object("attn_config")) : std::nullopt;
}

void write(GgufWriter& w) {
  const base::JsonObject& config = w.config();
  w.add_size("feed_forward_length",
             config_size(kGgufMpt, config, "embedding_length") *
                 static_cast<std::size_t>(config.integer_or("expansion_ratio", 4, 1, 64)));
  double alibi = 8, clip = 0;
  if (const std::optional<base::JsonObject> attention = attn_config(config)) {
    for (const char* key : {"prefix_lm", "qk_gn", "rope"}) GgufWriter::only(*attention, key, false);
    GgufWriter::only(*attention, "softmax_scale", nullptr);
    alibi = attention->boolean_or("alibi", true) ? attention->number_or("alibi_bias_max", 8) : 0;
    clip = attention->number_or("clip_qkv", 0);
  }
  w.add_number("attention.max_alibi_bias", alibi);
  if (clip > 0) w.add_number("attention.clamp_kqv", clip);
}

std::size_t kv_heads(const base::JsonObject& config, std::size_t heads) {
  const std::optional<base::JsonObject> attention = attn_config(config);
  if (!attention) return heads;
  if (attention->string_or("attn_type", "") == "multiquery_attention") return 1;
  return static_cast<std::size_t>(
      attention->integer_or("kv_n_heads", static_cast<std::int64_t>(heads), 1, kMaxWidth));
}

}  // namespace

constinit const GgufFamily kGgufMpt{.architecture = "mpt",
                                    .model_types = kModelTypes,
                                    .names = kNames,
                                    .settings = kSettings,
                                    .assumptions = kAssumptions,
                                    .head = {.tied = GgufHead::Tied::kAlways},
                                    .read = read,
                                    .write = write,
                                    .kv_heads = kv_heads};

}  // namespace kvasir::models
