// Every way in which a model folder can be wrong ends in one line that says where and what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "encoder_fixture.h"
#include "kvasir/error.h"
#include "kvasir/log.h"
#include "models/encoder_model.h"
#include "models/weight_source.h"
#include "test_isa.h"

namespace kvasir::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using tests::ModelCopy;
using tests::TemporaryFolder;

// "code: message" of loading a folder.
std::string load_error(const std::filesystem::path& folder) {
  base::ThreadPool pool(2);
  try {
    load_encoder_model(folder, Task::kQuestionAnswering,
                       {.kernels = kernels::kernels_for(tests::test_isa()), .pool = pool});
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

std::string error_after(const std::function<void(ModelCopy&)>& change, const char* fixture = "bert-uncased") {
  ModelCopy copy(fixture);
  change(copy);
  const TemporaryFolder folder;
  copy.write(folder.path());
  return load_error(folder.path());
}

std::string error_with(const char* key, const base::json::value& value,
                       const char* fixture = "bert-uncased") {
  return error_after([&](ModelCopy& copy) { copy.config[key] = value; }, fixture);
}

TEST(LoadErrors, Folder) {
  const TemporaryFolder folder;
  EXPECT_THAT(load_error(folder / "none"), HasSubstr("not_found: " + (folder / "none").string()));
  EXPECT_THAT(load_error(folder.path()), AllOf(HasSubstr("not_found: "), HasSubstr("config.json")));
  std::filesystem::create_directory(folder / "config.json");
  EXPECT_THAT(load_error(folder.path()), HasSubstr("io: "));
}

TEST(LoadErrors, ConfigFile) {
  const TemporaryFolder folder;
  const auto with = [&](const std::string& text) {
    std::ofstream(folder / "config.json") << text;
    return load_error(folder.path());
  };
  EXPECT_THAT(with(""), AllOf(HasSubstr("format: "), HasSubstr("config.json:1: not valid JSON")));
  EXPECT_THAT(with("[1]"), HasSubstr("a list where an object is due"));
  EXPECT_THAT(with("{}"), HasSubstr("key model_type is missing"));
  EXPECT_THAT(with(R"({"model_type":7})"), HasSubstr("key model_type is an integer"));
  EXPECT_THAT(with(R"({"model_type":"gpt2"})"),
              AllOf(HasSubstr("unsupported: "), HasSubstr("model_type gpt2 is no encoder that is known "
                                                          "here; known: bert, distilbert")));
  EXPECT_THAT(with(R"({"model_type":"bert"})"), HasSubstr("not_found: "));  // no model.safetensors
}

TEST(LoadErrors, ConfigValues) {
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "intermediate_size", "max_position_embeddings"}) {
    const std::string name = std::string("config.json: key ") + key;
    EXPECT_THAT(error_with(key, 0), AllOf(HasSubstr("format: "), HasSubstr(name), HasSubstr("out of range")));
    EXPECT_THAT(error_with(key, -1), AllOf(HasSubstr(name), HasSubstr("out of range")));
    EXPECT_THAT(error_with(key, std::int64_t{1} << 60), AllOf(HasSubstr(name), HasSubstr("out of range")));
    EXPECT_THAT(error_with(key, "32"), AllOf(HasSubstr(name), HasSubstr("where an integer is due")));
    EXPECT_THAT(error_after([&](ModelCopy& copy) { copy.config.erase(key); }),
                HasSubstr(name + " is missing"));
  }
  EXPECT_THAT(error_with("num_attention_heads", 5),
              HasSubstr("hidden_size = 32 is not a multiple of num_attention_heads = 5"));
  EXPECT_THAT(error_with("n_heads", 5, "distilbert"), HasSubstr("dim = 32 is not a multiple of n_heads = 5"));
  EXPECT_THAT(error_with("layer_norm_eps", -1), HasSubstr("key layer_norm_eps"));
  EXPECT_THAT(error_with("layer_norm_eps", "x"), HasSubstr("key layer_norm_eps"));
  EXPECT_THAT(error_with("type_vocab_size", 0), HasSubstr("key type_vocab_size"));
}

