// Generation against the continuations of transformers, and whatever else is under way at the same time.
#include "kvasir/generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "base/cpu.h"
#include "decoder_fixture.h"
#include "temporary_folder.h"
#include "test_isa.h"

namespace kvasir {
namespace {

using tests::DecoderPrompt;

Generator load(const std::filesystem::path& folder, GeneratorOptions options = {}) {
  options.isa = base::isa_name(tests::test_isa());
  if (options.threads == 0) options.threads = 2;
  return Generator::load(folder, options);
}
Generator load(const std::string& name, const GeneratorOptions& options = {}) {
  return load(tests::decoder_folder(name), options);
}

// A copy of a model folder whose texts end with another token.
std::filesystem::path with_eos(const tests::TemporaryFolder& folder, const std::string& name,
                               std::int32_t eos) {
  const std::filesystem::path copy = folder.path() / (name + std::to_string(eos));
  std::filesystem::copy(tests::decoder_folder(name), copy);
  std::ofstream(copy / "generation_config.json") << "{\"eos_token_id\": [" << eos << ", 100000]}";
  return copy;
}

std::size_t page_bytes(const std::string& name, kernels::KvType type) {
  base::ThreadPool pool(1);
  return models::load_causal_lm(tests::decoder_folder(name),
                                {.kernels = kernels::kernels_for(tests::test_isa()), .pool = pool})
      ->kv_shape(type)
      .page_bytes();
}

class GeneratorFixtures : public testing::TestWithParam<std::string> {};

TEST_P(GeneratorFixtures, GreedyTexts) {
  const Generator generator = load(GetParam());
  for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    const GenerateResult result = generator.generate(prompt.text, {.max_new_tokens = 24});
    ASSERT_EQ(result.sequences.size(), 1U);
    EXPECT_EQ(result.prompt_ids, prompt.input_ids) << prompt.id;
    EXPECT_EQ(result.sequences[0].ids, prompt.greedy_ids) << prompt.id;
    EXPECT_EQ(result.sequences[0].text, std::string(prompt.json.at("greedy_text").as_string())) << prompt.id;
    for (std::size_t i = 0; i < prompt.greedy_ids.size(); ++i) {
      EXPECT_NEAR(result.sequences[0].logprobs[i], prompt.greedy_logprobs[i], 1e-3) << prompt.id;
    }
  }
}

TEST_P(GeneratorFixtures, RepetitionPenalty) {
  const Generator generator = load(GetParam());
  for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    const auto expected = prompt.json.at("repetition_penalty_1_3").at("ids");
    const GenerateResult result =
        generator.generate(prompt.input_ids, {.max_new_tokens = 24, .repetition_penalty = 1.3F});
    EXPECT_EQ(result.sequences[0].ids, tests::list_of<std::int32_t>(expected)) << prompt.id;
  }
}

void expect_beams(const GenerateResult& result, const base::json::value& expected, const std::string& id) {
  const base::json::array& sequences = expected.at("sequences").as_array();
  ASSERT_EQ(result.sequences.size(), sequences.size()) << id;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(result.sequences[i].ids, tests::list_of<std::int32_t>(sequences[i].at("ids")))
        << id << " " << i;
    EXPECT_NEAR(result.sequences[i].score, sequences[i].at("score").to_number<double>(), 1e-3)
        << id << " " << i;
  }
}

GenerateOptions beam_options(const base::json::value& expected) {
  const base::json::value& early = expected.at("early_stopping");
  return {.max_new_tokens = expected.at("max_new_tokens").to_number<std::size_t>(),
          .num_beams = expected.at("num_beams").to_number<std::size_t>(),
          .length_penalty = expected.at("length_penalty").to_number<float>(),
          .early_stopping = early.is_string() ? std::string(early.as_string())
                            : early.as_bool() ? "true"
                                              : "false",
          .num_return_sequences = expected.at("sequences").as_array().size()};
}

TEST_P(GeneratorFixtures, Beams) {
  const Generator generator = load(GetParam());
  for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    const base::json::value& expected = prompt.json.at("beam4");
    expect_beams(generator.generate(prompt.input_ids, beam_options(expected)), expected, prompt.id);
  }
}

