// From logits to answers. A decoder is fed the windows of one question, in order, and then asked for the
// answers. decode_pipeline.cpp, decode_squad.cpp and decode_kvasir.cpp hold one each.
#pragma once

#include <cstddef>
#include <cstdint>
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

// One window of one context, as the model saw it.
struct Window {
  const text::Encoding* encoding;     // the sequence without padding
  std::int32_t context_sequence = 1;  // which of the two texts is the context (0 if the tokenizer pads left)
  std::size_t context_index = 0;      // index into the decoder's contexts
  text::ContextSlice slice;           // tokens of the context that this window shows
  std::size_t context_position = 0;   // position of the token slice.begin in the sequence
  std::int32_t cls_id = -1;           // id of [CLS], -1 if the model has none
  // Logits [>= encoding->size()]: what follows the encoding's tokens belongs to padding (run_qa's padded
  // features).
  std::span<const float> start_logits, end_logits;
};

// An answer in bytes of its context. Reader adds the other units.
struct DecodedAnswer {
  double score = 0;
  std::size_t context_index = 0;
  std::size_t byte_begin = 0, byte_end = 0;  // equal = "no answer"
};

struct Decoded {
  std::vector<DecodedAnswer> answers;  // best first, at most top_k
  double no_answer_score = 0;          // see kvasir::Result
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
// words
// ("top_k parameter should be >= 1 (got 0)").
std::unique_ptr<SpanDecoder> make_decoder(std::span<const Context> contexts, const AskOptions& options,
                                          const Calibration& calibration = {});

}  // namespace kvasir::qa
