// Every way in which the files of a language model can lie ends in one line that names the file and the key
// or tensor, and says what is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <limits>
#include <optional>

#include "base/cpu.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "decoder_fixture.h"
#include "encoder_fixture.h"
#include "export/gguf_export.h"
#include "kvasir/generator.h"
#include "kvasir/log.h"
#include "malformed/gguf_writer.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using tests::TemporaryFolder;
namespace json = base::json;

// "code: message", without the folder in front of names.
std::string load_error(const TemporaryFolder& folder, const std::string& name) {
  try {
    Generator::load(folder / name, {.threads = 1, .isa = base::isa_name(tests::test_isa())});
  } catch (const Error& error) {
    std::string what = error.what();
    EXPECT_EQ(what.find('\n'), std::string::npos) << what;
    const std::string path = folder.path().string() + "/";
    EXPECT_THAT(what, StartsWith(path)) << "names no file";
    return std::string(error_code_name(error.code())) + ": " + what.substr(path.size());
  }
  return "none";
}

std::filesystem::path copy_of(const std::string& fixture, const TemporaryFolder& folder) {
  std::filesystem::copy(tests::decoder_folder(fixture), folder / "m");
  return folder / "m";
}

// Puts the tokenizer of one model in place of another's.
void take_tokenizer(const std::string& fixture, const std::filesystem::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy_file(tests::decoder_folder(fixture) / name, folder / name,
                               std::filesystem::copy_options::overwrite_existing);
  }
}

using Change = std::function<void(json::object& config)>;
std::string error_of_config(const std::string& fixture, const Change& change) {
  const TemporaryFolder folder;
  const std::filesystem::path config = copy_of(fixture, folder) / "config.json";
  json::object changed = base::parse_json_file(config).as_object();
  change(changed);
  std::ofstream(config) << json::serialize(changed);
  return load_error(folder, "m");
}
std::string error_with(const std::string& fixture, const char* key, const json::value& value) {
  return error_of_config(fixture, [&](json::object& config) { config[key] = value; });
}

TEST(DecoderConfig, SizesThatNoModelHas) {
  const std::vector<std::pair<const char*, std::vector<const char*>>> families = {
      {"llama-gqa",
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}},
      {"falcon-7b-style", {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"}},
      {"bloom", {"vocab_size", "hidden_size", "n_layer", "n_head"}},
      {"mpt", {"vocab_size", "d_model", "n_layers", "n_heads"}}};
  for (const auto& [fixture, keys] : families) {
    for (const char* key : keys) {
      SCOPED_TRACE(std::string(fixture) + " " + key);
      const std::string name = std::string("format: m/config.json: key ") + key;
      for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-3}, std::int64_t{1} << 40}) {
        EXPECT_THAT(error_with(fixture, key, size),
                    AllOf(HasSubstr(name + " = " + std::to_string(size)), HasSubstr("out of range")));
      }
      EXPECT_THAT(error_with(fixture, key, "4"), HasSubstr(name + " is a string where an integer is due"));
      EXPECT_THAT(error_of_config(fixture, [&](json::object& config) { config.erase(key); }),
                  HasSubstr(name + " is missing"));
    }
  }
}

struct Lie {
  const char* fixture;
  const char* key;
  json::value value;
  const char* message;
};

