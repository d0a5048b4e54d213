#include "models/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvasir/error.h"
#include "models/config.h"

namespace kvasir::models {

namespace {

using base::json::object;
using formats::CheckpointTensor;
using formats::GgufFile;
using formats::GgufMetadata;

// A setting that both sides have, under the name of the architecture in GGUF ("llama.block_count").
struct Setting {
  const char* gguf;
  const char* huggingface;
  enum class Kind { kSize, kSizeIfThere, kNumber, kNumberIfThere } kind = Kind::kSize;
  double fallback = 0;          // where config.json does not say; 0: it must
  const char* other = nullptr;  // name of the key in old files
  std::int64_t min = 1;         // of sizes
  std::size_t max = kMaxWidth;
};
constexpr auto kSize = Setting::Kind::kSize, kSizeIfThere = Setting::Kind::kSizeIfThere,
               kNumber = Setting::Kind::kNumber, kNumberIfThere = Setting::Kind::kNumberIfThere;

constexpr Setting kLlama[] = {
    {"embedding_length", "hidden_size"},
    {"feed_forward_length", "intermediate_size"},
    {"block_count", "num_hidden_layers", kSize, 0, nullptr, 1, kMaxLayers},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads", kSizeIfThere},
    {"attention.key_length", "head_dim", kSizeIfThere},
    {"context_length", "max_position_embeddings", kSize, 2048},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", kNumber, 1e-6},
    {"rope.freq_base", "rope_theta", kNumberIfThere},
};
constexpr Setting kFalcon[] = {
    {"embedding_length", "hidden_size"},
    {"feed_forward_length", "ffn_hidden_size", kSizeIfThere},
    {"block_count", "num_hidden_layers", kSize, 0, "n_layer", 1, kMaxLayers},
    {"attention.head_count", "num_attention_heads", kSize, 0, "n_head"},
    {"attention.head_count_kv", "num_kv_heads", kSizeIfThere},
    {"context_length", "max_position_embeddings", kSize, 2048},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", kNumber, 1e-5},
    {"rope.freq_base", "rope_theta", kNumberIfThere},
};
constexpr Setting kBloom[] = {
    {"embedding_length", "hidden_size", kSize, 0, "n_embed"},
    {"block_count", "n_layer", kSize, 0, "num_hidden_layers", 1, kMaxLayers},
    {"attention.head_count", "n_head", kSize, 0, "num_attention_heads"},
    {"context_length", "seq_length", kSize, 2048},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", kNumber, 1e-5},
};
constexpr Setting kMpt[] = {
    {"embedding_length", "d_model"},
    {"block_count", "n_layers", kSize, 0, nullptr, 1, kMaxLayers},
    {"attention.head_count", "n_heads"},
    {"context_length", "max_seq_len", kSize, 2048},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", kNumber, 1e-5},
};
constexpr Setting kTokens[] = {
    {"bos_token_id", "bos_token_id", kSizeIfThere, 0, nullptr, 0, kMaxVocabulary},
    {"eos_token_id", "eos_token_id", kSizeIfThere, 0, nullptr, 0, kMaxVocabulary},
    {"padding_token_id", "pad_token_id", kSizeIfThere, 0, nullptr, 0, kMaxVocabulary},
};

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

class Converter {
 public:
  explicit Converter(const GgufFile& file) : file_(file), metadata_(file.metadata()) {}

  object convert() {
    const std::string_view architecture = metadata_.string("general.architecture");
    prefix_ = std::string(architecture) + ".";
    config_["model_type"] = architecture;
    if (architecture == "llama") {
      llama();
    } else if (architecture == "falcon") {
      falcon();
    } else if (architecture == "bloom") {
      bloom();
    } else if (architecture == "mpt") {
      mpt();
    } else {
      throw Error(ErrorCode::kUnsupported, metadata_.origin() + ": architecture " +
                                               std::string(architecture) +
                                               " is not supported; llama, falcon, bloom and mpt are");
    }
    config_["vocab_size"] = vocabulary();
    config_["tie_word_embeddings"] = !has_tensor("output.weight");
    prefix_ = "tokenizer.ggml.";
    settings(kTokens);
    return std::move(config_);
  }

 private:
  std::string key(const char* name) const { return prefix_ + name; }
  bool has_tensor(const char* name) const { return file_.tensors().contains(name); }

  [[noreturn]] void unsupported(const std::string& name, const std::string& message) const {
    throw Error(ErrorCode::kUnsupported, metadata_.origin() + ": metadata key " + name + " " + message);
  }

