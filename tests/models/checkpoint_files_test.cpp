// One model in every file and under every name that it has had: the same logits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "encoder_fixture.h"
#include "kvasir/error.h"
#include "kvasir/log.h"
#include "models/encoder_model.h"
#include "models/weight_source.h"
#include "test_isa.h"

namespace kvasir::models {
namespace {

using testing::HasSubstr;
using tests::TemporaryFolder;
using tests::Window;

// bert-large-uncased-whole-word-masking-finetuned-squad as published, but tiny and random.
const std::filesystem::path kPublished =
    std::filesystem::path(KVASIR_TEST_DATA) / "checkpoints" / "whole-word-masking";

std::vector<Window> expected_windows() {
  std::vector<Window> windows;
  const base::json::value expected = base::parse_json_file(kPublished / "expected.json");
  for (const auto& window : expected.at("windows").as_array()) {
    windows.push_back(tests::read_window(window.as_object(), std::to_string(windows.size())));
  }
  return windows;
}

std::vector<Window> run(const std::filesystem::path& folder, std::vector<Window> windows) {
  const kernels::Kernels& kernels = kernels::kernels_for(tests::test_isa());
  base::ThreadPool pool(2);
  tensor::Workspace workspace;
  const auto model = load_encoder_model(folder, Task::kQuestionAnswering, {.kernels = kernels, .pool = pool});
  for (Window& window : windows) {
    const std::int32_t cu_seqlens[] = {0, static_cast<std::int32_t>(window.input_ids.size())};
    const tensor::RaggedBatch batch{.input_ids = window.input_ids,
                                    .token_type_ids = window.token_type_ids,
                                    .cu_seqlens = cu_seqlens,
                                    .key_lengths = {}};
    ForwardContext context{.kernels = kernels, .pool = pool, .workspace = workspace};
    tests::run_window(model, batch, context, window);
  }
  return windows;
}

std::vector<Window> run_file(const std::string& file, const std::string& name) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(kPublished / "config.json", folder / "config.json");
  std::filesystem::copy_file(kPublished / file, folder / name);
  return run(folder.path(), expected_windows());
}

TEST(CheckpointFiles, SameLogitsFromEach) {
  const std::vector<Window> expected = expected_windows();
  ASSERT_EQ(expected.size(), 3U);
  std::vector<std::string> warnings;
  set_log_sink([&](LogLevel, std::string_view line) { warnings.emplace_back(line); });
  const std::vector<Window> clean = run_file("clean.safetensors", "model.safetensors");
  for (std::size_t i = 0; i < expected.size(); ++i) {
    tests::expect_logits(clean[i].start, expected[i].start, "start");
    tests::expect_logits(clean[i].end, expected[i].end, "end");
  }
  struct File {
    const char *file, *name;
  };
  for (const File& file : {File{"published.safetensors", "model.safetensors"},
                           {"published.bin", "pytorch_model.bin"},
                           {"published-legacy.bin", "pytorch_model.bin"},
                           {"google.safetensors", "model.safetensors"},
                           {"keras.safetensors", "model.safetensors"}}) {
    const std::vector<Window> actual = run_file(file.file, file.name);
    for (std::size_t i = 0; i < clean.size(); ++i) {
      EXPECT_EQ(actual[i].start, clean[i].start) << file.file;
      EXPECT_EQ(actual[i].end, clean[i].end) << file.file;
    }
  }
  set_log_sink({});
  EXPECT_THAT(warnings, testing::IsEmpty());  // leftovers of pre-training are not worth a word
}

TEST(CheckpointFiles, Shards) {
  const TemporaryFolder folder;
  std::filesystem::copy(kPublished / "shards-bin", folder.path());
  std::filesystem::copy_file(kPublished / "config.json", folder / "config.json");
  const std::vector<Window> clean = run_file("clean.safetensors", "model.safetensors");
  const std::vector<Window> actual = run(folder.path(), expected_windows());
  for (std::size_t i = 0; i < clean.size(); ++i) EXPECT_EQ(actual[i].start, clean[i].start);

  // Errors name the shard, not the index.
  base::json::value config = base::parse_json_file(kPublished / "config.json");
  config.as_object()["vocab_size"] = 61;
  std::ofstream(folder / "config.json") << config;
  try {
    run(folder.path(), {});
    FAIL() << "should not load";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("pytorch_model-00001-of-00003.bin: tensor "
                                        "bert.embeddings.word_embeddings.weight has shape [60, 16]"));
  }
}

TEST(CheckpointFiles, TensorFlowNames) {
  const auto name = [](const char* stored) { return canonical_name(stored, "bert."); };
  EXPECT_EQ(name("bert/embeddings/word_embeddings"), "embeddings.word_embeddings.weight");
  EXPECT_EQ(name("bert/embeddings/LayerNorm/gamma"), "embeddings.LayerNorm.weight");
  EXPECT_EQ(name("bert/encoder/layer_11/output/dense/kernel"), "encoder.layer.11.output.dense.weight");
  EXPECT_EQ(name("bert/encoder/layer_._11/output/dense/bias:0"), "encoder.layer.11.output.dense.bias");
  EXPECT_EQ(name("bert/embeddings/position_embeddings/embeddings:0"),
            "embeddings.position_embeddings.weight");
  EXPECT_EQ(name("cls/squad/output_weights"), "qa_outputs.weight");
  EXPECT_EQ(name("cls/squad/output_bias"), "qa_outputs.bias");
  EXPECT_EQ(name("qa_outputs/kernel:0"), "qa_outputs.weight");
  EXPECT_EQ(name("x/albert_layer_groups_._0/albert_layers_._12/ffn/kernel:0"),
            "x.albert_layer_groups.0.albert_layers.12.ffn.weight");
  EXPECT_TRUE(is_transposed("qa_outputs/kernel:0"));
  EXPECT_TRUE(is_transposed("bert/pooler/dense/kernel"));
  EXPECT_FALSE(is_transposed("cls/squad/output_weights"));
  EXPECT_FALSE(is_transposed("bert.kernel"));
  EXPECT_TRUE(is_ignored(name("bert/encoder/layer_0/output/dense/kernel/adam_m")));
  EXPECT_TRUE(is_ignored(name("cls/predictions/output_bias")));
}

}  // namespace
}  // namespace kvasir::models
