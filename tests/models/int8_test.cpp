// Models computed with bytes or bfloat16: near what they give in fp32, the same however the work is cut, and
// what their files may be.
#include "kernels/int8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "encoder_fixture.h"
#include "kvasir/error.h"
#include "models/encoder_model.h"
#include "models/inventory.h"
#include "test_isa.h"

namespace kvasir::models {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using tests::ModelCopy;
using tests::TemporaryFolder;
using tests::Window;

struct Loaded {
  const kernels::Kernels& kernels = kernels::kernels_for(tests::test_isa());
  base::ThreadPool pool;
  tensor::Workspace workspace;
  std::unique_ptr<Worker[]> workers;
  EncoderModel model;

  Loaded(const std::filesystem::path& folder, Precision precision, int threads = 2)
      : pool(threads),
        workers(std::make_unique<Worker[]>(static_cast<std::size_t>(threads))),
        model(load_encoder_model(folder, Task::kQuestionAnswering,
                                 {.kernels = kernels, .pool = pool, .precision = precision})) {}

  // Start and end logits of windows in one batch. by_rows: row chunks on workers of their
  // own.
  std::vector<float> run(const std::vector<Window>& windows, bool by_rows = true) {
    std::vector<std::int32_t> ids, types, cu_seqlens = {0}, keys;
    for (const Window& w : windows) {
      ids.insert(ids.end(), w.input_ids.begin(), w.input_ids.end());
      types.insert(types.end(), w.token_type_ids.begin(), w.token_type_ids.end());
      types.resize(ids.size(), 0);
      cu_seqlens.push_back(static_cast<std::int32_t>(ids.size()));
      keys.push_back(static_cast<std::int32_t>(w.keys));
    }
    std::vector<float> logits(2 * ids.size());
    ForwardContext context{.kernels = kernels, .pool = pool, .workspace = workspace};
    if (by_rows) context.workers = {workers.get(), static_cast<std::size_t>(pool.size())};
    model.run({.input_ids = ids, .token_type_ids = types, .cu_seqlens = cu_seqlens, .key_lengths = keys},
              context, logits);
    return logits;
  }
};

std::string test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

class Int8Family : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Int8Family,
                         testing::Values("bert-uncased", "distilbert", "roberta", "electra", "albert",
                                         "mpnet", "mobilebert", "modernbert", "deberta-v2",
                                         "deberta-v2-conv"),
                         test_name);

// Each product is off by 1 %. The models are random, so that nothing in them evens out: it becomes a few
// percent of the logits' spread, in ModernBERT, whose layers add up without norms in between, more.
TEST_P(Int8Family, IsNearFp32) {
  const std::vector<Window> windows = tests::load_windows(GetParam());
  Loaded fp32(tests::encoder_folder(GetParam()), Precision::kFp32);
  Loaded int8(tests::encoder_folder(GetParam()), Precision::kInt8);
  const std::vector<float> exact = fp32.run(windows), rounded = int8.run(windows);
  double mean = 0, squares = 0, errors = 0;
  for (const float x : exact) mean += static_cast<double>(x) / static_cast<double>(exact.size());
  for (std::size_t i = 0; i < exact.size(); ++i) {
    squares += std::pow(static_cast<double>(exact[i]) - mean, 2);
    errors += std::pow(static_cast<double>(exact[i]) - static_cast<double>(rounded[i]), 2);
  }
  EXPECT_LT(std::sqrt(errors / squares), GetParam() == std::string("modernbert") ? 0.2 : 0.1);
  EXPECT_GT(errors, 0);  // it did compute with bytes
}

TEST_P(Int8Family, Bf16IsNearerToFp32) {
  const std::vector<Window> windows = tests::load_windows(GetParam());
  const auto logits = [&](Precision precision) {
    return Loaded(tests::encoder_folder(GetParam()), precision).run(windows);
  };
  const std::vector<float> exact = logits(Precision::kFp32);
  const auto error = [&](const std::vector<float>& x) {
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i] - exact[i]), 2);
    return sum;
  };
  const std::vector<float> bf16 = logits(Precision::kBf16);
  if (kernels::bf16_kernels_for(tests::test_isa()) == nullptr) {
    EXPECT_EQ(bf16, exact);
    return;
  }
  EXPECT_GT(error(bf16), 0);
  EXPECT_LT(error(bf16), error(logits(Precision::kInt8)));
}

void expect_independence(const char* family, Precision precision) {
  std::vector<Window> windows = tests::load_windows(family);
  windows.resize(std::min<std::size_t>(windows.size(), 8));
  Loaded model(tests::encoder_folder(family), precision);
  const std::vector<float> together = model.run(windows);
  EXPECT_EQ(model.run(windows, false), together);
  for (const int threads : {1, 3}) {
    EXPECT_EQ(Loaded(tests::encoder_folder(family), precision, threads).run(windows), together);
  }
  auto at = together.begin();
  for (const Window& window : windows) {
    const std::vector<float> alone = model.run({window});
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), at)) << window.name;
    at += static_cast<std::ptrdiff_t>(alone.size());
  }
  EXPECT_EQ(at, together.end());
}

TEST_P(Int8Family, DoesNotDependOnBatchThreadsOrChunks) {
  expect_independence(GetParam(), Precision::kInt8);
  expect_independence(GetParam(), Precision::kBf16);
}

// A folder whose matrices are stored as bytes, by hand.
constexpr const char* kQuery = "bert.encoder.layer.0.attention.self.query.weight";