  void settings(std::span<const Setting> table) {
    for (const Setting& setting : table) {
      const std::string name = key(setting.gguf);
      const bool optional = setting.kind == kSizeIfThere || setting.kind == kNumberIfThere;
      if (optional && !metadata_.has(name)) continue;
      if (setting.kind == kNumber || setting.kind == kNumberIfThere) {
        const double number = metadata_.number(name);
        if (!std::isfinite(number)) metadata_.fail(name, "is no finite number");
        config_[setting.huggingface] = number;
      } else {
        config_[setting.huggingface] =
            metadata_.integer(name, setting.min, static_cast<std::int64_t>(setting.max));
      }
    }
  }

  std::int64_t size(const char* name) const { return metadata_.integer(key(name), 1, kMaxWidth); }
  std::int64_t size_or(const char* name, std::int64_t fallback) const {
    return metadata_.integer_or(key(name), fallback, 1, kMaxWidth);
  }

  // The rows of the table of embeddings; a file of a vocabulary has only that.
  std::int64_t vocabulary() const {
    const auto found = file_.tensors().find("token_embd.weight");
    if (found != file_.tensors().end() && !found->second.view.shape.empty()) {
      return found->second.view.shape.front();
    }
    if (metadata_.has("tokenizer.ggml.tokens")) {
      return static_cast<std::int64_t>(metadata_.strings("tokenizer.ggml.tokens").size());
    }
    return metadata_.integer(std::string(metadata_.string("general.architecture")) + ".vocab_size", 1,
                             kMaxVocabulary);
  }

  // A setting that must be absent or have this value.
  void only(const char* name, std::int64_t value, const std::string& what) const {
    const std::string full = key(name);
    if (!metadata_.has(full)) return;
    if (const std::int64_t found = metadata_.integer(full, 0, kMaxVocabulary); found != value) {
      unsupported(full, "is " + std::to_string(found) + ": " + what + " is not supported");
    }
  }

  void llama() {
    settings(kLlama);
    only("expert_count", 0, "a mixture of experts");
    const std::int64_t heads = size("attention.head_count");
    const std::int64_t head_dim = size_or("attention.key_length", size("embedding_length") / heads);
    only("attention.value_length", head_dim, "another size of values than of keys");
    only("rope.dimension_count", head_dim, "rotating a part of each head");
    config_["hidden_act"] = "silu";
    config_["attention_bias"] = has_tensor("blk.0.attn_q.bias");
    config_["mlp_bias"] = has_tensor("blk.0.ffn_gate.bias");
    rope_scaling();
  }

  void rope_scaling() {
    const std::string name = key("rope.scaling.type");
    const std::string_view type = metadata_.string_or(name, "none");
    if (type == "linear") {
      config_["rope_scaling"] =
          object{{"rope_type", "linear"}, {"factor", metadata_.number(key("rope.scaling.factor"))}};
    } else if (metadata_.has(key("rope.scale_linear"))) {  // of files before rope.scaling
      const double factor = metadata_.number(key("rope.scale_linear"));
      if (factor != 1) config_["rope_scaling"] = object{{"rope_type", "linear"}, {"factor", factor}};
    } else if (type != "none") {
      unsupported(name, "is " + std::string(type) + "; none and linear are supported");
    }
    const auto factors = file_.tensors().find("rope_freqs.weight");
    if (factors != file_.tensors().end()) config_["rope_scaling"] = llama3_scaling(factors->second);
  }

