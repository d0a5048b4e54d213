// Language models against the logits of transformers, and that what a token computes depends on nothing but
// what precedes it.
#include "models/causal_lm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "decoder_fixture.h"
#include "test_isa.h"

namespace kvasir::models {
namespace {

using tests::DecoderPrompt;
using tests::PagesOfOne;

// A model with all that it runs on.
struct Running {
  explicit Running(const std::string& name, int threads = 2, kernels::KvType type = kernels::KvType::kF32)
      : Running(tests::decoder_folder(name), threads, type) {}
  Running(const std::filesystem::path& folder, int threads, kernels::KvType type)
      : pool(threads),
        model(load_causal_lm(folder, {.kernels = kernels::kernels_for(tests::test_isa()), .pool = pool})),
        kv(model->kv_shape(type)) {}

  // Logits of the last `count` tokens of a piece of a sequence.
  std::vector<float> run(std::span<const std::int32_t> ids, std::size_t past, PagesOfOne& pages,
                         std::size_t count = 1) {
    const DecoderSequence sequence{
        .tokens = ids.size(), .past = past, .pages = pages.room_for(past + ids.size())};
    std::vector<std::int32_t> outputs(count);
    std::iota(outputs.begin(), outputs.end(), static_cast<std::int32_t>(ids.size() - count));
    return run({.input_ids = ids, .sequences = {&sequence, 1}, .outputs = outputs});
  }
  std::vector<float> run(const DecoderBatch& batch) {
    std::vector<float> out(batch.outputs.size() * model->vocab_size());
    ForwardContext context{
        .kernels = kernels::kernels_for(tests::test_isa()), .pool = pool, .workspace = workspace};
    model->logits(batch, kv, context, out.data());
    return out;
  }

  base::ThreadPool pool;
  tensor::Workspace workspace;
  std::unique_ptr<const CausalLm> model;
  KvShape kv;
};

void expect_near(std::span<const float> got, const DecoderPrompt& prompt, float tolerance = 1e-4F) {
  const float allowed = tolerance * tests::scale_of(prompt.logits);
  float worst = 0;
  for (std::size_t row = 0; row < prompt.logits.size(); ++row) {
    for (std::size_t i = 0; i < prompt.logits[row].size(); ++i) {
      worst = std::max(worst, std::abs(got[row * prompt.logits[row].size() + i] - prompt.logits[row][i]));
    }
  }
  EXPECT_LE(worst, allowed) << prompt.id;
}

class CausalLmFixtures : public testing::TestWithParam<std::string> {};

TEST_P(CausalLmFixtures, LogitsOfPrompts) {
  Running running(GetParam());
  for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    PagesOfOne pages(running.kv);
    const std::vector<float> got = running.run(prompt.input_ids, 0, pages, prompt.logits.size());
    expect_near(got, prompt);
  }
}

TEST_P(CausalLmFixtures, GreedyContinuations) {
  Running running(GetParam());
  for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    PagesOfOne pages(running.kv);
    std::vector<std::int32_t> ids = prompt.input_ids, next = ids;
    std::size_t past = 0;
    std::vector<std::int32_t> generated;
    for (std::size_t i = 0; i < prompt.greedy_ids.size(); ++i) {
      const std::vector<float> logits = running.run(next, past, pages);
      past += next.size();
      const auto best = std::ranges::max_element(logits);
      double sum = 0;
      for (const float x : logits) sum += std::exp(static_cast<double>(x) - static_cast<double>(*best));
      EXPECT_NEAR(-std::log(sum), static_cast<double>(prompt.greedy_logprobs[i]), 1e-3) << prompt.id;
      next.assign(1, static_cast<std::int32_t>(best - logits.begin()));
      generated.push_back(next[0]);
    }
    EXPECT_EQ(generated, prompt.greedy_ids) << prompt.id;
  }
}

// The bits of a token's logits are the same in a batch, on another number of threads, and with what precedes
// it computed in pieces.
void expect_to_depend_on_nothing_else(const std::string& name, kernels::KvType type) {
  Running running(name, 2, type), single(name, 1, type);
  const std::vector<DecoderPrompt> prompts = tests::load_prompts(name);
  const std::size_t vocabulary = running.model->vocab_size();
  std::vector<PagesOfOne> pages;
  for (std::size_t i = 0; i < prompts.size(); ++i) pages.emplace_back(running.kv);
  std::vector<std::int32_t> ids, outputs;
  std::vector<DecoderSequence> sequences;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto& prompt = prompts[i].input_ids;
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    outputs.push_back(static_cast<std::int32_t>(ids.size() - 1));
    sequences.push_back({.tokens = prompt.size(), .past = 0, .pages = pages[i].room_for(prompt.size())});
  }
  const std::vector<float> together =
      running.run({.input_ids = ids, .sequences = sequences, .outputs = outputs});
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::vector<float> expected(together.begin() + static_cast<std::ptrdiff_t>(i * vocabulary),
                                      together.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocabulary));
    const std::span<const std::int32_t> prompt = prompts[i].input_ids;
    PagesOfOne alone(running.kv);
    EXPECT_EQ(single.run(prompt, 0, alone), expected) << prompts[i].id;
    if (prompt.size() > running.model->sharable_positions()) continue;
    for (const std::size_t step : {1U, 7U, 16U}) {
      PagesOfOne cached(running.kv);
      std::vector<float> last;
      for (std::size_t at = 0; at < prompt.size(); at += step) {
        last = running.run(prompt.subspan(at, std::min<std::size_t>(step, prompt.size() - at)), at, cached);
      }
      EXPECT_EQ(last, expected) << prompts[i].id << " by " << step;
    }
  }
}

TEST_P(CausalLmFixtures, DependOnNothingElse) {
  for (const kernels::KvType type : {kernels::KvType::kF32, kernels::KvType::kF16, kernels::KvType::kQ8_0}) {
    expect_to_depend_on_nothing_else(GetParam(), type);
  }
}

// Keys and values in half precision move logits by less than a hundredth of their scale, as bytes by less
// than a tenth: these random models amplify what is off.
TEST_P(CausalLmFixtures, SmallerCaches) {
  for (const auto& [type, tolerance] :
       {std::pair(kernels::KvType::kF16, 1e-2F), std::pair(kernels::KvType::kQ8_0, 1e-1F)}) {
    Running running(GetParam(), 2, type);
    for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
      PagesOfOne pages(running.kv);
      expect_near(running.run(prompt.input_ids, 0, pages, prompt.logits.size()), prompt, tolerance);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, CausalLmFixtures, testing::ValuesIn(tests::decoder_names()),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace kvasir::models
