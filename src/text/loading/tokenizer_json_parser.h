// The JSON of a tokenizer.json, with its vocabulary and merges kept out of the document.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/models/bpe.h"
#include "text/vocabulary.h"

namespace kvasir::text {

struct TokenizerJson {
  base::json::value document;  // model.vocab is {} or [], model.merges [] where the file has them
  VocabularyList vocabulary;   // of model.vocab, an object or a list; ids of a list count from 0
  std::vector<double> scores;  // of a list
  MergeList merges;
};

// Parses a whole tokenizer.json. Nine tenths of the file are model.vocab and model.merges. As 30,000 and more
// members of a JSON document they would take most of the time to load a model, so they are read directly into
// lists. Throws kFormat "ORIGIN:LINE: …" for bad JSON, for a member of the object model.vocab that is not an
// id in [0, kMaxTokenId], of the list model.vocab that is not a token with its score, and of the list
// model.merges that is neither "a b" nor ["a", "b"].
TokenizerJson parse_tokenizer_document(std::string_view text, const std::string& origin);

// Parses a vocab.json: what a tokenizer.json has as model.vocab.
VocabularyList parse_vocabulary_document(std::string_view text, const std::string& origin);

}  // namespace kvasir::text
