// The metadata of a GGUF file as the config.json that Hugging Face has of the same model.
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

// For the architectures of kGgufFamilies. What the metadata leave to the tensors is read off them: the size
// of the vocabulary, whether there are biases, whether the head is the table of embeddings
// ("tie_word_embeddings", for BLOOM and MPT too). Throws kUnsupported, naming the key, for architectures that
// we do not have and for settings that config.json has no word for; kFormat for missing keys.
base::json::value config_from_gguf(const formats::GgufFile& file);

// The other way round: the keys ARCHITECTURE.* of a config.json, whose layout is given. Throws kUnsupported,
// naming the key, for settings that GGUF has no word for, or llama.cpp no code.
std::vector<formats::GgufEntry> gguf_from_config(const base::JsonObject& config, const GgufLayout& layout);
// What the tensor rope_freqs.weight of GGUF holds, which Llama 3.1 has; empty: none.
std::vector<float> rotary_divisors(const base::JsonObject& config, const GgufLayout& layout);
// Whether the table of embeddings is the head too.
bool has_tied_head(const base::JsonObject& config, const GgufLayout& layout);

}  // namespace kvasir::models