TEST(LoadErrors, Unsupported) {
  EXPECT_THAT(
      error_with("hidden_act", "mish"),
      AllOf(HasSubstr("unsupported: "), HasSubstr("hidden_act mish is not supported; known: gelu, ")));
  EXPECT_THAT(error_with("activation", "mish", "distilbert"), HasSubstr("activation mish is not supported"));
  EXPECT_THAT(error_with("position_embedding_type", "relative_key"),
              AllOf(HasSubstr("unsupported: "), HasSubstr("position_embedding_type relative_key")));
  EXPECT_THAT(error_with("is_decoder", true), HasSubstr("is_decoder true is not supported"));
  EXPECT_EQ(error_with("is_decoder", false), "none");
}

// What only some families have: the message names the key.
TEST(LoadErrors, FamiliesRefuseWhatTheyCannotDo) {
  const auto unsupported = [](const char* fixture, const char* key, const base::json::value& value) {
    EXPECT_THAT(error_with(key, value, fixture), AllOf(HasSubstr("unsupported: "), HasSubstr(key)))
        << fixture;
  };
  for (const char* fixture : {"roberta", "electra", "albert"}) {
    unsupported(fixture, "position_embedding_type", "relative_key_query");
    unsupported(fixture, "hidden_act", "mish");
  }
  unsupported("mobilebert", "normalization_type", "layer_norm");
  unsupported("mobilebert", "trigram_input", false);
  unsupported("mobilebert", "use_bottleneck", false);
  unsupported("mobilebert", "use_bottleneck_attention", true);
  unsupported("mobilebert", "key_query_shared_bottleneck", false);
  unsupported("deberta-v2", "attention_head_size", 4);
  unsupported("deberta-v2", "conv_groups", 2);
  unsupported("deberta-v2", "pos_att_type", "p2c|c2c");
  unsupported("deberta-v2", "pos_att_type", base::json::array{"c2p", "c2c"});
  unsupported("deberta-v2-conv", "conv_act", "mish");
  unsupported("modernbert", "hidden_activation", "mish");
  const base::json::object yarn{{"rope_type", "yarn"}};
  EXPECT_THAT(error_with("rope_scaling", yarn, "modernbert"),
              AllOf(HasSubstr("unsupported: "), HasSubstr("rope_scaling"), HasSubstr("rope_type yarn")));
  EXPECT_THAT(error_with("rope_parameters", base::json::object{{"sliding_attention", yarn}}, "modernbert"),
              AllOf(HasSubstr("unsupported: "), HasSubstr("sliding_attention"), HasSubstr("rope_type yarn")));
}

TEST(LoadErrors, FamiliesRefuseImpossibleConfigs) {
  const auto impossible = [](const char* fixture, const char* key, const base::json::value& value) {
    EXPECT_THAT(error_with(key, value, fixture), AllOf(HasSubstr("format: "), HasSubstr(key))) << fixture;
  };
  impossible("roberta", "pad_token_id", -1);
  impossible("roberta", "pad_token_id", 1600);
  impossible("roberta", "max_position_embeddings", 2);
  impossible("mpnet", "max_position_embeddings", 2);
  impossible("mpnet", "relative_attention_num_buckets", 31);
  impossible("albert", "num_hidden_groups", 4);  // of 3 layers
  impossible("albert", "inner_group_num", 1024);
  EXPECT_THAT(error_with("inner_group_num", 2, "albert"),
              HasSubstr("albert_layers.1.attention.query.weight"));
  impossible("mobilebert", "num_feedforward_networks", 1024);
  impossible("mobilebert", "num_attention_heads", 5);
  impossible("modernbert", "num_attention_heads", 32);  // heads of one: rotary needs pairs
  impossible("modernbert", "layer_types", base::json::array{"full_attention"});
  impossible("modernbert", "layer_types", base::json::array{"a", "b", "c", "d"});
  impossible("modernbert", "layer_types", 3);
  impossible("modernbert", "global_rope_theta", 0);
  impossible("deberta-v2", "position_buckets", 1);
  impossible("deberta-v2", "position_buckets", 17);  // the table has another size
  impossible("deberta-v2", "position_buckets", -2);
  impossible("deberta-v2", "pos_att_type", base::json::array{1});
  impossible("deberta-v2", "pos_att_type", true);
  impossible("deberta-v2-conv", "conv_kernel_size", 2);
  impossible("deberta-v2-conv", "conv_kernel_size", 5);
}

