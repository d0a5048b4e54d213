// Models written as GGUF compute and converse as the folders that they come from. That llama.cpp reads them
// too was tried with llama-cpp-python 0.3.36 (docs/language-models.md).
#include "export/gguf_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <random>

#include "base/cpu.h"
#include "decoder_fixture.h"
#include "formats/gguf.h"
#include "kvasir/generator.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir::exporting {
namespace {

using base::json::object;
using tensor::DType;
using testing::HasSubstr;
using tests::TemporaryFolder;

Generator load(const std::filesystem::path& model) {
  return Generator::load(model, {.threads = 2, .isa = base::isa_name(tests::test_isa())});
}

std::string error_of(const std::filesystem::path& folder, const std::filesystem::path& out) {
  try {
    export_gguf(folder, out, {.threads = 1});
  } catch (const Error& error) {
    EXPECT_FALSE(std::filesystem::exists(out));
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

class GgufExportFixtures : public testing::TestWithParam<const char*> {};

TEST_P(GgufExportFixtures, WritesWhatTransformersWrites) {
  const TemporaryFolder folder;
  const std::filesystem::path out = folder / "model.gguf";
  export_gguf(tests::decoder_folder(GetParam()), out, {.type = DType::kF32, .threads = 2});
  const Generator generator = load(out);
  for (const tests::DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    const GenerateResult result = generator.generate(prompt.text, {.max_new_tokens = 24});
    EXPECT_EQ(result.prompt_ids, prompt.input_ids) << prompt.id;
    ASSERT_EQ(result.sequences.size(), 1U);
    EXPECT_EQ(result.sequences[0].ids, prompt.greedy_ids) << prompt.id;
    EXPECT_EQ(result.sequences[0].text, std::string(prompt.json.at("greedy_text").as_string())) << prompt.id;
    for (std::size_t i = 0; i < prompt.greedy_ids.size(); ++i) {
      EXPECT_NEAR(result.sequences[0].logprobs[i], prompt.greedy_logprobs[i], 1e-3) << prompt.id;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, GgufExportFixtures,
                         testing::Values("llama-mha", "llama-gqa", "llama-linear4", "falcon-7b-style",
                                         "falcon-11b-style", "falcon-40b-style", "bloom", "mpt",
                                         "mpt-6heads-clip"),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// A folder with the tokenizer of a golden model.
void copy_folder(const std::string& name, const std::filesystem::path& to) {
  std::filesystem::copy(tests::decoder_folder(name), to);
}
void write_config(const std::filesystem::path& folder, const object& config) {
  std::ofstream(folder / "config.json") << base::json::serialize(config);
}
object read_config(const std::filesystem::path& folder) {
  return base::parse_json_file(folder / "config.json").as_object();
}

// A Llama with random weights whose rows are whole quants of every type, but for one matrix.
constexpr std::int64_t kWidth = 256, kInner = 288, kRows = 620;
void write_wide_llama(const std::filesystem::path& folder, bool tied, float poison = 0) {
  copy_folder("llama-gqa", folder);
  object config = read_config(folder);
  config["hidden_size"] = kWidth;
  config["intermediate_size"] = kInner;
  config["num_hidden_layers"] = 1;
  config["head_dim"] = kWidth / 4;
  config["tie_word_embeddings"] = tied;
  write_config(folder, config);
  std::mt19937 random(3);
  std::vector<std::vector<float>> values;
  std::vector<formats::NamedTensor> tensors;
  const auto add = [&](const std::string& name, const tensor::Shape& shape) {
    std::normal_distribution<float> normal(shape.size() == 1 ? 1.0F : 0.0F, shape.size() == 1 ? 0.1F : 0.03F);
    const tensor::TensorView view{DType::kF32, shape, nullptr};
    std::vector<float>& list = values.emplace_back(view.elements());
    for (float& value : list) value = normal(random);
    tensors.push_back({name, {DType::kF32, shape, reinterpret_cast<const std::byte*>(list.data())}});
  };
  add("model.embed_tokens.weight", {kRows, kWidth});
  add("model.norm.weight", {kWidth});
  if (!tied) add("lm_head.weight", {kRows, kWidth});
  const std::string at = "model.layers.0.";
  for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
    add(at + norm + ".weight", {kWidth});
  for (const char* part : {"q", "k", "v", "o"}) {
    const bool shared = *part == 'k' || *part == 'v';
    add(at + "self_attn." + part + "_proj.weight", {shared ? kWidth / 2 : kWidth, kWidth});
  }
  for (const char* part : {"gate", "up"}) add(at + "mlp." + part + "_proj.weight", {kInner, kWidth});
  add(at + "mlp.down_proj.weight", {kWidth, kInner});
  if (poison != 0) values.back()[5] = poison;
  std::filesystem::remove(folder / "model.safetensors");
  formats::write_safetensors(folder / "model.safetensors", tensors);
}

std::vector<float> logits_of(const std::filesystem::path& model) {
  std::vector<float> all;
  load(model).logits({1, 300, 17, 411, 260}, [&](std::size_t, const std::vector<float>& row) {
    all.insert(all.end(), row.begin(), row.end());
  });
  return all;
}

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    off += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(off / size);
}

TEST(GgufExport, RoundsMatricesAndKeepsVectors) {
  const TemporaryFolder folder;
  write_wide_llama(folder / "wide", false);
  const std::vector<float> exact = logits_of(folder / "wide");
  struct Row {
    const char* type;
    DType matrices, down, head;
    double error;  // of the logits; 1.5 times what it is
  };
  for (const Row& row : {Row{"f32", DType::kF32, DType::kF32, DType::kF32, 1e-6},
                         {"f16", DType::kF16, DType::kF16, DType::kF16, 8e-4},
                         {"q8_0", DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, 0.024},
                         {"q6_k", DType::kQ6_K, DType::kQ8_0, DType::kQ6_K, 0.058},
                         {"q4_0", DType::kQ4_0, DType::kQ4_0, DType::kQ6_K, 0.27},
                         {"q4_k", DType::kQ4_K, DType::kQ5_0, DType::kQ6_K, 0.24}}) {
    SCOPED_TRACE(row.type);
    const std::filesystem::path out = folder / (std::string(row.type) + ".gguf");
    const GgufExportReport report =
        export_gguf(folder / "wide", out, {.type = *parse_gguf_type(row.type), .threads = 2});
    const formats::GgufFile file(out);
    EXPECT_EQ(report.tensors.size(), file.tensors().size());
    const auto dtype = [&](const char* name) { return file.tensors().at(name).view.dtype; };
    EXPECT_EQ(dtype("token_embd.weight"), row.matrices);
    EXPECT_EQ(dtype("blk.0.attn_q.weight"), row.matrices);
    EXPECT_EQ(dtype("blk.0.ffn_down.weight"), row.down);  // rows of 288
    EXPECT_EQ(dtype("output.weight"), row.head);
    EXPECT_EQ(dtype("blk.0.attn_norm.weight"), DType::kF32);
    std::uint64_t bytes = 0;
    for (const auto& [name, tensor] : file.tensors()) bytes += tensor.view.bytes();
    EXPECT_EQ(report.bytes_after, bytes);
    const double error = relative_error(logits_of(out), exact);
    EXPECT_LT(error, row.error);
  }
  EXPECT_EQ(parse_gguf_type("q5_k"), std::nullopt);
}

TEST(GgufExport, ATiedTableIsTheHead) {
  const TemporaryFolder folder;
  write_wide_llama(folder / "wide", true);
  export_gguf(folder / "wide", folder / "tied.gguf", {.type = DType::kQ4_K, .threads = 1});
  const formats::GgufFile file(folder / "tied.gguf");
  EXPECT_FALSE(file.tensors().contains("output.weight"));
  EXPECT_EQ(file.tensors().at("token_embd.weight").view.dtype, DType::kQ6_K);
}

TEST(GgufExport, MetadataOfTokenizerAndTemplate) {
  const TemporaryFolder folder;
  copy_folder("llama-gqa", folder / "m");
  std::ofstream(folder / "m" / "chat_template.jinja") << "{{ messages }}";
  export_gguf(folder / "m", folder / "m.gguf", {.type = DType::kF16, .threads = 1});
  const formats::GgufFile file(folder / "m.gguf");
  const formats::GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(metadata.string("general.architecture"), "llama");
  EXPECT_EQ(metadata.string("general.name"), "m");
  EXPECT_EQ(metadata.integer("general.file_type", 0, 99), 1);
  EXPECT_EQ(metadata.string("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(metadata.string("tokenizer.chat_template"), "{{ messages }}");
  EXPECT_EQ(metadata.strings("tokenizer.ggml.tokens").size(), 620U);
  EXPECT_TRUE(metadata.boolean_or("tokenizer.ggml.add_bos_token", false));
  EXPECT_FALSE(metadata.boolean_or("tokenizer.ggml.add_eos_token", true));
  const auto types = metadata.integers("tokenizer.ggml.token_type");
  EXPECT_THAT(std::vector<std::int64_t>(types.begin(), types.begin() + 4), testing::ElementsAre(2, 3, 3, 6));
  // A vocabulary that ends before the table does is filled up.
  copy_folder("bloom", folder / "b");
  export_gguf(folder / "b", folder / "b.gguf", {.type = DType::kF16, .threads = 1});
  const formats::GgufFile bloom(folder / "b.gguf");
  EXPECT_EQ(bloom.metadata().strings("tokenizer.ggml.tokens").back(), "[PAD547]");
  EXPECT_EQ(bloom.metadata().string("tokenizer.ggml.pre"), "bloom");
  EXPECT_TRUE(bloom.tensors().contains("output.weight"));  // llama.cpp wants a copy
}

// tokenizer.model alone, as the first Vicunas have it, gives the same.
TEST(GgufExport, SentencePieceAlone) {
  const TemporaryFolder folder;
  copy_folder("llama-gqa", folder / "m");
  std::filesystem::copy(std::filesystem::path(KVASIR_TEST_DATA) / "tokenizers/llama/tokenizer.model",
                        folder / "m");
  export_gguf(folder / "m", folder / "json.gguf", {.type = DType::kF16, .threads = 1});
  std::filesystem::remove(folder / "m" / "tokenizer.json");
  export_gguf(folder / "m", folder / "spm.gguf", {.type = DType::kF16, .threads = 1});
  const Generator a = load(folder / "json.gguf"), b = load(folder / "spm.gguf");
  for (const tests::DecoderPrompt& prompt : tests::load_prompts("llama-gqa")) {
    EXPECT_EQ(b.generate(prompt.text, {.max_new_tokens = 1}).prompt_ids, prompt.input_ids);
    EXPECT_EQ(a.generate(prompt.text, {.max_new_tokens = 1}).prompt_ids, prompt.input_ids);
  }
}

TEST(GgufExport, RefusesWhatGgufCannotSay) {
  const TemporaryFolder folder;
  for (const auto& [model, message] :
       {std::pair{"llama-dynamic", "rope_scaling of type dynamic cannot be said in GGUF"},
        {"falcon-rw-style", "alibi = true cannot be said"},
        {"bloom-postln-residual", "apply_residual_connection_post_layernorm = true cannot be said"},
        {"mpt-softmax-scale", "softmax_scale = 4E-1 cannot be said"}}) {
    const std::string error = error_of(tests::decoder_folder(model), folder / "x.gguf");
    EXPECT_THAT(error, HasSubstr("unsupported: "));
    EXPECT_THAT(error, HasSubstr(message));
  }
}

TEST(GgufExport, RefusesWhatIsWrong) {
  const TemporaryFolder folder;
  int number = 0;
  const auto with = [&](const char* key, const base::json::value& value) {
    const std::filesystem::path copy = folder / std::to_string(number++);
    copy_folder("llama-gqa", copy);
    object config = read_config(copy);
    config[key] = value;
    write_config(copy, config);
    return error_of(copy, folder / "x.gguf");
  };
  EXPECT_THAT(with("model_type", "bert"), HasSubstr("model_type bert is not supported in GGUF"));
  EXPECT_THAT(with("vocab_size", 600), HasSubstr("the tokenizer has 620 tokens"));
  EXPECT_THAT(with("num_hidden_layers", 3), HasSubstr("tensor model.layers.2."));
  EXPECT_THAT(with("num_hidden_layers", 1), HasSubstr("has 1 layers, and the weights have more"));
  EXPECT_THAT(with("hidden_act", "gelu"), HasSubstr("hidden_act = \"gelu\" cannot be said"));
  EXPECT_THAT(error_of(folder / "none", folder / "x.gguf"), HasSubstr("not_found: "));
  write_wide_llama(folder / "nan", false, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(error_of(folder / "nan", folder / "x.gguf"), HasSubstr("blk.0.ffn_down.weight holds NaN"));
}

}  // namespace
}  // namespace kvasir::exporting
