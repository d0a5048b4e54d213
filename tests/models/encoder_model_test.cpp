// Logits of every family against the reference, one window at a time.
#include "models/encoder_model.h"

#include <gtest/gtest.h>

#include "encoder_fixture.h"
#include "test_isa.h"

namespace kvasir::models {
namespace {

using tests::ModelCopy;
using tests::TemporaryFolder;
using tests::Window;

struct Loaded {
  const kernels::Kernels& kernels = kernels::kernels_for(tests::test_isa());
  base::ThreadPool pool{2};
  tensor::Workspace workspace;
  EncoderModel model;

  explicit Loaded(const std::filesystem::path& folder)
      : model(load_encoder_model(folder, Task::kQuestionAnswering, {.kernels = kernels, .pool = pool})) {}

  // Runs one window; the token types only if the model has them.
  Window run(const Window& window) {
    Window result = window;
    const std::int32_t cu_seqlens[] = {0, static_cast<std::int32_t>(window.input_ids.size())};
    const std::int32_t keys[] = {static_cast<std::int32_t>(window.keys)};
    tensor::RaggedBatch batch{.input_ids = window.input_ids,
                              .token_type_ids = window.token_type_ids,
                              .cu_seqlens = cu_seqlens,
                              .key_lengths = {}};
    if (window.keys != window.input_ids.size()) batch.key_lengths = keys;
    ForwardContext context{.kernels = kernels, .pool = pool, .workspace = workspace};
    tests::run_window(model, batch, context, result);
    return result;
  }

  void expect_all(const std::vector<Window>& windows, double tolerance = 1e-4) {
    EXPECT_FALSE(windows.empty());
    for (const Window& window : windows) {
      const Window actual = run(window);
      tests::expect_logits(actual.start, window.start, window.name + " start", tolerance);
      tests::expect_logits(actual.end, window.end, window.name + " end", tolerance);
    }
  }
};

// "deberta-v2" as a test's name: deberta_v2.
std::string test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

class Family : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Family,
                         testing::Values("bert-uncased", "bert-cased", "distilbert", "roberta", "xlm-roberta",
                                         "electra", "albert", "mpnet", "mobilebert", "modernbert",
                                         "deberta-v2", "deberta-v2-conv"),
                         test_name);

TEST_P(Family, LogitsEqualTheReference) {
  Loaded loaded(tests::encoder_folder(GetParam()));
  loaded.expect_all(tests::load_windows(GetParam()));
}

TEST_P(Family, PaddedLogitsEqualTheReference) {
  Loaded loaded(tests::encoder_folder(GetParam()));
  loaded.expect_all(tests::load_padded_windows(GetParam()));
}

// Settings that the families' own folders do not have, alone and padded.
class Variant : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Variant,
                         testing::Values("deberta-c2p", "deberta-p2c", "deberta-clamped", "deberta-no-terms",
                                         "deberta-absolute", "deberta-wide", "deberta-tanh",
                                         "modernbert-biases", "modernbert-window", "albert-groups",
                                         "electra-wide", "mobilebert-one", "mpnet-buckets", "roberta-pad"),
                         test_name);

TEST_P(Variant, LogitsEqualTheReference) {
  const std::string name = std::string("variants/") + GetParam();
  Loaded loaded(tests::encoder_folder(name));
  loaded.expect_all(tests::load_windows(name));
  loaded.expect_all(tests::load_padded_windows(name));
}

// p2p says nothing to the reference.
TEST(EncoderModel, PositionsToPositionsAreIgnored) {
  ModelCopy copy("deberta-v2");
  copy.config["pos_att_type"] = "p2c|c2p|p2p";
  const TemporaryFolder folder;
  copy.write(folder.path());
  Loaded(folder.path()).expect_all(tests::load_windows("deberta-v2"));
}

// The keys that transformers 5 writes in place of older ones.
TEST(EncoderModel, NewKeysOfModernBert) {
  ModelCopy copy("modernbert");
  for (const char* key : {"global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"}) {
    copy.config.erase(key);
  }
  base::json::array types;
  for (int i = 0; i < 4; ++i) types.emplace_back(i % 3 == 0 ? "full_attention" : "sliding_attention");
  copy.config["layer_types"] = types;
  const auto rope = [](double theta) {
    return base::json::object{{"rope_type", "default"}, {"rope_theta", theta}};
  };
  copy.config["rope_parameters"] =
      base::json::object{{"full_attention", rope(160'000)}, {"sliding_attention", rope(10'000)}};
  const TemporaryFolder folder;
  copy.write(folder.path());
  Loaded(folder.path()).expect_all(tests::load_windows("modernbert"));
}

TEST_P(Family, TellsItsSizes) {
  const Loaded loaded(tests::encoder_folder(GetParam()));
  const ModelCopy copy(GetParam());
  std::size_t parameters = 0;
  for (const auto& [name, tensor] : copy.tensors) parameters += tensor.view().elements();
  EXPECT_EQ(loaded.model.parameters(), parameters);
  EXPECT_EQ(loaded.model.facts().family, copy.config.at("model_type").as_string());
  EXPECT_EQ(loaded.model.facts().max_positions, 128u);
  EXPECT_EQ(loaded.model.facts().vocab_size, copy.config.at("vocab_size").to_number<std::size_t>());
  const auto inputs = tests::load_expected(GetParam()).at("model_input_names").as_array();
  const bool has_types = std::ranges::find(inputs, base::json::value("token_type_ids")) != inputs.end();
  EXPECT_EQ(loaded.model.facts().type_vocab_size,
            has_types ? copy.config.at("type_vocab_size").to_number<std::size_t>() : 0U);
}