TEST(DecoderConfig, HeadsThatDoNotDivide) {
  for (const Lie& lie :
       {Lie{"llama-gqa", "num_key_value_heads", 3,
            "num_attention_heads = 4 is not a multiple of num_key_value_heads = 3"},
        Lie{"llama-gqa", "num_attention_heads", 5, "num_attention_heads = 5 is not a multiple"},
        Lie{"llama-gqa", "head_dim", 7, "head_dim = 7 is not a multiple of the pairs"},
        Lie{"falcon-7b-style", "num_attention_heads", 7,
            "hidden_size = 40 is not a multiple of num_attention_heads = 7"},
        Lie{"falcon-40b-style", "num_kv_heads", 3,
            "num_attention_heads = 4 is not a multiple of num_kv_heads = 3"},
        Lie{"bloom", "n_head", 7, "hidden_size = 40 is not a multiple of n_head = 7"},
        Lie{"mpt", "n_heads", 7, "d_model = 40 is not a multiple of n_heads = 7"},
        Lie{"mpt", "attn_config", {{"kv_n_heads", 3}}, "n_heads = 4 is not a multiple of kv_n_heads = 3"}}) {
    EXPECT_THAT(error_with(lie.fixture, lie.key, lie.value),
                AllOf(StartsWith("format: m/config.json: "), HasSubstr(lie.message)))
        << lie.key;
  }
}

TEST(DecoderConfig, WhatIsNotSupportedIsNamed) {
  for (const Lie& lie :
       {Lie{"llama-gqa",
            "rope_scaling",
            {{"rope_type", "yarn"}, {"factor", 2}},
            "rope_scaling: rope_type yarn is not supported; known: default, linear"},
        Lie{"llama-gqa", "rope_scaling", {{"type", "longrope"}}, "rope_type longrope is not supported"},
        Lie{"llama-gqa", "hidden_act", "mish", "hidden_act mish is not supported"},
        Lie{"llama-gqa", "model_type", "gemma",
            "model_type gemma is no language model that is known here; known: llama"},
        Lie{"mpt", "logit_scale", "big", "logit_scale big is not supported"},
        Lie{"mpt", "attn_config", {{"prefix_lm", true}}, "prefix_lm"}}) {
    EXPECT_THAT(error_with(lie.fixture, lie.key, lie.value),
                AllOf(StartsWith("unsupported: m/config.json: "), HasSubstr(lie.message)))
        << lie.key;
  }
}

TEST(DecoderConfig, NumbersThatMakeNoSense) {
  for (const Lie& lie :
       {Lie{"llama-gqa", "rope_scaling", {{"type", "linear"}}, "rope_scaling: key factor is missing"},
        Lie{"llama-gqa",
            "rope_scaling",
            {{"type", "dynamic"}, {"factor", -1}},
            "rope_scaling: key factor = -1"},
        Lie{"llama-gqa", "rope_scaling", "linear", "rope_scaling: is a string where an object is due"},
        Lie{"llama-gqa", "rope_theta", 0, "key rope_theta = 0"},
        Lie{"llama-gqa", "rms_norm_eps", -1, "key rms_norm_eps = -1"},
        Lie{"llama-gqa", "max_position_embeddings", -1, "key max_position_embeddings = -1"},
        Lie{"bloom", "layer_norm_epsilon", "small", "key layer_norm_epsilon"},
        Lie{"mpt", "max_seq_len", 0, "key max_seq_len = 0"},
        Lie{"mpt", "expansion_ratio", 1000, "key expansion_ratio = 1000"},
        Lie{"mpt", "attn_config", {{"clip_qkv", -1}}, "attn_config: key clip_qkv"},
        Lie{"mpt", "attn_config", "alibi", "attn_config: is a string where an object is due"}}) {
    EXPECT_THAT(error_with(lie.fixture, lie.key, lie.value),
                AllOf(StartsWith("format: m/config.json: "), HasSubstr(lie.message)))
        << lie.key;
  }
}

