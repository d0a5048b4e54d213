#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "decoder_fixture.h"
#include "kvasir/error.h"
#include "models/gguf/names.h"

namespace kvasir::models {
namespace {

using base::json::object;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

GgufLayout layout_of(const object& config) {
  return gguf_layout(base::JsonObject(config, "config.json"));
}

std::string error_of(const object& config) {
  try {
    layout_of(config);
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

const object kLlama{
    {"model_type", "llama"}, {"hidden_size", 16}, {"num_attention_heads", 4}, {"num_key_value_heads", 2}};

// Every weight of every golden model has a name in GGUF, and that leads back to it.
TEST(GgufNames, ThereAndBack) {
  for (const std::string& model : tests::decoder_names()) {
    SCOPED_TRACE(model);
    const base::json::value config = base::parse_json_file(tests::decoder_folder(model) / "config.json");
    const GgufLayout layout = gguf_layout(base::JsonObject(config, model));
    const formats::SafetensorsFile file(tests::decoder_folder(model) / "model.safetensors");
    std::set<std::string> names;
    for (const auto& [name, view] : file.tensors()) {
      // llama.cpp's Falcon has neither ALiBi nor the norm that goes with it.
      if (model == "falcon-rw-style" && name.find("post_attention_layernorm") != std::string::npos) continue;
      const std::optional<std::string> gguf = gguf_name(layout, name);
      ASSERT_TRUE(gguf) << name;
      EXPECT_TRUE(names.insert(*gguf).second) << *gguf;
      EXPECT_EQ(huggingface_name(layout, *gguf), name);
    }
  }
}

TEST(GgufNames, AsLlamaCppHasThem) {
  const GgufLayout llama = layout_of(kLlama);
  EXPECT_EQ(gguf_name(llama, "model.layers.31.self_attn.q_proj.weight"), "blk.31.attn_q.weight");
  EXPECT_EQ(gguf_name(llama, "layers.31.self_attn.q_proj.bias"), "blk.31.attn_q.bias");
  EXPECT_EQ(gguf_name(llama, "lm_head.weight"), "output.weight");
  EXPECT_EQ(gguf_name(llama, "model.norm.weight"), "output_norm.weight");
  EXPECT_EQ(huggingface_name(llama, "blk.0.ffn_gate.weight"), "model.layers.0.mlp.gate_proj.weight");
  for (const char* name :
       {"model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.x.mlp.up_proj.weight",
        "model.layers..mlp.up_proj.weight", "model.layers.1.mlp.up_proj", "", ".weight",
        "model.layers.1.mlp.up_proj.weight.x", "transformer.wte.weight"}) {
    EXPECT_EQ(gguf_name(llama, name), std::nullopt) << name;
  }
  for (const char* name :
       {"rope_freqs.weight", "blk.0.attn_qkv.weight", "blk..attn_q.weight", "blk.0.attn_q"}) {
    EXPECT_EQ(huggingface_name(llama, name), std::nullopt) << name;
  }
  object falcon{{"model_type", "falcon"}, {"hidden_size", 16}, {"num_attention_heads", 4}};
  EXPECT_EQ(gguf_name(layout_of(falcon), "transformer.h.2.input_layernorm.bias"), "blk.2.attn_norm.bias");
  falcon["new_decoder_architecture"] = true;
  falcon["num_kv_heads"] = 2;
  const GgufLayout large = layout_of(falcon);
  EXPECT_EQ(gguf_name(large, "transformer.h.2.ln_attn.bias"), "blk.2.attn_norm_2.bias");
  EXPECT_EQ(gguf_name(large, "transformer.h.2.ln_mlp.weight"), "blk.2.attn_norm.weight");
  EXPECT_EQ(gguf_name(large, "transformer.h.2.input_layernorm.weight"), std::nullopt);
  falcon["num_ln_in_parallel_attn"] = 1;
  EXPECT_EQ(gguf_name(layout_of(falcon), "transformer.h.2.input_layernorm.weight"), "blk.2.attn_norm.weight");
}

TEST(GgufNames, RotaryPairsLieSideBySide) {
  const GgufLayout llama = layout_of(kLlama);  // heads of 4
  const std::string queries = "model.layers.0.self_attn.q_proj.weight",
                    keys = "layers.0.self_attn.k_proj.bias";
  EXPECT_THAT(rows_to_gguf(llama, queries, 16),
              ElementsAre(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15));
  EXPECT_THAT(rows_to_gguf(llama, keys, 8), ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  object wide = kLlama;  // heads of 6: Hugging Face's pair j, j + 3 becomes 2 j, 2 j + 1
  wide["head_dim"] = 6;
  EXPECT_THAT(rows_to_gguf(layout_of(wide), keys, 12), ElementsAre(0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11));
  EXPECT_THAT(rows_from_gguf(layout_of(wide), keys, 12), ElementsAre(0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11));
  EXPECT_THAT(rows_to_gguf(llama, "model.layers.0.self_attn.v_proj.weight", 8), IsEmpty());
  EXPECT_THAT(rows_to_gguf(llama, queries, 15), IsEmpty());  // the loader will refuse its shape
}

TEST(GgufNames, FusedRowsAreQueriesKeysValues) {
  // Two groups of two heads of queries, one of keys, one of values; heads of two rows.
  const object grouped{{"model_type", "falcon"},
                       {"hidden_size", 8},
                       {"num_attention_heads", 4},
                       {"new_decoder_architecture", true},
                       {"num_kv_heads", 2}};
  const char* falcon = "transformer.h.0.self_attention.query_key_value.weight";
  EXPECT_THAT(rows_to_gguf(layout_of(grouped), falcon, 16),
              ElementsAre(0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
  EXPECT_THAT(rows_from_gguf(layout_of(grouped), falcon, 16),
              ElementsAre(0, 1, 2, 3, 8, 9, 12, 13, 4, 5, 6, 7, 10, 11, 14, 15));
  const object multi_query{{"model_type", "RefinedWebModel"}, {"hidden_size", 8}, {"n_head", 4}};
  EXPECT_THAT(rows_to_gguf(layout_of(multi_query), falcon, 12), IsEmpty());  // one group: they are already
  const object bloom{{"model_type", "bloom"}, {"n_embed", 4}, {"n_head", 2}};
  for (const char* name : {"h.0.self_attention.query_key_value.bias", falcon}) {
    EXPECT_THAT(rows_to_gguf(layout_of(bloom), name, 12), ElementsAre(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11));
  }
  const object mpt{{"model_type", "mpt"}, {"d_model", 4}, {"n_heads", 2}};
  EXPECT_THAT(rows_to_gguf(layout_of(mpt), "transformer.blocks.0.attn.Wqkv.weight", 12), IsEmpty());
}

TEST(GgufNames, EveryOrderIsUndone) {
  for (const std::string& model : tests::decoder_names()) {
    const base::json::value config = base::parse_json_file(tests::decoder_folder(model) / "config.json");
    const GgufLayout layout = gguf_layout(base::JsonObject(config, model));
    const formats::SafetensorsFile file(tests::decoder_folder(model) / "model.safetensors");
    for (const auto& [name, view] : file.tensors()) {
      const auto rows = static_cast<std::size_t>(view.shape[0]);
      const RowOrder there = rows_to_gguf(layout, name, rows), back = rows_from_gguf(layout, name, rows);
      ASSERT_EQ(there.size(), back.size());
      for (std::size_t i = 0; i < back.size(); ++i) EXPECT_EQ(there[back[i]], i) << name;
    }
  }
}

TEST(GgufNames, Refusals) {
  EXPECT_THAT(error_of({{"model_type", "bert"}}), HasSubstr("unsupported: config.json: model_type bert"));
  EXPECT_THAT(error_of({{"model_type", "llama"}}), HasSubstr("format: config.json: key num_attention_heads"));
  EXPECT_THAT(error_of({{"model_type", "llama"}, {"hidden_size", 16}, {"num_attention_heads", 3}}),
              HasSubstr("a width of 16 cannot be split into 3 heads"));
  EXPECT_THAT(error_of({{"model_type", "llama"},
                        {"hidden_size", 16},
                        {"num_attention_heads", 4},
                        {"num_key_value_heads", 3}}),
              HasSubstr("4 heads cannot share 3"));
}

}  // namespace
}  // namespace kvasir::models
