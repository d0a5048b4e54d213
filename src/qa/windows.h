// Cuts a question and its documents into windows that a model can read.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kvasir/reader.h"
#include "text/encoding.h"

namespace kvasir::qa {

// The limits of a model and its tokenizer.
struct WindowLimits {
  std::size_t tokenizer_max;    // model_max_length of the tokenizer
  std::size_t model_max;        // positions of the model
  std::size_t template_tokens;  // special tokens around question and context
};

// Lengths in tokens, of a whole sequence.
struct WindowLengths {
  std::size_t max_seq_len;
  std::size_t doc_stride;
};
// The options' lengths, or the defaults, by the decoder's rules:
//  - pipeline: max_seq_len as given, doc_stride at most that;
//  - squad: max_seq_len cut to the tokenizer's limit, as run_qa does;
//  - kvasir: max_seq_len cut to the model's limit too.
// Throws kInvalidArgument.
WindowLengths window_lengths(const AskOptions& options, const WindowLimits& limits);

// The slices of a context beside a question, given their numbers of tokens. One slice if all tokens fit, also
// for an empty context. Throws kInvalidArgument, with the reference's words, if the question leaves no room
// or the overlap is not smaller than the room (kvasir: the overlap is then reduced to half of the room).
std::vector<text::ContextSlice> context_slices(std::size_t question_tokens, std::size_t context_tokens,
                                               const WindowLengths& lengths, const WindowLimits& limits,
                                               Decode decode);

}  // namespace kvasir::qa
