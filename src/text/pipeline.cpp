#include "text/pipeline.h"

#include <vector>

namespace kvasir::text {

void tokenize_by_parts(const TokenizerParts& parts, std::string_view text, Piece piece, TokenSink& sink) {
  NormalizedText normalized(text.substr(piece.begin, piece.end - piece.begin), piece.begin);
  if (parts.normalizer != nullptr) parts.normalizer->normalize(normalized);
  std::vector<Piece> words;
  std::vector<WordToken> tokens;
  const auto tokenize_word = [&](const Piece& word) {
    tokens.clear();
    parts.model->tokenize(std::string_view(normalized.text()).substr(word.begin, word.end - word.begin),
                          tokens);
    sink.next_word();
    for (const WordToken& token : tokens) {
      sink.add(token.id, normalized.origin(word.begin + token.begin, word.begin + token.end));
    }
  };
  parts.added_tokens.split(normalized.text(), AddedTokens::Pass::kNormalized,
                           [&](const AddedTokens::Part& part) {
                             if (part.id != kNoToken) {
                               sink.next_word();
                               sink.add(part.id, normalized.origin(part.piece.begin, part.piece.end));
                               return;
                             }
                             words.clear();
                             if (parts.pre_tokenizer != nullptr) {
                               parts.pre_tokenizer->split(normalized.text(), part.piece, words);
                             } else {
                               words.push_back(part.piece);
                             }
                             for (const Piece& word : words) tokenize_word(word);
                           });
}

}  // namespace kvasir::text
