#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <numbers>

#include "kvasir/error.h"
#include "malformed/gguf_writer.h"
#include "models/gguf/config.h"
#include "temporary_folder.h"

namespace kvasir::models {
namespace {

using base::json::object;
using base::json::value;
using formats::GgufType;
using testing::HasSubstr;
namespace gguf = tests::gguf;

value convert(const gguf::File& file) {
  const tests::TemporaryFolder folder;
  std::ofstream(folder / "m.gguf", std::ios::binary) << gguf::write(file);
  return config_from_gguf(formats::GgufFile(folder / "m.gguf"));
}

std::string error_of(const gguf::File& file) {
  try {
    convert(file);
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

// Floats of a file are floats of 32 bits; the config's numbers are rounded to them too.
void expect_config(const gguf::File& file, const object& expected) {
  const object config = convert(file).as_object();
  EXPECT_EQ(config, expected) << base::json::serialize(config) << '\n' << base::json::serialize(expected);
}

// Tensors of one element each: only their names count here.
void add(gguf::File& file, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    file.tensors.push_back({name, {1}, 0, file.data.size()});
    file.data.resize(file.data.size() + 32);
  }
}
// The table of embeddings, [rows, 1].
void add_table(gguf::File& file, std::uint64_t rows) {
  file.tensors.push_back({"token_embd.weight", {1, rows}, 0, file.data.size()});
  file.data.resize((file.data.size() + 4 * rows + 31) / 32 * 32);
}

gguf::File llama() {
  gguf::File file{
      .metadata = {gguf::string("general.architecture", "llama"), gguf::u32("llama.embedding_length", 576),
                   gguf::u32("llama.feed_forward_length", 1536), gguf::u32("llama.block_count", 30),
                   gguf::u32("llama.attention.head_count", 9), gguf::u32("llama.attention.head_count_kv", 3),
                   gguf::u32("llama.rope.dimension_count", 64), gguf::u32("llama.context_length", 8192),
                   gguf::f32("llama.attention.layer_norm_rms_epsilon", 0x1p-17F),
                   gguf::f32("llama.rope.freq_base", 100000), gguf::u32("tokenizer.ggml.bos_token_id", 1),
                   gguf::u32("tokenizer.ggml.eos_token_id", 2)}};
  add_table(file, 70);
  return file;
}
object llama_config() {
  return {{"model_type", "llama"},
          {"hidden_size", 576},
          {"intermediate_size", 1536},
          {"num_hidden_layers", 30},
          {"num_attention_heads", 9},
          {"num_key_value_heads", 3},
          {"max_position_embeddings", 8192},
          {"rms_norm_eps", 0x1p-17},
          {"rope_theta", 100000.0},
          {"hidden_act", "silu"},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"vocab_size", 70},
          {"tie_word_embeddings", true},
          {"bos_token_id", 1},
          {"eos_token_id", 2}};
}

TEST(GgufConfig, Llama) {
  expect_config(llama(), llama_config());
  gguf::File file = llama();
  add(file, {"output.weight", "blk.0.attn_q.bias", "blk.0.ffn_gate.bias"});
  file.metadata.push_back(gguf::u32("llama.attention.key_length", 64));
  file.metadata.push_back(gguf::string("llama.rope.scaling.type", "linear"));
  file.metadata.push_back(gguf::f32("llama.rope.scaling.factor", 4));
  object config = llama_config();
  config["tie_word_embeddings"] = false;
  config["attention_bias"] = config["mlp_bias"] = true;
  config["head_dim"] = 64;
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 4.0}};
  expect_config(file, config);
}

TEST(GgufConfig, LlamaOfOldFiles) {
  gguf::File file = llama();
  file.metadata.push_back(gguf::f32("llama.rope.scale_linear", 2));
  object config = llama_config();
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  expect_config(file, config);
}

// What convert_hf_to_gguf.py writes for Llama 3.1: each angle is divided by a factor.
std::string llama3_factors(double factor) {
  std::string bytes;
  for (int i = 0; i < 32; ++i) {
    const double wavelength = 2 * std::numbers::pi * std::pow(100000.0, i / 32.0);
    double by = 1;
    if (wavelength > 8192) {
      by = factor;
    } else if (wavelength > 8192 / 4.0) {
      const double smooth = (8192 / wavelength - 1) / 3;
      by = 1 / ((1 - smooth) / factor + smooth);
    }
    bytes += gguf::number(static_cast<float>(by));
  }
  return bytes;
}