TEST(LoadErrors, EncodersWithoutAHead) {
  for (const char* fixture : {"roberta", "modernbert", "deberta-v2"}) {
    const std::string error = error_after(
        [](ModelCopy& copy) {
          std::erase_if(copy.tensors, [](const auto& named) {
            return named.first.starts_with("qa_outputs.") || named.first.starts_with("head.") ||
                   named.first.starts_with("classifier.");
          });
        },
        fixture);
    EXPECT_THAT(error, HasSubstr("pre-trained encoder without a question-answering head")) << fixture;
  }
}

TEST(LoadErrors, ConfigThatLiesAboutShapes) {
  EXPECT_THAT(error_with("vocab_size", 3001),
              AllOf(HasSubstr("format: "),
                    HasSubstr("model.safetensors: tensor bert.embeddings.word_embeddings.weight has shape "
                              "[3000, 32], but vocab_size = 3001, hidden_size = 32 of config.json ask for "
                              "[3001, 32]")));
  EXPECT_THAT(error_with("hidden_size", 64), HasSubstr("hidden_size = 64"));
  EXPECT_THAT(error_with("hidden_size", 1 << 20), HasSubstr("hidden_size = 1048576"));
  EXPECT_THAT(error_with("intermediate_size", 256),
              AllOf(HasSubstr("intermediate.dense.weight"), HasSubstr("intermediate_size = 256")));
  EXPECT_THAT(error_with("max_position_embeddings", 512), HasSubstr("max_position_embeddings = 512"));
  EXPECT_THAT(error_with("type_vocab_size", 1), HasSubstr("token_type_embeddings"));
  EXPECT_THAT(error_with("num_hidden_layers", 3),
              AllOf(HasSubstr("tensor encoder.layer.2.attention.self.query.weight is missing, and 15 more")));
  EXPECT_THAT(error_with("num_hidden_layers", 1024), HasSubstr("is missing"));
  EXPECT_THAT(error_after([](ModelCopy& copy) {
                copy.tensors["qa_outputs.weight"].shape = {32, 2};
              }),
              HasSubstr("qa_outputs.weight has shape [32, 2]"));
  EXPECT_THAT(error_after([](ModelCopy& copy) {
                copy.tensors["qa_outputs.bias"].shape = {2, 1};
              }),
              HasSubstr("qa_outputs.bias has shape [2, 1]"));
}

TEST(LoadErrors, MissingTensors) {
  const std::string no_head = error_after([](ModelCopy& copy) {
    copy.tensors.erase("qa_outputs.weight");
    copy.tensors.erase("qa_outputs.bias");
  });
  EXPECT_THAT(no_head,
              AllOf(HasSubstr("format: "), HasSubstr("tensor qa_outputs.weight is missing"),
                    HasSubstr("pre-trained encoder without a question-answering head; fine-tune it")));
  EXPECT_THAT(
      error_after([](ModelCopy& copy) { copy.tensors.erase("bert.encoder.layer.1.output.dense.bias"); }),
      AllOf(HasSubstr("tensor encoder.layer.1.output.dense.bias is missing;"),
            testing::Not(HasSubstr("pre-trained"))));
}

