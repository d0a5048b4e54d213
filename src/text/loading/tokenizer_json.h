// tokenizer.json: the parts of a tokenizer, as Hugging Face's tokenizers write them to one file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "text/parts.h"

namespace kvasir::text {

// Throws kNotFound, kIo, kFormat (naming file and key), kUnsupported (naming an unknown type).
TokenizerParts load_tokenizer_json(const std::filesystem::path& path);

// The same from a text; `origin` names it in errors.
TokenizerParts parse_tokenizer_json(std::string_view text, const std::string& origin);

}  // namespace kvasir::text