TEST(EncoderModel, CountsMultiplyAdds) {
  // Two layers of width 32 and inner width 128, by hand: per token 4 · 32² + 2 · 32 · 128, attention 2 · n²
  // · 32.
  const Loaded loaded(tests::encoder_folder("bert-uncased"));
  EXPECT_EQ(loaded.model.multiply_adds(10), 2 * (10 * (4 * 1024 + 8192) + 2 * 100 * 32) + 10 * 64);
}

// Rounded weights in their own type give what the same rounded weights give in fp32.
TEST_P(Family, StoredTypes) {
  const std::vector<Window> windows = tests::load_windows(GetParam());
  for (const tensor::DType dtype : {tensor::DType::kF16, tensor::DType::kBF16, tensor::DType::kF64}) {
    const TemporaryFolder narrow, wide;
    ModelCopy copy(GetParam());
    copy.convert(dtype);
    copy.write(narrow.path());
    copy.convert(tensor::DType::kF32);
    copy.write(wide.path());
    Loaded loaded(narrow.path()), reference(wide.path());
    for (const Window& window : windows) {
      const Window actual = loaded.run(window), expected = reference.run(window);
      EXPECT_EQ(actual.start, expected.start) << window.name << tensor::dtype_name(dtype);
      EXPECT_EQ(actual.end, expected.end) << window.name << tensor::dtype_name(dtype);
    }
    // And stays near the reference: fp16 has 11 bits, bf16 has 8.
    loaded.expect_all({windows.front()}, dtype == tensor::DType::kF64   ? 1e-4
                                         : dtype == tensor::DType::kF16 ? 2e-2
                                                                        : 2e-1);
  }
}

TEST(EncoderModel, OldNames) {
  ModelCopy copy("bert-uncased");
  copy.rename([](std::string name) {
    const auto replace = [&](const std::string& from, const std::string& to) {
      if (name.ends_with(from)) name.replace(name.size() - from.size(), from.size(), to);
    };
    replace("LayerNorm.weight", "LayerNorm.gamma");
    replace("LayerNorm.bias", "LayerNorm.beta");
    return name;
  });
  const std::vector<float> zeros(128 * 32);
  const auto add = [&](const std::string& name, tensor::Shape shape, std::size_t elements) {
    copy.tensors[name] = tests::make_tensor(tensor::DType::kF32, std::move(shape), {zeros.data(), elements});
  };
  copy.tensors["bert.embeddings.position_ids"] = {
      tensor::DType::kI64, {1, 128}, std::vector<std::byte>(128 * 8)};
  add("bert.pooler.dense.weight", {32, 32}, 1024);
  add("bert.pooler.dense.bias", {32}, 32);
  add("cls.predictions.bias", {128}, 128);
  const TemporaryFolder folder;
  copy.write(folder.path());
  Loaded(folder.path()).expect_all(tests::load_windows("bert-uncased"));
}

TEST_P(Family, PrefixMayBeMissingOrDoubled) {
  std::string prefix = ModelCopy(GetParam()).config.at("model_type").as_string().c_str();
  if (prefix == "xlm-roberta") prefix = "roberta";
  if (prefix == "deberta-v2") prefix = "deberta";
  if (prefix == "modernbert") prefix = "model";
  prefix += ".";
  const std::vector<Window> windows = tests::load_windows(GetParam());
  for (const bool doubled : {false, true}) {
    ModelCopy copy(GetParam());
    copy.rename([&](const std::string& name) {
      if (doubled) return prefix + name;
      return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    });
    const TemporaryFolder folder;
    copy.write(folder.path());
    Loaded(folder.path()).expect_all({windows.front()});
  }
}

// Tensors that begin at odd addresses, as a header of odd length makes them.
TEST(EncoderModel, UnalignedFile) {
  const TemporaryFolder folder;
  ModelCopy("bert-cased").write(folder.path());
  std::ifstream in(folder / "model.safetensors", std::ios::binary);
  std::string file{std::istreambuf_iterator<char>(in), {}};
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  file.insert(8 + length, " ");
  ++length;
  std::memcpy(file.data(), &length, 8);
  std::ofstream(folder / "model.safetensors", std::ios::binary) << file;
  Loaded(folder.path()).expect_all(tests::load_windows("bert-cased"));
}

TEST(EncoderModel, OtherActivations) {
  // tanh-GELU differs from erf-GELU by up to 5e-4: near the reference, and not equal to it; ReLU is far.
  const Window window = tests::load_windows("bert-uncased").front();
  const auto largest_error = [&](const char* activation) {
    ModelCopy copy("bert-uncased");
    copy.config["hidden_act"] = activation;
    const TemporaryFolder folder;
    copy.write(folder.path());
    const Window actual = Loaded(folder.path()).run(window);
    float error = 0;
    for (std::size_t i = 0; i < actual.start.size(); ++i) {
      error = std::max(error, std::abs(actual.start[i] - window.start[i]));
    }
    return error;
  };
  const float exact = largest_error("gelu");
  for (const char* name : {"gelu_new", "gelu_pytorch_tanh"}) {
    EXPECT_GT(largest_error(name), 2 * exact);
    EXPECT_LT(largest_error(name), 0.05F);
  }
  EXPECT_GT(largest_error("relu"), 0.05F);
}

}  // namespace
}  // namespace kvasir::models
