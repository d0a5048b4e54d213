// A random model of BERT-large's shape (24 layers, 1024 wide, 16 heads, 4096 inner, fp16): loads, runs, and
// needs no more memory than it should. Takes 670 MB of disk, so only with KVASIR_SLOW_TESTS=1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

#include "encoder_fixture.h"
#include "models/encoder_model.h"
#include "test_isa.h"

namespace kvasir::models {
namespace {

using tensor::Shape;

constexpr std::size_t kHidden = 1024, kInner = 4096, kVocabulary = 30522, kPositions = 512, kLayers = 24;

// The tensors of such a model. Their values repeat, so that writing them takes no memory to speak of.
class RandomModel {
 public:
  RandomModel() : values_(kVocabulary * kHidden) {
    std::uint32_t state = 1;  // a linear congruential generator (Numerical Recipes)
    for (std::uint16_t& value : values_) {
      state = state * 1664525 + 1013904223;
      value = tensor::float_to_half((static_cast<float>(state >> 8) * 0x1p-24F - 0.5F) * 0.07F);  // σ = 0.02
    }
    add("bert.embeddings.word_embeddings.weight", {kVocabulary, kHidden});
    add("bert.embeddings.position_embeddings.weight", {kPositions, kHidden});
    add("bert.embeddings.token_type_embeddings.weight", {2, kHidden});
    add_norm("bert.embeddings.LayerNorm");
    for (std::size_t i = 0; i < kLayers; ++i) {
      const std::string at = "bert.encoder.layer." + std::to_string(i) + ".";
      for (const char* name : {"query", "key", "value"})
        add_linear(at + "attention.self." + name, kHidden, kHidden);
      add_linear(at + "attention.output.dense", kHidden, kHidden);
      add_norm(at + "attention.output.LayerNorm");
      add_linear(at + "intermediate.dense", kInner, kHidden);
      add_linear(at + "output.dense", kHidden, kInner);
      add_norm(at + "output.LayerNorm");
    }
    add_linear("qa_outputs", 2, kHidden);
  }

  void write(const std::filesystem::path& folder) const {
    std::ofstream(folder / "config.json")
        << R"({"model_type":"bert","vocab_size":30522,"hidden_size":1024,"num_hidden_layers":24,)"
        << R"("num_attention_heads":16,"intermediate_size":4096,"max_position_embeddings":512})";
    formats::write_safetensors(folder / "model.safetensors", tensors_);
  }
  std::size_t parameters() const {
    return std::accumulate(tensors_.begin(), tensors_.end(), std::size_t{0},
                           [](std::size_t sum, const auto& t) { return sum + t.view.elements(); });
  }

 private:
  void add(const std::string& name, const Shape& shape) {
    tensor::TensorView view{tensor::DType::kF16, shape, nullptr};
    offset_ = (offset_ + 12345) % (values_.size() - view.elements() + 1);
    view.data = reinterpret_cast<const std::byte*>(values_.data() + offset_);
    tensors_.push_back({name, view});
  }
  void add_linear(const std::string& name, std::size_t out, std::size_t in) {
    add(name + ".weight", {static_cast<std::int64_t>(out), static_cast<std::int64_t>(in)});
    add(name + ".bias", {static_cast<std::int64_t>(out)});
  }
  void add_norm(const std::string& name) {
    add(name + ".weight", {kHidden});
    add(name + ".bias", {kHidden});
  }

  std::vector<std::uint16_t> values_;
  std::size_t offset_ = 0;
  std::vector<formats::NamedTensor> tensors_;
};

// Peak of this process's memory so far, in bytes. (Sanitizers have memory of their own, and do not ask.)
[[maybe_unused]] std::size_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::stoul(line.substr(6)) * 1024;
  }
  return 0;
}

TEST(LargeModel, LoadsAndRuns) {
  if (std::getenv("KVASIR_SLOW_TESTS") == nullptr) GTEST_SKIP() << "set KVASIR_SLOW_TESTS=1";
  const tests::TemporaryFolder folder;
  std::size_t parameters = 0;
  {
    const RandomModel model;
    parameters = model.parameters();
    model.write(folder.path());
  }
  base::ThreadPool pool(2);
  const kernels::Kernels& kernels = kernels::kernels_for(tests::test_isa());
  const auto model =
      load_encoder_model(folder.path(), Task::kQuestionAnswering, {.kernels = kernels, .pool = pool});
  EXPECT_EQ(model.parameters(), parameters);
  EXPECT_GT(parameters, 330'000'000u);

  tensor::Workspace workspace;
  ForwardContext context{.kernels = kernels, .pool = pool, .workspace = workspace};
  const auto run = [&](std::span<const std::int32_t> ids, std::vector<std::int32_t> cu_seqlens) {
    std::vector<float> logits(2 * ids.size());
    model.run({.input_ids = ids, .token_type_ids = {}, .cu_seqlens = cu_seqlens, .key_lengths = {}}, context,
              logits);
    return logits;
  };
  std::vector<std::int32_t> ids(24);
  std::iota(ids.begin(), ids.end(), 1000);
  const std::vector<float> alone = run(std::span(ids).first(10), {0, 10});
  const std::vector<float> together = run(ids, {0, 10, 24});
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(std::isfinite(alone[i]));
    EXPECT_EQ(alone[i], together[i]);
  }
  EXPECT_NE(alone[0], alone[2]);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const std::size_t file = std::filesystem::file_size(folder / "model.safetensors");
  EXPECT_LT(peak_memory(), 2 * file + 100'000'000);
#endif
}

}  // namespace
}  // namespace kvasir::models