TEST(GgufConfig, Llama3FromItsFactors) {
  gguf::File file = llama();
  file.tensors.push_back({"rope_freqs.weight", {32}, 0, file.data.size()});
  const std::string data = file.data;
  file.data = data + llama3_factors(32);
  object config = llama_config();
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  expect_config(file, config);
  std::string other = llama3_factors(32);
  other.replace(4, 4, gguf::number(1.5F));
  file.data = data + other;
  EXPECT_THAT(error_of(file), HasSubstr("tensor rope_freqs.weight: not the scaling of Llama 3.1"));
}

gguf::File falcon(std::uint32_t kv_heads) {
  gguf::File file{
      .metadata = {gguf::string("general.architecture", "falcon"),
                   gguf::string("falcon.tensor_data_layout", "jploski"),
                   gguf::u32("falcon.embedding_length", 4544), gguf::u32("falcon.feed_forward_length", 18176),
                   gguf::u32("falcon.block_count", 32), gguf::u32("falcon.attention.head_count", 64),
                   gguf::u32("falcon.attention.head_count_kv", kv_heads),
                   gguf::u32("falcon.context_length", 2048),
                   gguf::f32("falcon.attention.layer_norm_epsilon", 0x1p-17F)}};
  add_table(file, 50);
  return file;
}
object falcon_config() {
  return {{"model_type", "falcon"},
          {"hidden_size", 4544},
          {"ffn_hidden_size", 18176},
          {"num_hidden_layers", 32},
          {"num_attention_heads", 64},
          {"num_kv_heads", 1},
          {"max_position_embeddings", 2048},
          {"layer_norm_epsilon", 0x1p-17},
          {"multi_query", true},
          {"new_decoder_architecture", false},
          {"num_ln_in_parallel_attn", 1},
          {"parallel_attn", true},
          {"alibi", false},
          {"bias", false},
          {"activation", "gelu"},
          {"vocab_size", 50},
          {"tie_word_embeddings", true}};
}

TEST(GgufConfig, Falcon) {
  expect_config(falcon(1), falcon_config());  // 7B
  object config = falcon_config();
  config["multi_query"] = false;
  config["new_decoder_architecture"] = true;
  config["num_kv_heads"] = 8;
  expect_config(falcon(8), config);  // 11B: one norm
  gguf::File large = falcon(8);
  add(large, {"blk.0.attn_norm_2.weight", "output.weight"});
  config["num_ln_in_parallel_attn"] = 2;
  config["tie_word_embeddings"] = false;
  expect_config(large, config);  // 40B
}

TEST(GgufConfig, Bloom) {
  gguf::File file{
      .metadata = {gguf::string("general.architecture", "bloom"), gguf::u32("bloom.embedding_length", 1024),
                   gguf::u32("bloom.feed_forward_length", 4096), gguf::u32("bloom.block_count", 24),
                   gguf::u32("bloom.attention.head_count", 16), gguf::u32("bloom.context_length", 2048),
                   gguf::f32("bloom.attention.layer_norm_epsilon", 0x1p-17F),
                   gguf::u32("tokenizer.ggml.padding_token_id", 3)}};
  add_table(file, 50);
  add(file, {"output.weight"});
  expect_config(file, {{"model_type", "bloom"},
                       {"hidden_size", 1024},
                       {"n_layer", 24},
                       {"n_head", 16},
                       {"seq_length", 2048},
                       {"layer_norm_epsilon", 0x1p-17},
                       {"vocab_size", 50},
                       {"tie_word_embeddings", false},
                       {"pad_token_id", 3}});
  file.metadata[2] = gguf::u32("bloom.feed_forward_length", 4097);
  EXPECT_THAT(error_of(file),
              HasSubstr("bloom.feed_forward_length is 4097: a feed-forward of another width"));
}