TEST_P(GeneratorFixtures, BeamsThatEndEarly) {
  const tests::TemporaryFolder folder;
  std::size_t cases = 0;
  for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    if (!prompt.json.contains("beam4_eos")) continue;
    std::filesystem::remove_all(folder.path());
    std::filesystem::create_directories(folder.path());
    for (const auto& expected : prompt.json.at("beam4_eos").as_array()) {
      ++cases;
      const auto eos = expected.at("eos_token_id").to_number<std::int32_t>();
      std::filesystem::remove_all(folder.path() / (GetParam() + std::to_string(eos)));
      const Generator generator = load(with_eos(folder, GetParam(), eos));
      expect_beams(generator.generate(prompt.input_ids, beam_options(expected)), expected,
                   prompt.id + " eos " + std::to_string(eos));
    }
  }
  EXPECT_GT(cases, 0U);
}

// Eight callers at once, with prompts of all lengths, get what each gets alone; also when there is hardly any
// memory for keys and values, so that requests have to give theirs back.
TEST_P(GeneratorFixtures, ManyAtOnce) {
  const std::vector<DecoderPrompt> prompts = tests::load_prompts(GetParam());
  for (const std::size_t pages : {1000U, 20U}) {
    const Generator generator =
        load(GetParam(), {.kv_bytes = pages * page_bytes(GetParam(), kernels::KvType::kF32)});
    std::vector<std::thread> threads;
    std::vector<std::vector<std::int32_t>> got(2 * prompts.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      threads.emplace_back([&, i] {
        got[i] = generator.generate(prompts[i % prompts.size()].input_ids, {.max_new_tokens = 24})
                     .sequences[0]
                     .ids;
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i], prompts[i % prompts.size()].greedy_ids) << prompts[i % prompts.size()].id;
    }
  }
}

