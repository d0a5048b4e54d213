#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvasir/error.h"
#include "models/gguf/family.h"
#include "models/gguf/names.h"

namespace kvasir::models {

namespace {

constexpr std::string_view kModelTypes[] = {"llama"};

constexpr GgufName kNames[] = {
    {"token_embd", "model.embed_tokens"},
    {"blk.N.attn_norm", "model.layers.N.input_layernorm"},
    {"blk.N.attn_q", "model.layers.N.self_attn.q_proj", GgufRows::kRotaryQueries},
    {"blk.N.attn_k", "model.layers.N.self_attn.k_proj", GgufRows::kRotaryKeys},
    {"blk.N.attn_v", "model.layers.N.self_attn.v_proj"},
    {"blk.N.attn_output", "model.layers.N.self_attn.o_proj"},
    {"blk.N.ffn_norm", "model.layers.N.post_attention_layernorm"},
    {"blk.N.ffn_gate", "model.layers.N.mlp.gate_proj"},
    {"blk.N.ffn_up", "model.layers.N.mlp.up_proj"},
    {"blk.N.ffn_down", "model.layers.N.mlp.down_proj"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

constexpr auto kNumber = GgufSetting::Kind::kNumber;
constexpr GgufSetting kSettings[] = {
    {.gguf = "embedding_length", .config = "hidden_size"},
    {.gguf = "feed_forward_length", .config = "intermediate_size"},
    {.gguf = "block_count", .config = "num_hidden_layers", .max = kMaxLayers},
    {.gguf = "attention.head_count", .config = "num_attention_heads"},
    {.gguf = "attention.key_length", .config = "head_dim", .optional = true},
    {.gguf = "context_length", .config = "max_position_embeddings", .fallback = 2048},
    {.gguf = "attention.layer_norm_rms_epsilon", .config = "rms_norm_eps", .kind = kNumber, .fallback = 1e-6},
    {.gguf = "rope.freq_base", .config = "rope_theta", .kind = kNumber, .optional = true},
};
constexpr GgufAssumption kAssumptions[] = {{"hidden_act", "silu"}};

// Llama 3.1's scaling of rotary positions: angles of long waves are divided by a factor, which grows from one
// where a wave turns `high` times over the original context to all of it at `low` times.
struct Llama3Scaling {
  double theta = 10'000, original = 8192, low = 1, high = 4, factor = 1;
};
std::vector<float> llama3_divisors(const Llama3Scaling& s, std::size_t count) {
  std::vector<float> divisors(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double exponent = static_cast<double>(i) / static_cast<double>(count);
    const double turns = s.original / (2 * std::numbers::pi * std::pow(s.theta, exponent));
    const double smooth = std::clamp((turns - s.low) / (s.high - s.low), 0.0, 1.0);
    divisors[i] = static_cast<float>(1 / ((1 - smooth) / s.factor + smooth));
  }
  return divisors;
}

// Llama 3.1's scaling is in GGUF only by what it divides each angle by. Of the numbers that these come from,
// all models published have the same but for the factor, which divides the last.
base::json::object llama3_scaling(const formats::CheckpointTensor& tensor, double theta) {
  const auto unknown = [&]() -> Error {
    return {ErrorCode::kUnsupported,
            tensor.file + ": tensor rope_freqs.weight: not the scaling of Llama 3.1"};
  };
  const std::size_t count = tensor.view.elements();
  if (tensor.view.dtype != tensor::DType::kF32 || count == 0 || count > kMaxWidth) throw unknown();
  std::vector<float> divisors(count);
  tensor.view.read_floats(0, divisors);
  const Llama3Scaling scaling{.theta = theta, .factor = static_cast<double>(divisors.back())};
  const std::vector<float> expected = llama3_divisors(scaling, count);
  for (std::size_t i = 0; i < count; ++i) {
    if (!(std::abs(divisors[i] - expected[i]) <= 1e-3F * expected[i])) throw unknown();
  }
  return {{"rope_type", "llama3"},
          {"factor", scaling.factor},
          {"low_freq_factor", scaling.low},
          {"high_freq_factor", scaling.high},
          {"original_max_position_embeddings", static_cast<std::int64_t>(scaling.original)}};
}

void read_rope_scaling(GgufReader& r) {
  const auto linear = [](double factor) {
    return base::json::object{{"rope_type", "linear"}, {"factor", factor}};
  };
  const std::string_view type = r.string_or("rope.scaling.type", "none");
  if (type == "linear") {
    r.set("rope_scaling", linear(r.number("rope.scaling.factor")));
  } else if (r.has("rope.scale_linear")) {  // of files before rope.scaling
    if (const double factor = r.number("rope.scale_linear"); factor != 1) {
      r.set("rope_scaling", linear(factor));
    }
  } else if (type != "none") {
    r.unsupported("rope.scaling.type", "is " + std::string(type) + "; none and linear are supported");
  }
  if (const formats::CheckpointTensor* divisors = r.find_tensor("rope_freqs.weight")) {
    r.set("rope_scaling", llama3_scaling(*divisors, r.number_or("rope.freq_base", 10'000)));
  }
}

void read(GgufReader& r) {
  if (r.has("attention.head_count_kv")) r.set("num_key_value_heads", r.size("attention.head_count_kv"));
  r.only("expert_count", 0, "a mixture of experts");
  const std::int64_t heads = r.size("attention.head_count");
  const std::int64_t head_dim = r.size_or("attention.key_length", r.size("embedding_length") / heads);
  r.only("attention.value_length", head_dim, "another size of values than of keys");
  r.only("rope.dimension_count", head_dim, "rotating a part of each head");
  r.set("attention_bias", r.has_tensor("blk.0.attn_q.bias"));
  r.set("mlp_bias", r.has_tensor("blk.0.ffn_gate.bias"));
  read_rope_scaling(r);
}

double rope_theta(const base::JsonObject& config) {
  const double theta = config.number_or("rope_theta", 10'000);
  return config.has("rope_parameters") ? config.object("rope_parameters").number_or("rope_theta", theta)
                                       : theta;
}

void write(GgufWriter& w) {
  const base::JsonObject& config = w.config();
  if (config.has("head_dim")) w.add_size("attention.value_length", w.layout().head_dim);
  w.add_size("rope.dimension_count", w.layout().head_dim);
  if (!config.has("rope_theta") && config.has("rope_parameters")) {
    w.add_number("rope.freq_base", rope_theta(config));
  }
  const std::string type = rope_type(config);
  if (type == "linear") {
    w.add("rope.scaling.type", "linear");
    w.add_number("rope.scaling.factor", rope_scaling(config)->number("factor"));
  } else if (type != "default" && type != "llama3") {
    GgufWriter::unsupported(config, "rope_scaling of type " + type);
  }
}

std::size_t kv_heads(const base::JsonObject& config, std::size_t heads) {
  return static_cast<std::size_t>(
      config.integer_or("num_key_value_heads", static_cast<std::int64_t>(heads), 1, kMaxWidth));
}

std::vector<float> divisors_of(const base::JsonObject& config, const GgufLayout& layout) {
  const std::optional<base::JsonObject> scaling = rope_scaling(config);
  if (rope_type(config) != "llama3") return {};
  const auto original = static_cast<double>(
      scaling->integer("original_max_position_embeddings", 1, static_cast<std::int64_t>(kMaxPositions)));
  return llama3_divisors({.theta = rope_theta(config),
                          .original = original,
                          .low = scaling->number_or("low_freq_factor", 1),
                          .high = scaling->number_or("high_freq_factor", 4),
                          .factor = scaling->number("factor")},
                         layout.head_dim / 2);
}

}  // namespace

constinit const GgufFamily kGgufLlama{.architecture = "llama",
                                      .model_types = kModelTypes,
                                      .names = kNames,
                                      .settings = kSettings,
                                      .assumptions = kAssumptions,
                                      .read = read,
                                      .write = write,
                                      .kv_heads = kv_heads,
                                      .rotary_divisors = divisors_of};

}  // namespace kvasir::models