  // Llama 3.1's scaling is in GGUF only by what it divides each angle by. Of the numbers that these come
  // from, all models published have the same but for the factor, which divides the last.
  object llama3_scaling(const CheckpointTensor& tensor) const {
    const auto unknown = [&]() -> Error {
      return {ErrorCode::kUnsupported,
              tensor.file + ": tensor rope_freqs.weight: not the scaling of Llama 3.1"};
    };
    const std::size_t count = tensor.view.elements();
    if (tensor.view.dtype != tensor::DType::kF32 || count == 0 || count > kMaxWidth) throw unknown();
    std::vector<float> divisors(count);
    tensor.view.read_floats(0, divisors);
    const Llama3Scaling scaling{.theta = metadata_.number_or(key("rope.freq_base"), 10'000),
                                .factor = static_cast<double>(divisors.back())};
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

  void falcon() {
    settings(kFalcon);
    const std::string layout = key("tensor_data_layout");
    if (const std::string_view value = metadata_.string_or(layout, "jploski"); value != "jploski") {
      unsupported(layout, "is " + std::string(value) + "; jploski is supported: convert the model again");
    }
    const std::string scaling = key("rope.scaling.type");
    if (metadata_.string_or(scaling, "none") != "none") unsupported(scaling, "is not supported for Falcon");
    // Without a key, as many heads of keys as of queries (llama.cpp's rule).
    const std::int64_t kv_heads = size_or("attention.head_count_kv", size("attention.head_count"));
    const bool two_norms = has_tensor("blk.0.attn_norm_2.weight"), is_new = kv_heads != 1 || two_norms;
    config_["num_kv_heads"] = kv_heads;
    config_["multi_query"] = !is_new;
    config_["new_decoder_architecture"] = is_new;
    config_["num_ln_in_parallel_attn"] = two_norms ? 2 : 1;
    config_["parallel_attn"] = true;
    config_["alibi"] = false;
    config_["bias"] = has_tensor("blk.0.attn_qkv.bias");
    config_["activation"] = "gelu";
  }

  void bloom() {
    settings(kBloom);
    const std::int64_t inner = 4 * size("embedding_length");
    only("feed_forward_length", inner, "a feed-forward of another width than four times the model's");
    only("attention.head_count_kv", size("attention.head_count"), "sharing heads of keys and values");
  }

  void mpt() {
    settings(kMpt);
    const std::int64_t width = size("embedding_length"), inner = size("feed_forward_length");
    if (inner % width != 0) {
      unsupported(key("feed_forward_length"), "is " + std::to_string(inner) + ", which is no multiple of " +
                                                  std::to_string(width) + ", the model's width");
    }
    config_["expansion_ratio"] = inner / width;
    config_["no_bias"] = !has_tensor("blk.0.ffn_up.bias");
    config_["learned_pos_emb"] = has_tensor("position_embd.weight");
    const double bias = metadata_.number_or(key("attention.max_alibi_bias"), 0);
    object attention{{"alibi", bias > 0}, {"qk_ln", has_tensor("blk.0.attn_q_norm.weight")}};
    if (bias > 0) attention["alibi_bias_max"] = bias;
    if (const double clip = metadata_.number_or(key("attention.clamp_kqv"), 0); clip > 0) {
      attention["clip_qkv"] = clip;
    }
    attention["kv_n_heads"] = size_or("attention.head_count_kv", size("attention.head_count"));
    config_["attn_config"] = std::move(attention);
  }

  const GgufFile& file_;
  const GgufMetadata& metadata_;
  std::string prefix_;  // of the keys that are read
  object config_;
};

std::optional<base::JsonObject> rope_scaling_of(const base::JsonObject& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (config.has(key)) return config.object(key);
  }
  return std::nullopt;
}
std::string rope_type(const base::JsonObject& scaling) {
  return scaling.string_or("rope_type", scaling.string_or("type", "default"));
}
double rope_theta(const base::JsonObject& config) {
  const double theta = config.number_or("rope_theta", 10'000);
  return config.has("rope_parameters") ? config.object("rope_parameters").number_or("rope_theta", theta)
                                       : theta;
}

// The other way round.
class Exporter {
 public:
  Exporter(const base::JsonObject& config, const GgufLayout& layout)
      : config_(config), layout_(layout), prefix_(std::string(layout.architecture) + ".") {}

  std::vector<formats::GgufEntry> run() {
    if (layout_.architecture == "llama") {
      llama();
    } else if (layout_.architecture == "falcon") {
      falcon();
    } else if (layout_.architecture == "bloom") {
      bloom();
    } else {
      mpt();
    }
    add("vocab_size", static_cast<std::uint32_t>(config_.integer("vocab_size", 1, kMaxVocabulary)));
    return std::move(entries_);
  }

 private:
  template <class T>
  void add(const char* name, T value) {
    entries_.push_back({prefix_ + name, std::move(value)});
  }
  [[noreturn]] static void unsupported(const base::JsonObject& json, const std::string& what) {
    throw Error(ErrorCode::kUnsupported, json.origin() + ": " + what + " cannot be said in GGUF");
  }
  // A key that may be absent, and may have no other value than this one.
  static void only(const base::JsonObject& json, const char* key, const base::json::value& value) {
    if (!json.has(key) || json.at(key) == value) return;
    unsupported(json, std::string(key) + " = " + base::json::serialize(json.at(key)));
  }

  void settings(std::span<const Setting> table) {
    for (const Setting& setting : table) {
      const bool number = setting.kind == kNumber || setting.kind == kNumberIfThere;
      const bool old =
          setting.other != nullptr && !config_.has(setting.huggingface) && config_.has(setting.other);
      const char* name = old ? setting.other : setting.huggingface;
      const bool optional = setting.kind == kSizeIfThere || setting.kind == kNumberIfThere;
      if (!config_.has(name) && optional) continue;
      const bool given = config_.has(name) || setting.fallback == 0;
      if (number) {
        add(setting.gguf, static_cast<float>(given ? config_.number(name) : setting.fallback));
      } else {
        add(setting.gguf, given ? static_cast<std::uint32_t>(config_.integer(name, 1, kMaxVocabulary))
                                : static_cast<std::uint32_t>(setting.fallback));
      }
    }
  }

  void llama() {
    only(config_, "hidden_act", "silu");
    settings(kLlama);
    if (!config_.has("num_key_value_heads")) {
      add("attention.head_count_kv", static_cast<std::uint32_t>(layout_.kv_heads));
    }
    if (config_.has("head_dim")) {
      add("attention.value_length", static_cast<std::uint32_t>(layout_.head_dim));
    }
    add("rope.dimension_count", static_cast<std::uint32_t>(layout_.head_dim));
    if (!config_.has("rope_theta") && config_.has("rope_parameters")) {
      add("rope.freq_base", static_cast<float>(rope_theta(config_)));
    }
    const auto scaling = rope_scaling_of(config_);
    const std::string type = scaling ? rope_type(*scaling) : "default";
    if (type == "linear") {
      add("rope.scaling.type", std::string("linear"));
      add("rope.scaling.factor", static_cast<float>(scaling->number("factor")));
    } else if (type != "default" && type != "llama3") {
      unsupported(config_, "rope_scaling of type " + type);
    }
  }

  // llama.cpp has the designs of 7B, 11B and 40B only.
  void falcon() {
    only(config_, "alibi", false);
    only(config_, "parallel_attn", true);
    only(config_, "bias", false);
    only(config_, "activation", "gelu");
    if (const auto scaling = rope_scaling_of(config_); scaling && rope_type(*scaling) != "default") {
      unsupported(config_, "rope_scaling of type " + rope_type(*scaling));
    }
    settings(kFalcon);
    std::erase_if(entries_,
                  [this](const auto& entry) { return entry.key == prefix_ + "attention.head_count_kv"; });
    add("attention.head_count_kv", static_cast<std::uint32_t>(layout_.kv_heads));
    if (!config_.has("ffn_hidden_size")) {
      add("feed_forward_length",
          static_cast<std::uint32_t>(4 * config_.integer("hidden_size", 1, kMaxWidth)));
    }
    add("tensor_data_layout", std::string("jploski"));
  }

  void bloom() {
    only(config_, "apply_residual_connection_post_layernorm", false);
    settings(kBloom);
    add("feed_forward_length", static_cast<std::uint32_t>(4 * layout_.heads * layout_.head_dim));
    add("attention.head_count_kv", static_cast<std::uint32_t>(layout_.heads));
  }

  void mpt() {
    only(config_, "logit_scale", nullptr);
    settings(kMpt);
    const std::int64_t width = config_.integer("d_model", 1, kMaxWidth);
    add("feed_forward_length",
        static_cast<std::uint32_t>(width * config_.integer_or("expansion_ratio", 4, 1, 64)));
    double alibi = 8, clip = 0;
    std::int64_t kv_heads = static_cast<std::int64_t>(layout_.heads);
    if (config_.has("attn_config")) {
      const base::JsonObject attention = config_.object("attn_config");
      for (const char* key : {"prefix_lm", "qk_gn", "rope"}) only(attention, key, false);
      only(attention, "softmax_scale", nullptr);
      alibi = attention.boolean_or("alibi", true) ? attention.number_or("alibi_bias_max", 8) : 0;
      clip = attention.number_or("clip_qkv", 0);
      kv_heads = attention.integer_or("kv_n_heads", kv_heads, 1, kMaxWidth);
      if (attention.string_or("attn_type", "") == "multiquery_attention") kv_heads = 1;
    }
    add("attention.head_count_kv", static_cast<std::uint32_t>(kv_heads));
    add("attention.max_alibi_bias", static_cast<float>(alibi));
    if (clip > 0) add("attention.clamp_kqv", static_cast<float>(clip));
  }

  const base::JsonObject& config_;
  const GgufLayout& layout_;
  std::string prefix_;
  std::vector<formats::GgufEntry> entries_;
};

}  // namespace

base::json::value config_from_gguf(const GgufFile& file) {
  return Converter(file).convert();
}

std::vector<formats::GgufEntry> gguf_from_config(const base::JsonObject& config, const GgufLayout& layout) {
  return Exporter(config, layout).run();
}

std::vector<float> rotary_divisors(const base::JsonObject& config, const GgufLayout& layout) {
  if (layout.architecture != "llama") return {};
  const auto scaling = rope_scaling_of(config);
  if (!scaling || rope_type(*scaling) != "llama3") return {};
  const auto original = static_cast<double>(
      scaling->integer("original_max_position_embeddings", 1, static_cast<std::int64_t>(kMaxPositions)));
  return llama3_divisors({.theta = rope_theta(config),
                          .original = original,
                          .low = scaling->number_or("low_freq_factor", 1),
                          .high = scaling->number_or("high_freq_factor", 4),
                          .factor = scaling->number("factor")},
                         layout.head_dim / 2);
}

}  // namespace kvasir::models