// Guessing changes nothing, for drawn texts as for greedy ones.
TEST_P(GeneratorFixtures, PromptLookupWritesTheSame) {
  const Generator generator = load(GetParam());
  for (const DecoderPrompt& prompt : tests::load_prompts(GetParam())) {
    // Prompts that repeat themselves, so that there is something to find.
    std::vector<std::int32_t> ids;
    for (int times = 0; times < 3; ++times)
      ids.insert(ids.end(), prompt.input_ids.begin(), prompt.input_ids.end());
    if (ids.size() + 40 > generator.context_length()) continue;
    for (const float temperature : {0.0F, 0.3F}) {
      GenerateOptions options{
          .max_new_tokens = 40, .temperature = temperature, .seed = 3, .ignore_eos = true};
      const GenerateResult plain = generator.generate(ids, options);
      options.prompt_lookup_num_tokens = 8;
      EXPECT_EQ(generator.generate(ids, options).sequences[0].ids, plain.sequences[0].ids) << prompt.id;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GeneratorFixtures, testing::ValuesIn(tests::decoder_names()),
                         [](const auto& model) {
                           std::string name = model.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

const std::string kModel = "llama-gqa";

DecoderPrompt first_prompt() {
  return tests::load_prompts(kModel).front();
}

TEST(Generator, TheBeginningOfAPromptIsComputedOnce) {
  const Generator generator = load(kModel);
  const DecoderPrompt prompt = tests::load_prompts(kModel).back();
  EXPECT_EQ(generator.generate(prompt.input_ids, {.max_new_tokens = 4}).cached_tokens, 0U);
  const GenerateResult again = generator.generate(prompt.input_ids, {.max_new_tokens = 24});
  EXPECT_EQ(again.cached_tokens, (prompt.input_ids.size() - 1) / 16 * 16);
  EXPECT_EQ(again.sequences[0].ids, prompt.greedy_ids);
}

// With keys and values as bytes the text is the same alone, in a batch, with guesses, and with a beginning
// that another request left, or that was computed again because there was hardly any memory.
TEST(Generator, KeysAndValuesAsBytes) {
  const std::vector<DecoderPrompt> prompts = tests::load_prompts(kModel);
  const GenerateOptions options{.max_new_tokens = 24, .ignore_eos = true};
  std::vector<std::vector<std::int32_t>> expected;
  for (const DecoderPrompt& prompt : prompts) {
    const Generator alone = load(kModel, {.threads = 1, .kv_type = "q8_0"});
    expected.push_back(alone.generate(prompt.input_ids, options).sequences[0].ids);
    const GenerateResult again = alone.generate(prompt.input_ids, options);
    EXPECT_EQ(again.cached_tokens, (prompt.input_ids.size() - 1) / 16 * 16);
    EXPECT_EQ(again.sequences[0].ids, expected.back()) << prompt.id;
    GenerateOptions guessing = options;
    guessing.prompt_lookup_num_tokens = 8;
    EXPECT_EQ(alone.generate(prompt.input_ids, guessing).sequences[0].ids, expected.back()) << prompt.id;
  }
  for (const std::size_t pages : {1000U, 20U}) {
    const std::size_t bytes = pages * page_bytes(kModel, kernels::KvType::kQ8_0);
    const Generator generator = load(kModel, {.kv_type = "q8_0", .kv_bytes = bytes});
    std::vector<std::vector<std::int32_t>> got(4 * prompts.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < got.size(); ++i) {
        threads.emplace_back([&, i] {
          got[i] = generator.generate(prompts[i % prompts.size()].input_ids, options).sequences[0].ids;
        });
      }
    }
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], expected[i % prompts.size()]);
  }
  EXPECT_THROW(load(kModel, {.kv_type = "q4_0"}), Error);
}

TEST(Generator, PiecesOfTextMakeTheText) {
  const Generator generator = load(kModel);
  for (const DecoderPrompt& prompt : tests::load_prompts(kModel)) {
    std::string text;
    std::size_t pieces = 0;
    const GenerateResult result =
        generator.generate(prompt.input_ids, {.max_new_tokens = 24, .on_text = [&](std::string_view piece) {
                                                text += piece;
                                                ++pieces;
                                              }});
    EXPECT_EQ(text, result.sequences[0].text);
    EXPECT_GE(pieces, 1U);
  }
}

TEST(Generator, StopsBeforeAStopString) {
  const Generator generator = load(kModel);
  const DecoderPrompt prompt = first_prompt();
  const std::string all(prompt.json.at("greedy_text").as_string());
  std::string streamed;
  const GenerateResult result =
      generator.generate(prompt.input_ids, {.max_new_tokens = 24,
                                            .stop = {"never", "ack{E"},
                                            .on_text = [&](std::string_view piece) { streamed += piece; }});
  EXPECT_EQ(result.sequences[0].text, all.substr(0, all.find("ack{E")));
  EXPECT_EQ(streamed, result.sequences[0].text);
  EXPECT_EQ(result.sequences[0].finish_reason, "stop");
  EXPECT_LT(result.sequences[0].ids.size(), 24U);
}

TEST(Generator, EndsAtEos) {
  const tests::TemporaryFolder folder;
  const DecoderPrompt prompt = first_prompt();
  const Generator generator = load(with_eos(folder, kModel, prompt.greedy_ids[5]));
  const GenerateResult result = generator.generate(prompt.input_ids, {.max_new_tokens = 24});
  EXPECT_EQ(result.sequences[0].ids.size(), 6U);
  EXPECT_EQ(result.sequences[0].finish_reason, "stop");
  const GenerateResult whole =
      generator.generate(prompt.input_ids, {.max_new_tokens = 24, .ignore_eos = true});
  EXPECT_EQ(whole.sequences[0].ids, prompt.greedy_ids);
  EXPECT_EQ(whole.sequences[0].finish_reason, "length");
}

TEST(Generator, DrawsDependOnTheSeedOnly) {
  const Generator generator = load(kModel);
  const DecoderPrompt prompt = first_prompt();
  const GenerateOptions options{.max_new_tokens = 24, .temperature = 1, .seed = 5, .num_return_sequences = 3};
  const GenerateResult one = generator.generate(prompt.input_ids, options);
  const GenerateResult two = generator.generate(prompt.input_ids, options);
  GenerateOptions other = options;
  other.seed = 6;
  const GenerateResult three = generator.generate(prompt.input_ids, other);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(one.sequences[i].ids, two.sequences[i].ids);
  EXPECT_NE(one.sequences[0].ids, one.sequences[1].ids);
  EXPECT_NE(one.sequences[1].ids, one.sequences[2].ids);
  EXPECT_NE(one.sequences[0].ids, three.sequences[0].ids);
}

TEST(Generator, LogitsOfEveryPosition) {
  const Generator generator = load(kModel);
  const DecoderPrompt prompt = first_prompt();
  std::size_t positions = 0;
  generator.logits(prompt.input_ids, [&](std::size_t position, const std::vector<float>& logits) {
    EXPECT_EQ(position, positions++);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      ASSERT_NEAR(logits[i], prompt.logits[position][i], 1e-4F * tests::scale_of(prompt.logits));
    }
  });
  EXPECT_EQ(positions, prompt.input_ids.size());
  EXPECT_THROW(generator.logits(prompt.input_ids, [](std::size_t, const auto&) { throw 7; }), int);
}

