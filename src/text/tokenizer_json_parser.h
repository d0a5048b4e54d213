// The JSON of a tokenizer.json, with its vocabulary kept out of the document.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "text/vocabulary.h"

namespace kvasir::text {

struct TokenizerJson {
  base::json::value document;  // model.vocab is {} where the file has an object there
  VocabularyList vocabulary;   // that object's members
};

// Parses a whole tokenizer.json. Nine tenths of the file are the object model.vocab; as 30,000 members of a
// JSON document it would cost most of the time to load a model, so its members go straight to a list. Throws
// kFormat "ORIGIN:LINE: …" for bad JSON, and for a member of model.vocab that is not an id in [0,
// kMaxTokenId].
TokenizerJson parse_tokenizer_document(std::string_view text, const std::string& origin);

}  // namespace kvasir::text
