#include "models/gguf/family.h"
#include "models/gguf/names.h"

namespace kvasir::models {

namespace {

constexpr std::string_view kModelTypes[] = {"bloom"};

constexpr GgufName kNames[] = {
    {"token_embd", "transformer.word_embeddings"},
    {"token_embd_norm", "transformer.word_embeddings_layernorm"},
    {"blk.N.attn_norm", "transformer.h.N.input_layernorm"},
    {"blk.N.attn_qkv", "transformer.h.N.self_attention.query_key_value", GgufRows::kQueriesKeysValues},
    {"blk.N.attn_output", "transformer.h.N.self_attention.dense"},
    {"blk.N.ffn_norm", "transformer.h.N.post_attention_layernorm"},
    {"blk.N.ffn_up", "transformer.h.N.mlp.dense_h_to_4h"},
    {"blk.N.ffn_down", "transformer.h.N.mlp.dense_4h_to_h"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
};

constexpr GgufSetting kSettings[] = {
    {.gguf = "embedding_length", .config = "hidden_size", .other = "n_embed"},
    {.gguf = "block_count", .config = "n_layer", .other = "num_hidden_layers", .max = kMaxLayers},
    {.gguf = "attention.head_count", .config = "n_head", .other = "num_attention_heads"},
    {.gguf = "context_length", .config = "seq_length", .fallback = 2048},
    {.gguf = "attention.layer_norm_epsilon",
     .config = "layer_norm_epsilon",
     .kind = GgufSetting::Kind::kNumber,
     .fallback = 1e-5},
};
constexpr GgufAssumption kAssumptions[] = {
    {.config = "apply_residual_connection_post_layernorm", .value = false, .said = false},
};

void read(GgufReader& r) {
  r.only("feed_forward_length", 4 * r.size("embedding_length"),
         "a feed-forward of another width than four times the model's");
  r.only("attention.head_count_kv", r.size("attention.head_count"), "sharing heads of keys and values");
}

void write(GgufWriter& w) {
  w.add_size("feed_forward_length", 4 * w.layout().heads * w.layout().head_dim);
}

}  // namespace

constinit const GgufFamily kGgufBloom{.architecture = "bloom",
                                      .model_types = kModelTypes,
                                      .names = kNames,
                                      .settings = kSettings,
                                      .assumptions = kAssumptions,
                                      .head = {.tied = GgufHead::Tied::kAlways, .copied = true},
                                      .read = read,
                                      .write = write};

}  // namespace kvasir::models
