// Texts that go on where the model's context ends: as after a prompt of what was kept.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/cpu.h"
#include "decoder_fixture.h"
#include "kvasir/generator.h"
#include "test_isa.h"

namespace kvasir {
namespace {

using Ids = std::vector<std::int32_t>;

Generator load(const std::string& name, GeneratorOptions options = {}) {
  options.isa = base::isa_name(tests::test_isa());
  options.threads = 2;
  return Generator::load(tests::decoder_folder(name), options);
}

// A generator whose memory, and so its context, holds so many pages of 16 tokens.
Generator load_small(const std::string& name, std::size_t pages) {
  base::ThreadPool pool(1);
  const auto model = models::load_causal_lm(
      tests::decoder_folder(name), {.kernels = kernels::kernels_for(tests::test_isa()), .pool = pool});
  return load(name, {.kv_bytes = pages * model->kv_shape(kernels::KvType::kF32).page_bytes()});
}

// What is left of ids that fill the context.
void drop_half(Ids& ids, std::size_t keep) {
  const auto first = ids.begin() + static_cast<std::ptrdiff_t>(keep);
  ids.erase(first, first + (ids.end() - first) / 2);
}

class ContextShift : public testing::TestWithParam<std::string> {};

TEST_P(ContextShift, GoesOnAsAfterAPromptOfWhatWasKept) {
  const Generator generator = load_small(GetParam(), 4);
  ASSERT_EQ(generator.context_length(), 64U);
  constexpr std::size_t kTokens = 150, kKeep = 3;
  Ids prompt = tests::load_prompts(GetParam()).front().input_ids;
  prompt.resize(std::min<std::size_t>(prompt.size(), 40));

  Ids expected, ids = prompt;
  std::size_t shifts = 0;
  while (expected.size() < kTokens) {
    const std::size_t most = std::min(64 - ids.size(), kTokens - expected.size());
    const Ids more =
        generator.generate(ids, {.max_new_tokens = most, .ignore_eos = true}).sequences.at(0).ids;
    expected.insert(expected.end(), more.begin(), more.end());
    ids.insert(ids.end(), more.begin(), more.end());
    if (ids.size() < 64) break;
    drop_half(ids, kKeep);
    ++shifts;
  }
  ASSERT_GE(shifts, 3U);

  GenerateOptions options{
      .max_new_tokens = kTokens, .ignore_eos = true, .context_shift = true, .context_keep = kKeep};
  const GenerateResult result = generator.generate(prompt, options);
  EXPECT_EQ(result.sequences.at(0).ids, expected);
  EXPECT_EQ(result.sequences.at(0).finish_reason, "length");
  EXPECT_EQ(result.prompt_ids, prompt);
  options.prompt_lookup_num_tokens = 8;
  EXPECT_EQ(generator.generate(prompt, options).sequences.at(0).ids, expected);
  options.context_shift = false;
  options.context_keep.reset();
  EXPECT_EQ(generator.generate(prompt, options).sequences.at(0).ids.size(), 64 - prompt.size());
}

INSTANTIATE_TEST_SUITE_P(Models, ContextShift, testing::ValuesIn(tests::decoder_names()),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// Draws, several at once, guessed or not.
TEST(ContextShiftOf, DrawsIsTheSameWithGuesses) {
  const Generator generator = load("llama-gqa");
  const Ids prompt(230, 300);
  GenerateOptions options{.max_new_tokens = 60,
                          .temperature = 0.5F,
                          .seed = 4,
                          .ignore_eos = true,
                          .num_return_sequences = 3,
                          .context_shift = true};
  const GenerateResult plain = generator.generate(prompt, options);
  options.prompt_lookup_num_tokens = 20;
  const GenerateResult guessed = generator.generate(prompt, options);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(plain.sequences.at(i).ids.size(), 60U);
    EXPECT_EQ(plain.sequences[i].ids, guessed.sequences.at(i).ids);
  }
}

TEST(ContextShiftOf, Beams) {
  const Generator generator = load("llama-gqa");
  const Ids prompt = [] {
    Ids ids = {1};
    while (ids.size() < 240) ids.push_back(static_cast<std::int32_t>(260 + ids.size()));
    return ids;
  }();
  const GenerateResult result = generator.generate(prompt, {.max_new_tokens = 30,
                                                            .ignore_eos = true,
                                                            .num_beams = 3,
                                                            .num_return_sequences = 3,
                                                            .context_shift = true,
                                                            .context_keep = 10});
  for (const GeneratedSequence& sequence : result.sequences) {
    ASSERT_EQ(sequence.ids.size(), 30U);
    Ids ids = prompt;
    ids.insert(ids.end(), sequence.ids.begin(), sequence.ids.begin() + 16);
    ASSERT_EQ(ids.size(), generator.context_length());
    drop_half(ids, 10);
    const std::size_t kept = ids.size();
    ids.insert(ids.end(), sequence.ids.begin() + 16, sequence.ids.end());
    generator.logits(ids, [&](std::size_t position, const std::vector<float>& logits) {
      if (position + 1 < kept || position + 1 == ids.size()) return;
      double sum = 0;
      for (const float x : logits) sum += std::exp(static_cast<double>(x));
      const std::size_t written = position + 1 - kept + 16;
      const auto id = static_cast<std::size_t>(sequence.ids[written]);
      EXPECT_NEAR(sequence.logprobs[written], static_cast<double>(logits[id]) - std::log(sum), 1e-4);
    });
  }
}

TEST(ContextShiftOf, APromptThatIsTooLongKeepsItsBeginning) {
  const Generator generator = load("llama-gqa");
  Ids ids = {1};
  while (ids.size() < 300) ids.push_back(static_cast<std::int32_t>(ids.size() + 100));
  const auto prompt_of = [&](const GenerateOptions& options) {
    return generator.generate(ids, options).prompt_ids;
  };
  const auto expected = [&](std::size_t keep, std::size_t length) {
    Ids kept(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(keep));
    kept.insert(kept.end(), ids.end() - static_cast<std::ptrdiff_t>(length - keep), ids.end());
    return kept;
  };
  EXPECT_EQ(prompt_of({.max_new_tokens = 6, .truncate = true}), expected(1, 250));
  EXPECT_EQ(prompt_of({.max_new_tokens = 6, .truncate = true, .context_keep = 0}), expected(0, 250));
  EXPECT_EQ(prompt_of({.max_new_tokens = 6, .truncate = true, .context_keep = 20}), expected(20, 250));
  // As if it had come token by token: of 256, half of what follows the kept ones.
  EXPECT_EQ(prompt_of({.max_new_tokens = 6, .context_shift = true, .context_keep = 20}), expected(20, 138));
  ids.resize(255);
  EXPECT_EQ(prompt_of({.max_new_tokens = 6, .context_shift = true}), ids);
  EXPECT_EQ(prompt_of({.max_new_tokens = 6, .truncate = true}), expected(1, 250));
}

TEST(ContextShiftOf, AChatKeepsItsSystemPrompt) {
  const Generator generator = load("llama-gqa", {.chat_template = "chatml"});
  std::vector<ChatMessage> messages = {{.role = "system", .content = "You are a keeper of lights."}};
  for (int turn = 0; turn < 12; ++turn) {
    messages.push_back({.role = "user", .content = "How many ships are there on the sea tonight?"});
    messages.push_back({.role = "assistant", .content = "Twelve, and one of them burns."});
  }
  messages.push_back({.role = "user", .content = "Which?"});
  EXPECT_THROW(generator.chat(messages), Error);
  // What precedes the text of the first user: "<|im_start|>system … <|im_start|>user\n".
  const Ids before =
      generator
          .generate("<|im_start|>system\nYou are a keeper of lights.<|im_end|>\n<|im_start|>user\n",
                    {.max_new_tokens = 1})
          .prompt_ids;
  for (GenerateOptions options : {GenerateOptions{.max_new_tokens = 5, .truncate = true},
                                  {.max_new_tokens = 5, .context_shift = true}}) {
    const Ids kept = generator.chat(messages, options).prompt_ids;
    ASSERT_LT(before.size(), 128U);
    EXPECT_TRUE(std::equal(before.begin(), before.end() - 1, kept.begin()));
    EXPECT_LT(kept.size(), 256U);
  }
}

TEST(ContextShiftOf, RefusesToKeepTooMuch) {
  const Generator generator = load("llama-gqa");
  const auto refused = [&](const GenerateOptions& options) {
    try {
      generator.generate("x", options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(refused({.context_shift = true, .context_keep = 129}),
            "context_keep is 129, and of the model's context of 256 tokens at most half can be kept");
  EXPECT_EQ(refused({.context_shift = true, .context_keep = 128}), "accepted");
  EXPECT_THAT(refused({.context_keep = 5}), testing::HasSubstr("goes with context_shift or truncate"));
}

}  // namespace
}  // namespace kvasir