TEST(DecoderConfig, ShapesThatTheWeightsDoNotHave) {
  for (const Lie& lie :
       {Lie{"llama-gqa", "hidden_size", 48,
            "tensor model.embed_tokens.weight has shape [620, 40], but vocab_size = 620, hidden_size = 48 of "
            "config.json ask for [620, 48]"},
        Lie{"llama-gqa", "vocab_size", 600,
            "vocab_size = 600, hidden_size = 40 of config.json ask for [600, 40]"},
        Lie{"llama-gqa", "num_attention_heads", 8, "num_attention_heads * head_dim = 80"},
        Lie{"llama-gqa", "num_key_value_heads", 4,
            "self_attn.k_proj.weight has shape [20, 40], but num_key_value_heads * head_dim = 40"},
        Lie{"llama-gqa", "num_hidden_layers", 1000,
            "tensor layers.2.input_layernorm.weight is missing, and 8981 more"},
        Lie{"falcon-7b-style", "multi_query", false,
            "self_attention.query_key_value.weight has shape [60, 40], but (num_attention_heads + 2 * "
            "num_kv_heads) * head_dim = 120"},
        Lie{"bloom", "n_layer", 3, "tensor h.2.input_layernorm.weight is missing, and 11 more"},
        Lie{"mpt", "expansion_ratio", 5,
            "ffn.up_proj.weight has shape [160, 40], but expansion_ratio * d_model = 200"}}) {
    EXPECT_THAT(error_with(lie.fixture, lie.key, lie.value),
                AllOf(StartsWith("format: m/model.safetensors: tensor "), HasSubstr(lie.message)))
        << lie.key;
  }
}

TEST(DecoderWeights, TruncatedOrAbsent) {
  const TemporaryFolder folder;
  const std::filesystem::path weights = copy_of("llama-gqa", folder) / "model.safetensors";
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 1000);
  EXPECT_THAT(load_error(folder, "m"), StartsWith("format: m/model.safetensors: "));
  std::filesystem::remove(weights);
  EXPECT_THAT(load_error(folder, "m"), StartsWith("not_found: m: "));
}

TEST(DecoderTokenizer, OfAnotherModel) {
  const auto take = [](const char* model, const char* tokenizer) {
    const TemporaryFolder folder;
    const std::filesystem::path copy = copy_of(model, folder);
    take_tokenizer(tokenizer, copy);
    return load_error(folder, "m");
  };
  EXPECT_EQ(take("falcon-7b-style", "llama-gqa"),
            "format: m: the tokenizer has 620 tokens, and the model embeddings of 540; they do not belong "
            "together");
  EXPECT_EQ(take("bloom", "bloom"), "none");
  const TemporaryFolder folder;
  const std::filesystem::path file = copy_of("llama-gqa", folder) / "tokenizer.json";
  std::ofstream(file, std::ios::app) << "}";
  EXPECT_THAT(load_error(folder, "m"),
              AllOf(StartsWith("format: m/tokenizer.json:"), HasSubstr("not valid JSON")));
  std::filesystem::remove(file);
  EXPECT_THAT(load_error(folder, "m"), StartsWith("not_found: m: holds neither tokenizer.json"));
}

// Tokens that were added without rows for them (a <pad>) are no reason to refuse a model.
TEST(DecoderTokenizer, MayHaveAddedTokensBeyondTheEmbeddings) {
  const TemporaryFolder folder;
  const std::filesystem::path file = copy_of("llama-gqa", folder) / "tokenizer.json";
  json::object tokenizer = base::parse_json_file(file).as_object();
  json::object added = tokenizer.at("added_tokens").as_array().at(0).as_object();
  added["id"] = 620;
  added["content"] = "<pad>";
  tokenizer.at("added_tokens").as_array().push_back(added);
  std::ofstream(file) << json::serialize(tokenizer);
  EXPECT_EQ(load_error(folder, "m"), "none");
}

// A GGUF file in memory whose numbers can be changed where they stand.
class GgufBytes {
 public:
  explicit GgufBytes(const std::string& fixture) {
    exporting::export_gguf(tests::decoder_folder(fixture), folder_ / "m.gguf",
                           {.type = tensor::DType::kF32, .threads = 1});
    bytes_ = base::read_file(folder_ / "m.gguf");
  }

