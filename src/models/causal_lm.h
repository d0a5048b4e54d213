// A decoder with a language-modelling head: it takes token ids and returns the logits of the next token. One
// file per family under decoder/.
//
// The keys and values of a sequence so far are in pages (kernels/kv_page.h) that the caller owns, so a
// sequence can continue from any length, fork, and share its beginning with others. The result for a token
// does not depend on what else is in the batch, nor on whether the tokens before it came in one piece.
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

// The contents of one page of a model: a part for each layer and each head of keys and values.
struct KvShape {
  std::size_t layers = 0, heads = 0;
  kernels::KvLayout layout{};

  std::size_t part(std::size_t layer, std::size_t head) const noexcept {  // its offset, bytes
    return (layer * heads + head) * layout.bytes();
  }
  std::size_t page_bytes() const noexcept { return layers * heads * layout.bytes(); }
};

// Tokens that continue a sequence, whose earlier keys and values are in its pages already.
struct DecoderSequence {
  std::size_t tokens = 0;                  // in this batch, at least 1
  std::size_t past = 0;                    // before them
  std::span<std::byte* const> pages = {};  // room for past + tokens; 64-byte aligned
  // The sequence length for rotations that depend on it (dynamic NTK scaling); 0: past + tokens. A caller
  // that cuts a prompt into pieces passes the whole length with each piece.
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
  // Preconditions: ids in [0, vocab_size()), past + tokens of each at most max_positions(), pages that
  // several sequences of the batch share are full and before `past`.
  virtual void logits(const DecoderBatch& batch, const KvShape& kv, ForwardContext& context,
                      float* out) const = 0;

  virtual KvShape kv_shape(kernels::KvType type) const noexcept = 0;
  virtual const std::string& family() const noexcept = 0;  // config.json's model_type
  virtual std::size_t max_positions() const noexcept = 0;  // longest sequence, tokens
  virtual std::size_t vocab_size() const noexcept = 0;     // columns of the logits
  // Visits every weight, in the order of the model.
  virtual void visit(WeightVisitor& visitor) = 0;
  virtual void visit(ConstWeightVisitor& visitor) const = 0;
  // The longest sequence whose pages can be shared. In a longer one, the result for a token depends on the
  // length of the sequence (dynamic NTK scaling). SIZE_MAX: no limit.
  virtual std::size_t sharable_positions() const noexcept { return SIZE_MAX; }
};

// Loads a folder of the Hugging Face kind, or a GGUF file, by the family that it names. Throws kNotFound,
// kFormat, kUnsupported.
std::unique_ptr<const CausalLm> load_causal_lm(const formats::ModelFolder& folder,
                                               const LoadOptions& options);
// Whether the folder's model is a language model. Throws as formats::ModelFolder.
bool is_causal_lm(const formats::ModelFolder& folder);

}  // namespace kvasir::models