TEST(Generator, CanBeCancelledFromOutsideAndFromWithin) {
  const Generator generator = load(std::string("bloom"));  // has the longest context, so that there is time
  const DecoderPrompt prompt = tests::load_prompts("bloom").front();
  std::atomic<bool> cancel{false};
  const GenerateOptions options{.max_new_tokens = 2000,
                                .ignore_eos = true,
                                .on_text = [&](std::string_view) { cancel = true; },
                                .cancel = &cancel};
  try {
    generator.generate(prompt.input_ids, options);
    FAIL() << "was not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCancelled);
  }
  EXPECT_THROW(generator.generate(prompt.input_ids, {.on_text = [](std::string_view) { throw 7; }}), int);
  EXPECT_EQ(generator.generate(prompt.input_ids, {.max_new_tokens = 24}).sequences[0].ids, prompt.greedy_ids);
}

void expect_refused(const Generator& generator, const GenerateOptions& options, const std::string& what) {
  try {
    generator.generate("Hello", options);
    ADD_FAILURE() << "accepted; expected: " << what;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
  }
}

TEST(Generator, RefusesWhatMakesNoSense) {
  const Generator generator = load(kModel);
  expect_refused(generator, {.max_new_tokens = 0}, "max_new_tokens");
  expect_refused(generator, {.temperature = -1}, "temperature");
  expect_refused(generator, {.temperature = NAN}, "temperature");
  expect_refused(generator, {.top_p = -1}, "top_p");
  expect_refused(generator, {.min_p = 2}, "min_p");
  expect_refused(generator, {.repetition_penalty = 0}, "repetition_penalty");
  expect_refused(generator, {.logit_bias = {{100'000, 1}}}, "logit_bias");
  expect_refused(generator, {.num_beams = 0}, "num_beams");
  expect_refused(generator, {.early_stopping = "maybe"}, "early_stopping");
  expect_refused(generator, {.num_return_sequences = 2}, "num_return_sequences");
  expect_refused(generator, {.temperature = 1, .num_beams = 2}, "num_beams");
  expect_refused(generator, {.num_beams = 2, .num_return_sequences = 3}, "num_return_sequences");
}

TEST(Generator, APromptThatIsTooLongIsRefusedOrTruncated) {
  const Generator generator = load(kModel);
  const std::vector<std::int32_t> ids(generator.context_length() + 20, 300);
  try {
    generator.generate(ids);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("the model's context holds 256"), std::string::npos)
        << error.what();
  }
  const GenerateResult result =
      generator.generate(ids, {.max_new_tokens = 10, .ignore_eos = true, .truncate = true});
  EXPECT_EQ(result.prompt_ids.size(), generator.context_length() - 10);
  EXPECT_EQ(result.sequences[0].ids.size(), 10U);
}

// A sequence fits, but not as many as there are beams, or draws.
TEST(Generator, TooLittleMemoryForAllSequencesIsAnError) {
  base::ThreadPool pool(1);
  const auto model = models::load_causal_lm(
      tests::decoder_folder(kModel), {.kernels = kernels::kernels_for(tests::test_isa()), .pool = pool});
  const Generator generator =
      load(kModel, {.kv_bytes = 6 * model->kv_shape(kernels::KvType::kF32).page_bytes()});
  const DecoderPrompt prompt = first_prompt();
  for (const GenerateOptions& options :
       {GenerateOptions{.max_new_tokens = 50, .ignore_eos = true, .num_beams = 4},
        {.max_new_tokens = 50, .temperature = 1, .ignore_eos = true, .num_return_sequences = 4}}) {
    try {
      generator.generate(prompt.input_ids, options);
      ADD_FAILURE() << "there was memory";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted) << error.what();
    }
  }
  EXPECT_EQ(generator.generate(prompt.input_ids, {.max_new_tokens = 24}).sequences.at(0).ids,
            prompt.greedy_ids);
}

// The context ends before max_new_tokens.
TEST(Generator, EndsWithTheContext) {
  const Generator generator = load(kModel);
  const std::vector<std::int32_t> ids(250, 300);
  const GenerateResult result = generator.generate(ids, {.max_new_tokens = 100, .ignore_eos = true});
  EXPECT_EQ(result.sequences[0].ids.size(), 6U);
  EXPECT_EQ(result.sequences[0].finish_reason, "length");
}

}  // namespace
}  // namespace kvasir
