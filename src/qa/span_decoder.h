// Turns logits into answers. A decoder gets the windows of one question, in order, and then returns the
// answers. decode_pipeline.cpp, decode_squad.cpp and decode_kvasir.cpp contain one each.
//
//   auto decoder = qa::make_decoder(contexts, options);
//   for (const qa::Window& window : windows) decoder->add(window);
//   qa::Decoded decoded = decoder->finish();
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "kvasir/reader.h"
#include "text/encoding.h"

namespace kvasir::qa {

// A text that is searched, with its tokens.
struct Context {
  std::string_view text;              // UTF-8
  const text::TokenizedText* tokens;  // whose offsets point into text
};

// The spans that a window shows with more text around them than its neighbouring windows do: those of context
// tokens i to j (indices into the TokenizedText, j inclusive) with begin <= i + j < end. Each span that some
// window contains is thus counted in exactly one window.
struct SpanShare {
  std::size_t begin = 0, end = std::numeric_limits<std::size_t>::max();
};
// The share of slices[k] of one context (text::slice_context). Two neighbours have equal text left of i in
// the right one and right of j in the left one where i + j = left.end - 1 + right.begin; ties go to the left
// one.
SpanShare span_share(std::span<const text::ContextSlice> slices, std::size_t k) noexcept;

// One window of one context, and the model's logits.
struct Window {
  const text::Encoding* encoding;     // the sequence without padding
  std::int32_t context_sequence = 1;  // which of the two texts is the context (0 if the tokenizer pads left)
  std::size_t context_index = 0;      // index into the decoder's contexts
  text::ContextSlice slice;           // tokens of the context that this window shows
  SpanShare share;                    // kvasir
  std::size_t context_position = 0;   // position of the token slice.begin in the sequence
  std::int32_t cls_id = -1;           // id of [CLS], -1 if the model has none
  std::string_view question;          // the other text (the pipeline may read its offsets, see there)
  // Finite logits [>= encoding->size()]; those after the encoding's tokens belong to padding (run_qa's padded
  // features).
  std::span<const float> start_logits, end_logits;
};

// An answer in bytes of its context. Reader adds the other units.
struct DecodedAnswer {
  double score = 0;
  std::size_t context_index = 0;
  std::size_t byte_begin = 0, byte_end = 0;  // equal = "no answer"; the pipeline has a quirk with end < begin
};

struct Decoded {
  // Best first, at most top_k. squad: none at all where run_qa answers with its literal "empty".
  std::vector<DecodedAnswer> answers;
  double no_answer_score = 0;  // see kvasir::AskResult
};

// Fitted constants that turn logits into probabilities; a model folder may bring its own
// (kvasir_reader.json).
struct Calibration {
  double temperature = 1;     // spans' log-odds are divided by it
  double no_answer_bias = 0;  // log-odds of "no answer" beside spans whose score equals the [CLS] score
};

class SpanDecoder {
 public:
  virtual ~SpanDecoder() = default;
  virtual void add(const Window& window) = 0;
  virtual Decoded finish() = 0;
};

// contexts must outlive the decoder. Throws kInvalidArgument for options out of range, with the reference's
// words ("top_k parameter should be >= 1 (got 0)").
std::unique_ptr<SpanDecoder> make_decoder(std::span<const Context> contexts, const AskOptions& options,
                                          const Calibration& calibration = {});

}  // namespace kvasir::qa
