#include "text/one_pass/bert_one_pass.h"

#include <algorithm>
#include <vector>

#include "base/utf8.h"
#include "unicode/tables.h"

namespace kvasir::text {

BertOnePass::BertOnePass(const BertNormalizerOptions& options, const WordPiece& model)
    : options_(options), model_(model), max_ascii_word_(std::min(kMaxAsciiWord, model.max_chars())) {
  kinds_.fill(Kind::kNotAscii);
  punctuation_.fill(kNoToken);
  std::vector<WordToken> tokens;
  for (std::uint8_t c = 0; c < 0x80; ++c) {
    const unicode::Properties& p = unicode::properties(c);
    folded_[c] = static_cast<std::uint8_t>(options.lowercase ? c + p.lower_delta : c);
    if (options.clean_text && (p.flags & unicode::kOther) != 0) {
      kinds_[c] = Kind::kDeleted;
    } else if ((p.flags & unicode::kWhiteSpace) != 0) {
      kinds_[c] = Kind::kSpace;
    } else if ((p.flags & unicode::kPunctuation) != 0) {
      kinds_[c] = Kind::kPunctuation;
      const char word = static_cast<char>(c);
      tokens.clear();
      model.tokenize({&word, 1}, tokens);
      punctuation_[c] = tokens.front().id;
    } else {
      kinds_[c] = Kind::kLetter;
    }
  }
}

void BertOnePass::tokenize(std::string_view text, Piece piece, TokenSink& sink) const {
  const Vocabulary& vocabulary = model_.vocabulary();
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto span = [](std::size_t begin, std::size_t end) {
    return ByteSpan{static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
  };
  std::array<char, kMaxAsciiWord> word;
  std::vector<WordToken> tokens;
  BertWordBuilder builder(options_, model_, sink);
  std::size_t at = piece.begin;
  while (at < piece.end) {
    const Kind first = kinds_[bytes[at]];
    if (first == Kind::kLetter) {
      const std::size_t limit = std::min(piece.end, at + max_ascii_word_);
      std::size_t end = at;
      TokenKey key;
      for (; end < limit && kinds_[bytes[end]] == Kind::kLetter; ++end) {
        const std::uint8_t folded = folded_[bytes[end]];
        word[end - at] = static_cast<char>(folded);
        key.append(folded);
      }
      const Kind next = end == piece.end ? Kind::kSpace : kinds_[bytes[end]];
      if (next == Kind::kSpace || next == Kind::kPunctuation) {  // nothing else can belong to the word
        const std::string_view folded_word(word.data(), end - at);
        sink.next_word();
        if (const std::int32_t id = vocabulary.find(key, {}, folded_word); id != kNoToken) {
          sink.add(id, span(at, end));
        } else {
          tokens.clear();
          model_.tokenize_short(folded_word, tokens);
          for (const WordToken& token : tokens) sink.add(token.id, span(at + token.begin, at + token.end));
        }
        at = end;
        continue;
      }
    } else if (first == Kind::kPunctuation) {
      sink.next_word();
      sink.add(punctuation_[bytes[at]], span(at, at + 1));
      ++at;
      continue;
    } else if (first != Kind::kNotAscii) {
      ++at;
      continue;
    }
    // Words with other characters in them, up to a space or punctuation that certainly ends the last of them.
    for (bool ended = false; !ended && at < piece.end;) {
      const base::CodePoint c = base::decode_utf8(text, at);
      const Kind kind = kinds_[bytes[at]];
      builder.add(c.value, span(at, at + c.length));
      at += c.length;
      ended = kind == Kind::kSpace || kind == Kind::kPunctuation;
    }
    builder.finish();
  }
}

}  // namespace kvasir::text