  // Entries of the metadata: u32 or f32 behind key and type.
  template <class T>
  GgufBytes& set(const std::string& key, T value) {
    const std::string entry = tests::gguf::text(key);
    const std::size_t at = bytes_.find(entry);
    EXPECT_NE(at, std::string::npos) << key;
    if (at != std::string::npos) bytes_.replace(at + entry.size() + 4, 4, tests::gguf::number(value));
    return *this;
  }
  // Both have the same length.
  GgufBytes& rename(const std::string& from, const std::string& to) {
    const std::size_t at = bytes_.find(tests::gguf::text(from));
    EXPECT_NE(at, std::string::npos) << from;
    if (at != std::string::npos) bytes_.replace(at + 8, to.size(), to);
    return *this;
  }
  // A matrix gets so many rows: the second number behind its name and its count of dimensions.
  GgufBytes& shorten(const std::string& name, std::uint64_t rows) {
    const std::string entry = tests::gguf::text(name);
    const std::size_t at = bytes_.find(entry);
    EXPECT_NE(at, std::string::npos) << name;
    if (at != std::string::npos) bytes_.replace(at + entry.size() + 12, 8, tests::gguf::number(rows));
    return *this;
  }
  GgufBytes& cut(std::size_t size) {
    bytes_.resize(size);
    return *this;
  }
  std::size_t size() const { return bytes_.size(); }
  std::string error() const {
    std::ofstream(folder_ / "m.gguf", std::ios::binary) << bytes_;
    return load_error(folder_, "m.gguf");
  }

 private:
  TemporaryFolder folder_;
  std::string bytes_;
};

TEST(DecoderGguf, SizesThatNoModelHas) {
  for (const auto& [fixture, architecture] : {std::pair{"llama-gqa", "llama"},
                                              {"falcon-40b-style", "falcon"},
                                              {"bloom", "bloom"},
                                              {"mpt", "mpt"}}) {
    const GgufBytes good(fixture);
    EXPECT_EQ(good.error(), "none");
    for (const char* name : {"embedding_length", "block_count", "attention.head_count", "context_length"}) {
      const std::string key = std::string(architecture) + "." + name;
      for (const std::uint32_t size : {0U, ~0U}) {
        EXPECT_THAT(GgufBytes(fixture).set(key, size).error(),
                    StartsWith("format: m.gguf: metadata key " + key + " is " + std::to_string(size) +
                               ", and must be between 1 and "));
      }
    }
    EXPECT_THAT(GgufBytes(fixture).set(std::string(architecture) + ".block_count", 1025U).error(),
                HasSubstr(".block_count is 1025, and must be between 1 and 1024"));
  }
}

