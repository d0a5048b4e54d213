#include "qa/windows.h"

#include <algorithm>

#include "kvasir/error.h"

namespace kvasir::qa {

namespace {

// The pipeline's and run_qa's defaults: windows of 384 tokens, of which at most 128 are shown twice.
constexpr std::size_t kDefaultLength = 384;
constexpr std::size_t kDefaultStride = 128;

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

}  // namespace

WindowLengths window_lengths(const AskOptions& options, const WindowLimits& limits) {
  if (options.max_seq_len && *options.max_seq_len < 1)
    refuse("max_seq_len: should be >= 1 (got " + std::to_string(*options.max_seq_len) + ")");
  if (options.doc_stride && *options.doc_stride < 0)
    refuse("doc_stride: should be >= 0 (got " + std::to_string(*options.doc_stride) + ")");

  const std::size_t limit = std::min(limits.tokenizer_max, limits.model_max);
  WindowLengths lengths{};
  lengths.max_seq_len =
      options.max_seq_len ? static_cast<std::size_t>(*options.max_seq_len) : std::min(limit, kDefaultLength);
  if (options.decode == Decode::kSquad)
    lengths.max_seq_len = std::min(lengths.max_seq_len, limits.tokenizer_max);
  if (options.decode == Decode::kKvasir) lengths.max_seq_len = std::min(lengths.max_seq_len, limit);
  lengths.doc_stride = options.doc_stride ? static_cast<std::size_t>(*options.doc_stride)
                                          : std::min(lengths.max_seq_len / 2, kDefaultStride);
  if (options.decode != Decode::kKvasir && lengths.doc_stride > lengths.max_seq_len) {
    refuse("`doc_stride` (" + std::to_string(lengths.doc_stride) + ") is larger than `max_seq_len` (" +
           std::to_string(lengths.max_seq_len) + ")");
  }
  return lengths;
}

std::vector<text::ContextSlice> context_slices(std::size_t question_tokens, std::size_t context_tokens,
                                               const WindowLengths& lengths, const WindowLimits& limits,
                                               Decode decode) {
  const std::size_t beside = question_tokens + limits.template_tokens;
  std::size_t longest = beside + context_tokens;
  std::vector<text::ContextSlice> slices{{0, context_tokens}};
  if (longest > lengths.max_seq_len) {
    if (beside >= lengths.max_seq_len) {
      refuse(
          "question: Sequence to truncate too short to respect the provided max_length: the question takes " +
          std::to_string(question_tokens) + " tokens, and max_seq_len " +
          std::to_string(lengths.max_seq_len) + " leaves no room for the text; ask more briefly");
    }
    const std::size_t room = lengths.max_seq_len - beside;
    std::size_t stride = lengths.doc_stride;
    if (decode == Decode::kKvasir) stride = std::min(stride, room / 2);
    if (stride >= room) {
      refuse("doc_stride: `stride` must be strictly less than `max_len=" + std::to_string(room) +
             "`, the room that max_seq_len " + std::to_string(lengths.max_seq_len) +
             " leaves beside the question and special tokens (got " + std::to_string(stride) + ")");
    }
    slices = text::slice_context(context_tokens, room, stride);
    longest = lengths.max_seq_len;
  }
  if (longest > limits.model_max) {
    refuse("max_seq_len: a window of " + std::to_string(longest) + " tokens is more than the model takes (" +
           std::to_string(limits.model_max) + "); lower it");
  }
  return slices;
}

}  // namespace kvasir::qa