TEST(GgufConfig, Mpt) {
  gguf::File file{
      .metadata = {gguf::string("general.architecture", "mpt"), gguf::u32("mpt.embedding_length", 4096),
                   gguf::u32("mpt.feed_forward_length", 16384), gguf::u32("mpt.block_count", 32),
                   gguf::u32("mpt.attention.head_count", 32), gguf::u32("mpt.context_length", 65536),
                   gguf::f32("mpt.attention.layer_norm_epsilon", 0x1p-17F),
                   gguf::f32("mpt.attention.max_alibi_bias", 16), gguf::f32("mpt.attention.clamp_kqv", 6)}};
  add_table(file, 50);
  object config{
      {"model_type", "mpt"},
      {"d_model", 4096},
      {"n_layers", 32},
      {"n_heads", 32},
      {"max_seq_len", 65536},
      {"layer_norm_epsilon", 0x1p-17},
      {"expansion_ratio", 4},
      {"no_bias", true},
      {"learned_pos_emb", false},
      {"attn_config",
       {{"alibi", true}, {"qk_ln", false}, {"alibi_bias_max", 16.0}, {"clip_qkv", 6.0}, {"kv_n_heads", 32}}},
      {"vocab_size", 50},
      {"tie_word_embeddings", true}};
  expect_config(file, config);
  file.metadata[7] = gguf::f32("mpt.attention.max_alibi_bias", 0);
  file.metadata[8] = gguf::u32("mpt.attention.head_count_kv", 8);
  add(file, {"position_embd.weight", "blk.0.attn_q_norm.weight", "blk.0.ffn_up.bias"});
  config["no_bias"] = false;
  config["learned_pos_emb"] = true;
  config["attn_config"] = {{"alibi", false}, {"qk_ln", true}, {"kv_n_heads", 8}};
  expect_config(file, config);
}

TEST(GgufConfig, VocabularyOfFilesWithoutTensors) {
  gguf::File file = llama();
  file.tensors.clear();
  EXPECT_THAT(error_of(file), HasSubstr("llama.vocab_size is missing"));
  file.metadata.push_back(gguf::u32("llama.vocab_size", 80));
  EXPECT_EQ(convert(file).at("vocab_size"), 80);
  file.metadata.push_back(gguf::strings("tokenizer.ggml.tokens", {"a", "b"}));
  EXPECT_EQ(convert(file).at("vocab_size"), 2);
}

TEST(GgufConfig, Refusals) {
  const auto with = [](const std::string& entry, std::size_t replaced = 1000) {
    gguf::File file = llama();
    if (replaced < file.metadata.size()) {
      file.metadata[replaced] = entry;
    } else {
      file.metadata.push_back(entry);
    }
    return error_of(file);
  };
  EXPECT_THAT(with(gguf::string("general.architecture", "gemma"), 0),
              HasSubstr("m.gguf: architecture gemma is not supported; llama, falcon, bloom and mpt are"));
  EXPECT_THAT(with(gguf::u32("other", 1), 0), HasSubstr("format: "));
  EXPECT_THAT(with(gguf::u32("other", 1), 3), HasSubstr("metadata key llama.block_count is missing"));
  EXPECT_THAT(with(gguf::u32("llama.attention.head_count", 0), 4),
              HasSubstr("llama.attention.head_count is 0"));
  EXPECT_THAT(with(gguf::f32("llama.rope.freq_base", std::nanf("")), 9), HasSubstr("is no finite number"));
  EXPECT_THAT(with(gguf::u32("llama.expert_count", 8)), HasSubstr("is 8: a mixture of experts"));
  EXPECT_THAT(with(gguf::u32("llama.rope.dimension_count", 32), 6),
              HasSubstr("rotating a part of each head"));
  EXPECT_THAT(with(gguf::u32("llama.attention.value_length", 32)), HasSubstr("another size of values"));
  EXPECT_THAT(with(gguf::string("llama.rope.scaling.type", "yarn")), HasSubstr("unsupported: "));
  gguf::File file = falcon(1);
  file.metadata[1] = gguf::string("falcon.tensor_data_layout", "other");
  EXPECT_THAT(error_of(file), HasSubstr("falcon.tensor_data_layout is other; jploski is supported"));
}

}  // namespace
}  // namespace kvasir::models
