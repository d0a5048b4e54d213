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
};
constexpr auto kSizeIfThere = Setting::Kind::kSizeIfThere, kNumber = Setting::Kind::kNumber,
               kNumberIfThere = Setting::Kind::kNumberIfThere;

constexpr Setting kLlama[] = {
    {"embedding_length", "hidden_size"},
    {"feed_forward_length", "intermediate_size"},
    {"block_count", "num_hidden_layers"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads", kSizeIfThere},
    {"attention.key_length", "head_dim", kSizeIfThere},
    {"context_length", "max_position_embeddings"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps", kNumber},
    {"rope.freq_base", "rope_theta", kNumberIfThere},
};
constexpr Setting kFalcon[] = {
    {"embedding_length", "hidden_size"},
    {"feed_forward_length", "ffn_hidden_size"},
    {"block_count", "num_hidden_layers"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_kv_heads", kSizeIfThere},
    {"context_length", "max_position_embeddings"},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", kNumber},
    {"rope.freq_base", "rope_theta", kNumberIfThere},
};
constexpr Setting kBloom[] = {
    {"embedding_length", "hidden_size"},
    {"block_count", "n_layer"},
    {"attention.head_count", "n_head"},
    {"context_length", "seq_length"},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", kNumber},
};
constexpr Setting kMpt[] = {
    {"embedding_length", "d_model"},
    {"block_count", "n_layers"},
    {"attention.head_count", "n_heads"},
    {"context_length", "max_seq_len"},
    {"attention.layer_norm_epsilon", "layer_norm_epsilon", kNumber},
};
constexpr Setting kTokens[] = {
    {"bos_token_id", "bos_token_id", kSizeIfThere},
    {"eos_token_id", "eos_token_id", kSizeIfThere},
    {"padding_token_id", "pad_token_id", kSizeIfThere},
};

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
        config_[setting.huggingface] = metadata_.integer(name, 0, kMaxVocabulary);
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
    constexpr double kLow = 1, kHigh = 4;
    constexpr std::int64_t kOriginal = 8192;
    const auto unknown = [&]() -> Error {
      return {ErrorCode::kUnsupported,
              tensor.file + ": tensor rope_freqs.weight: not the scaling of Llama 3.1"};
    };
    const std::size_t count = tensor.view.elements();
    if (tensor.view.dtype != tensor::DType::kF32 || count == 0 || count > kMaxWidth) throw unknown();
    std::vector<float> factors(count);
    tensor.view.read_floats(0, factors);
    const double theta = metadata_.number_or(key("rope.freq_base"), 10'000);
    const auto factor = static_cast<double>(factors.back());
    for (std::size_t i = 0; i < count; ++i) {
      const double exponent = static_cast<double>(i) / static_cast<double>(count);
      const double turns =
          kOriginal / (2 * std::numbers::pi * std::pow(theta, exponent));  // over the context
      const double smooth = std::clamp((turns - kLow) / (kHigh - kLow), 0.0, 1.0);
      const double expected = 1 / ((1 - smooth) / factor + smooth);
      if (!(std::abs(static_cast<double>(factors[i]) - expected) <= 1e-3 * expected)) throw unknown();
    }
    return {{"rope_type", "llama3"},
            {"factor", factor},
            {"low_freq_factor", kLow},
            {"high_freq_factor", kHigh},
            {"original_max_position_embeddings", kOriginal}};
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

}  // namespace

base::json::value config_from_gguf(const GgufFile& file) {
  return Converter(file).convert();
}

}  // namespace kvasir::models
