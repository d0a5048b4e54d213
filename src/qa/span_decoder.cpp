#include "qa/span_decoder.h"

#include <cmath>
#include <optional>
#include <string>

#include "kvasir/error.h"
#include "qa/decoders.h"

namespace kvasir::qa {

namespace {

std::size_t at_least_one(const char* name, std::optional<int> value, std::size_t fallback) {
  if (!value) return fallback;
  if (*value < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string(name) + " parameter should be >= 1 (got " + std::to_string(*value) + ")");
  }
  return static_cast<std::size_t>(*value);
}

}  // namespace

SpanShare span_share(std::span<const text::ContextSlice> slices, std::size_t k) noexcept {
  SpanShare share;
  if (k > 0) share.begin = slices[k - 1].end + slices[k].begin;
  if (k + 1 < slices.size()) share.end = slices[k].end + slices[k + 1].begin;
  return share;
}

std::unique_ptr<SpanDecoder> make_decoder(std::span<const Context> contexts, const AskOptions& options,
                                          const Calibration& calibration) {
  const std::size_t top_k = at_least_one("top_k", options.top_k, 1);
  const std::size_t fallback_len = options.decode == Decode::kPipeline ? 15 : 30;
  const std::size_t max_answer_len = at_least_one("max_answer_len", options.max_answer_len, fallback_len);
  const std::size_t n_best_size = at_least_one("n_best_size", options.n_best_size, 20);
  if (std::isnan(options.null_score_diff_threshold)) {
    throw Error(ErrorCode::kInvalidArgument, "null_score_diff_threshold: is not a number");
  }

  switch (options.decode) {
    case Decode::kPipeline:
      return make_pipeline_decoder(contexts, {.top_k = top_k,
                                              .max_answer_len = max_answer_len,
                                              .handle_impossible_answer = options.handle_impossible_answer,
                                              .align_to_words = options.align_to_words});
    case Decode::kSquad:
      return make_squad_decoder({.top_k = top_k,
                                 .max_answer_len = max_answer_len,
                                 .version_2 = options.handle_impossible_answer,
                                 .n_best_size = n_best_size,
                                 .null_score_diff_threshold = options.null_score_diff_threshold});
    case Decode::kKvasir:
      break;
  }
  return make_kvasir_decoder(contexts, {.top_k = top_k,
                                        .max_answer_len = max_answer_len,
                                        .handle_impossible_answer = options.handle_impossible_answer,
                                        .align_to_words = options.align_to_words,
                                        .calibration = calibration});
}

}  // namespace kvasir::qa