TEST(LoadErrors, BadTensors) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const char* name :
         {"bert.embeddings.word_embeddings.weight", "bert.embeddings.LayerNorm.bias",
          "bert.encoder.layer.0.attention.self.key.weight", "bert.encoder.layer.1.attention.self.value.bias",
          "bert.encoder.layer.1.output.dense.weight", "qa_outputs.weight"}) {
      for (const tensor::DType dtype : {tensor::DType::kF32, tensor::DType::kF16}) {
        const std::string error = error_after([&](ModelCopy& copy) {
          tests::OwnedTensor& tensor = copy.tensors.at(name);
          std::vector<float> values(tensor.view().elements());
          tensor.view().read_floats(0, values);
          values.back() = bad;
          tensor = tests::make_tensor(dtype, tensor.shape, values);
        });
        EXPECT_THAT(error, AllOf(HasSubstr("format: "), HasSubstr(std::string("tensor ") + name),
                                 HasSubstr("holds NaN or infinity")));
      }
    }
  }
  EXPECT_THAT(
      error_after([](ModelCopy& copy) { copy.tensors["qa_outputs.bias"].dtype = tensor::DType::kI32; }),
      AllOf(HasSubstr("unsupported: "), HasSubstr("qa_outputs.bias is of type I32")));
}

TEST(LoadErrors, TwoNamesForOneWeight) {
  EXPECT_THAT(error_after([](ModelCopy& copy) {
                copy.tensors["bert.embeddings.LayerNorm.gamma"] =
                    copy.tensors.at("bert.embeddings.LayerNorm.weight");
              }),
              AllOf(HasSubstr("format: "), HasSubstr("bert.embeddings.LayerNorm.gamma"),
                    HasSubstr("two names of one weight")));
}

TEST(LoadErrors, TruncatedWeights) {
  const TemporaryFolder folder;
  ModelCopy("bert-uncased").write(folder.path());
  std::filesystem::resize_file(folder / "model.safetensors", 300'000);
  EXPECT_THAT(load_error(folder.path()), AllOf(HasSubstr("format: "), HasSubstr("truncated")));
}

TEST(Weights, LeftoversAreNamedInOneWarning) {
  std::vector<std::string> lines;
  set_log_sink([&](LogLevel, std::string_view line) { lines.emplace_back(line); });
  const auto add_leftovers = [](ModelCopy& copy) {
    copy.tensors["bert.embeddings.extra"] = copy.tensors.at("qa_outputs.bias");
    copy.tensors["classifier.bias"] = copy.tensors.at("qa_outputs.bias");
    copy.tensors["cls.predictions.bias"] = copy.tensors.at("qa_outputs.bias");  // expected: not worth a word
  };
  EXPECT_EQ(error_after(add_leftovers), "none");
  set_log_sink({});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("2 tensors are not part of the model and were left out: "
                                  "classifier.bias, bert.embeddings.extra"));
}

TEST(Weights, CanonicalNames) {
  EXPECT_EQ(canonical_name("bert.embeddings.LayerNorm.gamma", "bert."), "embeddings.LayerNorm.weight");
  EXPECT_EQ(canonical_name("embeddings.LayerNorm.beta", "bert."), "embeddings.LayerNorm.bias");
  EXPECT_EQ(canonical_name("qa_outputs.weight", "bert."), "qa_outputs.weight");
  EXPECT_EQ(canonical_name("distilbert.x", "bert."), "distilbert.x");
  EXPECT_TRUE(is_ignored("embeddings.position_ids"));
  EXPECT_TRUE(is_ignored("pooler.dense.weight"));
  EXPECT_TRUE(is_ignored("cls.predictions.bias"));
  EXPECT_FALSE(is_ignored("qa_outputs.weight"));
}

}  // namespace
}  // namespace kvasir::models
