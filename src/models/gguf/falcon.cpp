#include "models/gguf/family.h"
#include "models/gguf/names.h"

namespace kvasir::models {

namespace {

constexpr std::string_view kModelTypes[] = {"falcon", "RefinedWebModel", "RefinedWeb"};

bool is_new(const base::JsonObject& config) {
  return config.boolean_or("new_decoder_architecture", config.string("model_type") == "RefinedWeb");
}
// Whether attention and feed-forward have a norm each (40B, 180B).
bool has_two_norms(const base::JsonObject& config) {
  return is_new(config) && config.integer_or("num_ln_in_parallel_attn", 2, 1, 2) == 2;
}
bool has_one_norm(const base::JsonObject& config) {
  return !has_two_norms(config);
}

constexpr GgufName kNames[] = {
    {"token_embd", "transformer.word_embeddings"},
    {.gguf = "blk.N.attn_norm", .huggingface = "transformer.h.N.input_layernorm", .applies = has_one_norm},
    {.gguf = "blk.N.attn_norm", .huggingface = "transformer.h.N.ln_mlp", .applies = has_two_norms},
    {.gguf = "blk.N.attn_norm_2", .huggingface = "transformer.h.N.ln_attn", .applies = has_two_norms},
    {"blk.N.attn_qkv", "transformer.h.N.self_attention.query_key_value", GgufRows::kQueriesKeysValues},
    {"blk.N.attn_output", "transformer.h.N.self_attention.dense"},
    {"blk.N.ffn_up", "transformer.h.N.mlp.dense_h_to_4h"},
    {"blk.N.ffn_down", "transformer.h.N.mlp.dense_4h_to_h"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
};

constexpr auto kNumber = GgufSetting::Kind::kNumber;
constexpr GgufSetting kSettings[] = {
    {.gguf = "embedding_length", .config = "hidden_size"},
    {.gguf = "feed_forward_length", .config = "ffn_hidden_size", .optional = true},
    {.gguf = "block_count", .config = "num_hidden_layers", .other = "n_layer", .max = kMaxLayers},
    {.gguf = "attention.head_count", .config = "num_attention_heads", .other = "n_head"},
    {.gguf = "context_length", .config = "max_position_embeddings", .fallback = 2048},
    {.gguf = "attention.layer_norm_epsilon",
     .config = "layer_norm_epsilon",
     .kind = kNumber,
     .fallback = 1e-5},
    {.gguf = "rope.freq_base", .config = "rope_theta", .kind = kNumber, .optional = true},
};
// llama.cpp has the designs of 7B, 11B and 40B only.
constexpr GgufAssumption kAssumptions[] = {
    {"alibi", false},
    {"parallel_attn", true},
    {.config = "bias", .value = false, .said = false},  // files may have them
    {"activation", "gelu"},
};

void read(GgufReader& r) {
  if (const std::string_view value = r.string_or("tensor_data_layout", "jploski"); value != "jploski") {
    r.unsupported("tensor_data_layout",
                  "is " + std::string(value) + "; jploski is supported: convert the model again");
  }
  if (r.string_or("rope.scaling.type", "none") != "none") {
    r.unsupported("rope.scaling.type", "is not supported for Falcon");
  }
  // Without a key, as many heads of keys as of queries (llama.cpp's rule).
  const std::int64_t kv_heads = r.size_or("attention.head_count_kv", r.size("attention.head_count"));
  const bool two_norms = r.has_tensor("blk.0.attn_norm_2.weight"), grouped = kv_heads != 1 || two_norms;
  r.set("num_kv_heads", kv_heads);
  r.set("multi_query", !grouped);
  r.set("new_decoder_architecture", grouped);
  r.set("num_ln_in_parallel_attn", two_norms ? 2 : 1);
  r.set("bias", r.has_tensor("blk.0.attn_qkv.bias"));
}

void write(GgufWriter& w) {
  const base::JsonObject& config = w.config();
  if (const std::string type = rope_type(config); type != "default") {
    GgufWriter::unsupported(config, "rope_scaling of type " + type);
  }
  if (!config.has("ffn_hidden_size")) {
    w.add_size("feed_forward_length", 4 * config_size(kGgufFalcon, config, "embedding_length"));
  }
  w.add("tensor_data_layout", "jploski");
}

std::size_t kv_heads(const base::JsonObject& config, std::size_t heads) {
  if (!is_new(config)) return config.boolean_or("multi_query", true) ? 1 : heads;
  const char* key = config.has("num_kv_heads") ? "num_kv_heads" : "n_head_kv";
  return static_cast<std::size_t>(
      config.integer_or(key, static_cast<std::int64_t>(heads), 1, static_cast<std::int64_t>(kMaxWidth)));
}

}  // namespace

// The head keeps 8 bits, as llama.cpp has it for Falcon.
constinit const GgufFamily kGgufFalcon{
    .architecture = "falcon",
    .model_types = kModelTypes,
    .names = kNames,
    .settings = kSettings,
    .assumptions = kAssumptions,
    .head = {.tied = GgufHead::Tied::kUnlessSaid, .with_4_bits = tensor::DType::kQ8_0},
    .read = read,
    .write = write,
    .kv_heads = kv_heads};

}  // namespace kvasir::models
