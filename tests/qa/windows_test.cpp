#include "qa/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "kvasir/error.h"

namespace kvasir::qa {
namespace {

constexpr WindowLimits kLimits{.tokenizer_max = 512, .model_max = 512, .template_tokens = 3};

struct Given {
  Decode decode = Decode::kKvasir;
  std::optional<int> max_seq_len = {}, doc_stride = {};
};

WindowLengths lengths(const Given& given, const WindowLimits& limits = kLimits) {
  AskOptions options;
  options.decode = given.decode;
  options.max_seq_len = given.max_seq_len;
  options.doc_stride = given.doc_stride;
  return window_lengths(options, limits);
}

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(Windows, Defaults) {
  for (const Decode decode : {Decode::kKvasir, Decode::kPipeline, Decode::kSquad}) {
    EXPECT_EQ(lengths({decode}).max_seq_len, 384U);
    EXPECT_EQ(lengths({decode}).doc_stride, 128U);
    EXPECT_EQ(lengths({decode, 100}).doc_stride, 50U);
    EXPECT_EQ(lengths({decode}, {.tokenizer_max = 128, .model_max = 512, .template_tokens = 3}).max_seq_len,
              128U);
    // A tokenizer that states no limit does not make windows that the model cannot take.
    EXPECT_EQ(
        lengths({decode}, {.tokenizer_max = SIZE_MAX, .model_max = 256, .template_tokens = 3}).max_seq_len,
        256U);
  }
}

TEST(Windows, LimitsByDecoder) {
  const WindowLimits limits{.tokenizer_max = 128, .model_max = 512, .template_tokens = 3};
  EXPECT_EQ(lengths({Decode::kPipeline, 384}, limits).max_seq_len, 384U);
  EXPECT_EQ(lengths({Decode::kSquad, 384}, limits).max_seq_len, 128U);
  EXPECT_EQ(lengths({Decode::kKvasir, 384}, limits).max_seq_len, 128U);
}

TEST(Windows, RefusesLengthsOutOfRange) {
  for (const Decode decode : {Decode::kKvasir, Decode::kPipeline, Decode::kSquad}) {
    EXPECT_THAT(message_of([&] { lengths({decode, 0}); }), testing::HasSubstr("max_seq_len: should be >= 1"));
    EXPECT_THAT(message_of([&] {
                  lengths({decode, 9, -1});
                }),
                testing::HasSubstr("doc_stride: should be >= 0"));
  }
  EXPECT_EQ(message_of([] {
              lengths({Decode::kPipeline, 32, 33});
            }),
            "`doc_stride` (33) is larger than `max_seq_len` (32)");
  EXPECT_EQ(message_of([] { lengths({Decode::kKvasir, 32, 33}); }), "");
}

TEST(Windows, OneSliceIfAllFits) {
  const auto slices =
      context_slices(10, 87, {.max_seq_len = 100, .doc_stride = 99}, kLimits, Decode::kPipeline);
  ASSERT_EQ(slices.size(), 1U);
  EXPECT_EQ(slices[0].end, 87U);
  EXPECT_EQ(context_slices(97, 0, {.max_seq_len = 100, .doc_stride = 9}, kLimits, Decode::kPipeline).size(),
            1U);
}

TEST(Windows, QuestionsThatLeaveNoRoom) {
  for (const Decode decode : {Decode::kKvasir, Decode::kPipeline, Decode::kSquad}) {
    EXPECT_EQ(
        message_of([&] { context_slices(97, 1, {.max_seq_len = 100, .doc_stride = 0}, kLimits, decode); }),
        "question: Sequence to truncate too short to respect the provided max_length: the question takes 97 "
        "tokens, and max_seq_len 100 leaves no room for the text; ask more briefly");
    EXPECT_EQ(context_slices(96, 3, {.max_seq_len = 100, .doc_stride = 0}, kLimits, decode).size(), 3U);
  }
}

TEST(Windows, OverlapsThatLeaveNoStep) {
  const WindowLengths tight{.max_seq_len = 100, .doc_stride = 60};
  for (const Decode decode : {Decode::kPipeline, Decode::kSquad}) {
    EXPECT_EQ(
        message_of([&] { context_slices(37, 200, tight, kLimits, decode); }),
        "doc_stride: `stride` must be strictly less than `max_len=60`, the room that max_seq_len 100 leaves "
        "beside the question and special tokens (got 60)");
    EXPECT_EQ(message_of([&] { context_slices(37, 60, tight, kLimits, decode); }), "");
  }
  const auto slices = context_slices(37, 200, tight, kLimits, Decode::kKvasir);
  ASSERT_GT(slices.size(), 1U);
  EXPECT_EQ(slices[1].begin, 30U);
  EXPECT_EQ(context_slices(96, 5, tight, kLimits, Decode::kKvasir).size(), 5U);  // room for one token each
}

TEST(Windows, WindowsLongerThanTheModel) {
  const WindowLengths long_windows{.max_seq_len = 600, .doc_stride = 10};
  EXPECT_THAT(message_of([&] { context_slices(10, 700, long_windows, kLimits, Decode::kPipeline); }),
              testing::HasSubstr("a window of 600 tokens is more than the model takes (512)"));
  EXPECT_EQ(context_slices(10, 400, long_windows, kLimits, Decode::kPipeline).size(), 1U);
}

}  // namespace
}  // namespace kvasir::qa