void store_as_bytes(ModelCopy& copy) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : copy.tensors) {
    if (name.ends_with(".weight") && tensor.shape.size() == 2 && tensor.shape[0] >= 16) names.push_back(name);
  }
  for (const std::string& name : names) {
    auto& tensor = copy.tensors.at(name);
    const auto rows = static_cast<std::size_t>(tensor.shape[0]),
               columns = static_cast<std::size_t>(tensor.shape[1]);
    std::vector<float> values(rows * columns), scales(rows);
    tensor.view().read_floats(0, values);
    std::vector<std::byte> bytes(rows * columns);
    for (std::size_t row = 0; row < rows; ++row) {
      scales[row] = kernels::quantize_weights(std::span(values).subspan(row * columns, columns),
                                              reinterpret_cast<std::int8_t*>(bytes.data()) + row * columns);
    }
    tensor.dtype = tensor::DType::kI8;
    tensor.bytes = bytes;
    auto& scale = copy.tensors[name + "_scale"];
    scale.dtype = tensor::DType::kF32;
    scale.shape = {tensor.shape[0]};
    scale.bytes.resize(rows * sizeof(float));
    std::memcpy(scale.bytes.data(), scales.data(), scale.bytes.size());
  }
}

TEST(Int8Files, BytesAreComputedAsTheyAre) {
  ModelCopy copy("bert-uncased");
  store_as_bytes(copy);
  const TemporaryFolder folder;
  copy.write(folder.path());
  const std::vector<Window> windows = tests::load_windows("bert-uncased");
  const std::vector<float> stored = Loaded(folder.path(), Precision::kAuto).run(windows);
  EXPECT_EQ(Loaded(folder.path(), Precision::kInt8).run(windows), stored);
  // As floats again: products are exact now, activations are not rounded.
  const std::vector<float> floats = Loaded(folder.path(), Precision::kFp32).run(windows);
  double largest = 0, error = 0;
  for (std::size_t i = 0; i < floats.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(floats[i])));
    error = std::max(error, std::abs(static_cast<double>(floats[i] - stored[i])));
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 0.2 * largest);
}

TEST(Int8Files, AutoKeepsFloatsAsFloats) {
  const std::vector<Window> windows = tests::load_windows("distilbert");
  EXPECT_EQ(Loaded(tests::encoder_folder("distilbert"), Precision::kAuto).run(windows),
            Loaded(tests::encoder_folder("distilbert"), Precision::kFp32).run(windows));
}

std::string error_after(const std::function<void(ModelCopy&)>& change) {
  ModelCopy copy("bert-uncased");
  store_as_bytes(copy);
  change(copy);
  const TemporaryFolder folder;
  copy.write(folder.path());
  try {
    Loaded(folder.path(), Precision::kAuto);
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

TEST(Int8Files, ErrorsNameTheTensor) {
  EXPECT_EQ(error_after([](ModelCopy&) {}), "none");
  EXPECT_THAT(error_after([](ModelCopy& c) { c.tensors.erase(std::string(kQuery) + "_scale"); }),
              AllOf(HasSubstr("format: "), HasSubstr(kQuery), HasSubstr("there is no tensor")));
  EXPECT_THAT(error_after([](ModelCopy& c) {
                auto& scale = c.tensors.at(std::string(kQuery) + "_scale");
                scale.shape[0] -= 1;
                scale.bytes.resize(scale.bytes.size() - sizeof(float));
              }),
              AllOf(HasSubstr("format: "), HasSubstr("_scale is F32 [31]"), HasSubstr("should be F32 [32]")));
  EXPECT_THAT(error_after([](ModelCopy& c) {
                const float bad = NAN;
                std::memcpy(c.tensors.at(std::string(kQuery) + "_scale").bytes.data(), &bad, sizeof bad);
              }),
              AllOf(HasSubstr("format: "), HasSubstr("_scale holds NaN")));
  EXPECT_THAT(error_after([](ModelCopy& c) {
                c.tensors.at(kQuery).bytes[0] = c.tensors.at(kQuery).bytes[1] = std::byte{127};
              }),
              AllOf(HasSubstr("format: "), HasSubstr(kQuery), HasSubstr("kvasir quantize")));
  EXPECT_THAT(error_after([](ModelCopy& c) {
                auto& norm = c.tensors.at("bert.embeddings.LayerNorm.weight");
                norm.dtype = tensor::DType::kI8;
                norm.bytes.resize(static_cast<std::size_t>(norm.shape[0]));
              }),
              AllOf(HasSubstr("unsupported: "), HasSubstr("LayerNorm.weight is of type I8")));
}

TEST(Int8Files, InventoryListsWhatWasLoaded) {
  Inventory inventory;
  base::ThreadPool pool(1);
  const auto model = load_encoder_model(tests::encoder_folder("bert-uncased"), Task::kQuestionAnswering,
                                        {.kernels = kernels::kernels_for(tests::test_isa()),
                                         .pool = pool,
                                         .precision = Precision::kAuto,
                                         .inventory = &inventory});
  std::size_t parameters = 0, matrices = 0;
  for (const Inventory::Entry& entry : inventory.entries) {
    parameters += entry.view.elements();
    matrices += entry.kind == Inventory::Kind::kMatrix ? 1 : 0;
  }
  EXPECT_EQ(parameters, model.parameters());
  EXPECT_EQ(matrices, 2 * 6 + 1U);
}

}  // namespace
}  // namespace kvasir::models
