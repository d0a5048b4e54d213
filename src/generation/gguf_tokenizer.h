// Reads from a GGUF file what it has besides weights: the tokenizer, the end tokens, the chat template.
#pragma once

#include "formats/gguf.h"
#include "generation/model_language.h"

namespace kvasir::generation {

// From the keys tokenizer.ggml.*. Throws as text::Tokenizer::from_gguf, and kFormat for missing keys.
text::Tokenizer load_gguf_tokenizer(const formats::GgufMetadata& metadata);

// The same with eos (and eot, if there is one), bos and the chat template. Throws as
// text::ChatTemplate::parse.
ModelLanguage load_gguf_language(const formats::GgufMetadata& metadata);

}  // namespace kvasir::generation
