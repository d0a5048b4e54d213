// Converts the vocabulary of a Hugging Face folder to that of GGUF: the reverse of gguf_vocabulary.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/model_folder.h"

namespace kvasir::text {

// tokenizer.ggml.*, under the names of GgufVocabulary.
struct ExportedVocabulary {
  std::string model, pre;
  std::vector<std::string> tokens;
  std::vector<float> scores;        // of "llama"
  std::vector<std::int32_t> types;  // one for each token
  std::vector<std::string> merges;  // of "gpt2"
  std::optional<std::int32_t> bos, eos, unk, pad;
  bool add_bos = false, add_eos = false;
  bool add_space_prefix = true;
};

// Reads tokenizer.json (BPE with bytes as fallback, or byte-level), otherwise tokenizer.model (BPE). Throws
// as Tokenizer::load; kUnsupported for a tokenizer that GGUF cannot describe.
ExportedVocabulary export_gguf_vocabulary(const formats::ModelFolder& folder);

}  // namespace kvasir::text
