// Converts the metadata of a GGUF file to the config.json that Hugging Face has for the same model.
//
//   const formats::GgufFile file("llama-2-7b.Q4_0.gguf");
//   const base::json::value config = config_from_gguf(file);     // {"model_type": "llama", …}
//   const base::JsonObject object(config, file.origin());
#pragma once

#include <vector>

#include "base/json.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "models/gguf/names.h"

namespace kvasir::models {

// For the architectures of kGgufFamilies. What the metadata do not say is taken from the tensors: the size of
// the vocabulary, whether there are biases, whether the head is the table of embeddings
// ("tie_word_embeddings", for BLOOM and MPT too). Throws kUnsupported, naming the key, for unknown
// architectures and for settings that config.json cannot express; kFormat for missing keys.
base::json::value config_from_gguf(const formats::GgufFile& file);

// The reverse: the keys ARCHITECTURE.* for a config.json with the given layout. Throws kUnsupported, naming
// the key, for settings that GGUF cannot express or llama.cpp cannot run.
std::vector<formats::GgufEntry> gguf_from_config(const base::JsonObject& config, const GgufLayout& layout);
// The contents of GGUF's tensor rope_freqs.weight, which Llama 3.1 has; empty: no such tensor.
std::vector<float> rotary_divisors(const base::JsonObject& config, const GgufLayout& layout);
// Whether the table of embeddings is also the head.
bool has_tied_head(const base::JsonObject& config, const GgufLayout& layout);

}  // namespace kvasir::models
