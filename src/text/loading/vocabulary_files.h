// Tokenizers without a tokenizer.json: from vocab.txt, from vocab.json with merges.txt, from the model file
// of SentencePiece. The parts are those that transformers 4.57 makes of them (convert_slow_tokenizer).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "text/loading/tokenizer_config.h"
#include "text/models/bpe.h"
#include "text/parts.h"

namespace kvasir::text {

// The folder's vocabulary files that the class can be built from.
struct VocabularyFiles {
  std::filesystem::path vocabulary, merges;  // merges: of byte-level BPE only
};
std::optional<VocabularyFiles> find_vocabulary_files(const std::filesystem::path& folder,
                                                     VocabularyKind kind);

// The parts of the tokenizer, with the tokens of the configuration and the template of its class. Throws
// kNotFound, kIo, kFormat, and kUnsupported if the class cannot be built from such files.
TokenizerParts load_vocabulary_files(const VocabularyFiles& files, VocabularyKind kind,
                                     const TokenizerConfig& config);

// The same from the bytes of a SentencePiece model.
TokenizerParts parse_sentencepiece_parts(std::string_view bytes, const TokenizerConfig& config,
                                         const std::string& origin);

// merges.txt: a first line that is ignored, then lines "left right".
MergeList parse_merges(std::string_view text, const std::string& origin);

// The template that puts the class's special tokens around a text; to be called when they have their ids.
PostProcessor make_class_template(const TokenizerConfig& config, const TokenizerParts& parts,
                                  const std::string& origin);

}  // namespace kvasir::text