TEST(DecoderGguf, MetadataThatLies) {
  const auto with = [](const char* key, auto value, const char* fixture = "llama-gqa") {
    return GgufBytes(fixture).set(key, value).error();
  };
  EXPECT_THAT(with("llama.attention.head_count", 3U),
              StartsWith("format: m.gguf: 3 heads cannot share 2 heads of keys and values"));
  EXPECT_THAT(with("falcon.attention.head_count", 3U, "falcon-40b-style"),
              StartsWith("format: m.gguf: a width of 40 cannot be split into 3 heads"));
  EXPECT_THAT(
      with("llama.block_count", 3U),
      StartsWith("format: m.gguf: tensor blk.2.attn_norm.weight is missing, and 8 more; the weights and "
                 "the metadata do not belong together"));
  EXPECT_THAT(with("llama.feed_forward_length", 48U),
              HasSubstr("tensor blk.0.ffn_gate.weight has shape [104, 40], but intermediate_size = 48, "
                        "hidden_size = 40 of the metadata ask for [48, 40]"));
  EXPECT_THAT(with("llama.embedding_length", 48U), HasSubstr("tensor token_embd.weight has shape [620, 40]"));
  EXPECT_THAT(with("llama.rope.freq_base", std::numeric_limits<float>::quiet_NaN()),
              HasSubstr("metadata key llama.rope.freq_base is no finite number"));
  EXPECT_THAT(with("mpt.feed_forward_length", 161U, "mpt"),
              HasSubstr("metadata key mpt.feed_forward_length is 161, which is no multiple of 40"));
  EXPECT_THAT(with("tokenizer.ggml.eos_token_id", 100'000U),
              HasSubstr("tokenizer.ggml.eos_token_id is 100000, and there are 620 tokens"));
  const auto renamed = [](const char* from, const char* to) {
    return GgufBytes("llama-gqa").rename(from, to).error();
  };
  EXPECT_THAT(renamed("blk.1.ffn_down.weight", "blk.1.ffn_dowm.weight"),
              StartsWith("format: m.gguf: tensor blk.1.ffn_down.weight is missing"));
  EXPECT_THAT(renamed("tokenizer.ggml.tokens", "tokenizer.ggml.tokenz"),
              StartsWith("format: m.gguf: metadata key tokenizer.ggml.tokens is missing"));
  EXPECT_THAT(renamed("llama.block_count", "llama.block_kount"),
              StartsWith("format: m.gguf: metadata key llama.block_count is missing"));
}

TEST(DecoderGguf, Truncated) {
  const std::size_t size = GgufBytes("llama-gqa").size();
  for (const std::size_t part : {0, 1, 10, 300, 600, 999}) {
    EXPECT_THAT(GgufBytes("llama-gqa").cut(size * part / 1000).error(), StartsWith("format: m.gguf: "));
  }
  EXPECT_THAT(GgufBytes("llama-gqa").cut(size - 1).error(),
              HasSubstr("the file is truncated; download it again"));
}

// A vocabulary that is not that of the embeddings, in a file of another program: ours refuses to write it.
TEST(DecoderGguf, WrongVocabulary) {
  const TemporaryFolder folder;
  const std::filesystem::path copy = copy_of("falcon-7b-style", folder);
  take_tokenizer("llama-gqa", copy);
  try {
    exporting::export_gguf(copy, folder / "m.gguf", {.type = tensor::DType::kF32, .threads = 1});
    ADD_FAILURE() << "was written";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("620"));
  }
  // With the tokens' own number of rows cut to 600 the table of embeddings is smaller, and all else as it
  // was.
  GgufBytes file("llama-gqa");
  for (const char* name : {"token_embd.weight", "output.weight"}) file.shorten(name, 600);
  EXPECT_EQ(file.error(),
            "format: m.gguf: the tokenizer has 620 tokens, and the model embeddings of 600; they do "
            "not belong together");
}

// A model with far more rows than its tokenizer has tokens would write ids that are no text.
TEST(DecoderTokenizer, OfAFarSmallerModelIsWarnedOf) {
  const TemporaryFolder folder;
  const std::filesystem::path copy = copy_of("bloom", folder);
  json::object config = base::parse_json_file(copy / "config.json").as_object();
  config["vocab_size"] = 3000;
  std::ofstream(copy / "config.json") << json::serialize(config);
  const formats::SafetensorsFile file(tests::decoder_folder("bloom") / "model.safetensors");
  const std::vector<float> rows(3000 * 40, 0.01F);
  const tests::OwnedTensor table = tests::make_tensor(tensor::DType::kF32, {3000, 40}, rows);
  std::vector<formats::NamedTensor> tensors;
  for (const auto& [name, view] : file.tensors()) {
    const bool is_table = name == "transformer.word_embeddings.weight" || name == "lm_head.weight";
    tensors.push_back({name, is_table ? table.view() : view});
  }
  formats::write_safetensors(copy / "model.safetensors", tensors);
  std::string warning;
  set_log_sink([&](LogLevel, std::string_view line) { warning += line; });
  EXPECT_EQ(load_error(folder, "m"), "none");
  set_log_sink({});
  EXPECT_THAT(warning, HasSubstr("the tokenizer has 540 tokens, and the model embeddings of 3000; do they"));
}

}  // namespace
}  // namespace kvasir
