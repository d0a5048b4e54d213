// A decoder with a language-modelling head: token ids in, logits of what may come next out. One file per
// family under decoder/.
//
// The keys and values of what a sequence has so far lie in pages (kernels/kv_page.h) that the caller owns, so
// a sequence goes on from any length, forks, and shares a beginning with others. What a token computes does
// not depend on what else is in the batch, nor on whether what precedes it came in one piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "formats/model_folder.h"
#include "kernels/kv_page.h"
#include "models/forward_context.h"
#include "models/load_options.h"
#include "models/weight_visitor.h"

namespace kvasir::models {

// What one page of a model holds: for each layer and each head of keys and values a part.
struct KvShape {
  std::size_t layers = 0, heads = 0;
  kernels::KvLayout layout{};

  std::size_t part(std::size_t layer, std::size_t head) const noexcept {  // its offset, bytes
    return (layer * heads + head) * layout.bytes();
  }
  std::size_t page_bytes() const noexcept { return layers * heads * layout.bytes(); }
};

// Some tokens of a sequence, which follow those whose keys and values are in its pages already.
struct DecoderSequence {
  std::size_t tokens = 0;                  // in this batch, at least 1
  std::size_t past = 0;                    // before them
  std::span<std::byte* const> pages = {};  // room for past + tokens; 64-byte aligned
  // Length that a rotation which depends on the length (dynamic NTK scaling) is computed for; 0: past +
  // tokens. Whoever cuts a prompt into pieces gives its whole length with each.
  std::size_t rotary_length = 0;
};

struct DecoderBatch {
  std::span<const std::int32_t> input_ids;  // [tokens] of all sequences, one after the other
  std::span<const DecoderSequence> sequences;
  std::span<const std::int32_t> outputs;  // the tokens, by their place in input_ids, whose logits are wanted

  std::size_t tokens() const noexcept { return input_ids.size(); }
};

class CausalLm {
 public:
  CausalLm() = default;
  CausalLm(const CausalLm&) = delete;
  CausalLm& operator=(const CausalLm&) = delete;
  virtual ~CausalLm() = default;

  // Runs the tokens: their keys and values go into the pages, and out gets [outputs, vocab_size()].
  // Preconditions: ids in [0, vocab_size()), past + tokens of each at most max_positions(), pages of one
  // sequence that other sequences of the batch also have are full and before `past`.
  virtual void logits(const DecoderBatch& batch, const KvShape& kv, ForwardContext& context,
                      float* out) const = 0;

  virtual KvShape kv_shape(kernels::KvType type) const noexcept = 0;
  virtual const std::string& family() const noexcept = 0;  // config.json's model_type
  virtual std::size_t max_positions() const noexcept = 0;  // longest sequence, tokens
  virtual std::size_t vocab_size() const noexcept = 0;     // columns of the logits
  // Shows the visitor every weight, in the order of the model.
  virtual void visit(WeightVisitor& visitor) = 0;
  virtual void visit(ConstWeightVisitor& visitor) const = 0;
  // Whether what a token computes depends on the length of its sequence (dynamic NTK scaling) once that has
  // more tokens than this; SIZE_MAX: never. Longer sequences cannot share pages with others.
  virtual std::size_t sharable_positions() const noexcept { return SIZE_MAX; }
};

// Loads a folder of the Hugging Face kind, or a GGUF file, by the family that it names. Throws kNotFound,
// kFormat, kUnsupported.
std::unique_ptr<const CausalLm> load_causal_lm(const formats::ModelFolder& folder,
                                               const LoadOptions& options);
// Whether that is a language model. Throws as formats::ModelFolder.
bool is_causal_lm(const formats::ModelFolder& folder);

}  // namespace kvasir::models
