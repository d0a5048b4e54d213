#include "text/pipeline.h"

#include <algorithm>
#include <vector>

namespace kvasir::text {

namespace {

constexpr std::size_t kSlice = 4096;  // large enough to make the work per slice nothing, and fits the cache

bool is_alphanumeric(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Whether the token, sought in normalised text, is found in slices where it is found in the whole.
bool is_found_in_slices(const AddedToken& token) {
  if (!token.normalized || token.content.find(' ') == std::string::npos) return true;
  return token.content.find_first_not_of(' ') == std::string::npos && !token.single_word;
}

struct Slice {
  Piece piece;
  NormalizedText::Ends ends;
};

void tokenize_slice(const TokenizerParts& parts, std::string_view text, Slice slice, bool new_word,
                    TokenSink& sink) {
  NormalizedText normalized(text.substr(slice.piece.begin, slice.piece.end - slice.piece.begin),
                            slice.piece.begin, slice.ends);
  if (parts.normalizer != nullptr) parts.normalizer->normalize(normalized);
  std::vector<Piece> words;
  std::vector<WordToken> tokens;
  const auto tokenize_words = [&](NormalizedText& part) {
    words.assign(1, {0, part.text().size()});
    if (parts.pre_tokenizer != nullptr) parts.pre_tokenizer->apply(part, words);
    for (const Piece& word : words) {
      tokens.clear();
      parts.model->tokenize(std::string_view(part.text()).substr(word.begin, word.end - word.begin), tokens);
      if (new_word) sink.next_word();
      new_word = true;
      for (const WordToken& token : tokens) {
        // Bytes of a prefix or suffix (byte fallback) make a word longer than it is.
        const std::size_t end = std::min<std::size_t>(token.end, word.end - word.begin);
        const std::size_t begin = std::min<std::size_t>(token.begin, end - 1);
        sink.add(token.id, part.origin(word.begin + begin, word.begin + end));
      }
    }
  };
  bool whole = true;  // as long as no added token was found
  parts.added_tokens.split(
      normalized.text(), AddedTokens::Pass::kNormalized, [&](const AddedTokens::Part& part) {
        const Piece& piece = part.piece;
        whole = whole && part.id == kNoToken && piece.end - piece.begin == normalized.text().size();
        if (whole) return;
        if (part.id != kNoToken) {
          sink.add_added(part.id, normalized.origin(piece.begin, piece.end),
                         std::string_view(normalized.text()).substr(piece.begin, piece.end - piece.begin));
          new_word = true;
        } else {
          NormalizedText between(normalized, piece);
          tokenize_words(between);
        }
      });
  if (whole && !normalized.text().empty()) tokenize_words(normalized);
}

// Tokenises a slice in one pass, if that can be.
bool slice_in_one_pass(const TokenizerParts& parts, const ByteLevelOnePass& one_pass, std::string_view text,
                       Piece piece, TokenSink& sink) {
  const std::string_view slice = text.substr(piece.begin, piece.end - piece.begin);
  if (!one_pass.serves(text, piece)) return false;
  if (parts.normalizer != nullptr && !parts.normalizer->leaves(slice)) return false;
  if (!parts.added_tokens.has(AddedTokens::Pass::kNormalized)) {
    one_pass.tokenize(text, piece, sink);
    return true;
  }
  bool served = true;
  parts.added_tokens.split(slice, AddedTokens::Pass::kNormalized, [&](const AddedTokens::Part& part) {
    const Piece found{piece.begin + part.piece.begin, piece.begin + part.piece.end};
    if (part.id == kNoToken) served = served && one_pass.serves(text, found);
  });
  if (!served) return false;
  parts.added_tokens.split(slice, AddedTokens::Pass::kNormalized, [&](const AddedTokens::Part& part) {
    const Piece found{piece.begin + part.piece.begin, piece.begin + part.piece.end};
    if (part.id == kNoToken) {
      one_pass.tokenize(text, found, sink);
    } else {
      sink.add_added(part.id,
                     {static_cast<std::uint32_t>(found.begin), static_cast<std::uint32_t>(found.end)},
                     text.substr(found.begin, found.end - found.begin));
    }
  });
  return true;
}

}  // namespace

PipelineTraits find_traits(const TokenizerParts& parts) {
  PipelineTraits traits;
  const auto& added = parts.added_tokens.by_id();
  const bool cuts = parts.pre_tokenizer != nullptr && parts.pre_tokenizer->cuts();
  traits.is_one_word = !cuts;
  traits.is_sliceable = (cuts || !parts.added_tokens.has(AddedTokens::Pass::kNormalized)) &&
                        (parts.normalizer == nullptr || parts.normalizer->is_local()) &&
                        (parts.pre_tokenizer == nullptr || parts.pre_tokenizer->is_local()) &&
                        (cuts || parts.model->separates_words()) &&
                        std::all_of(added.begin(), added.end(),
                                    [](const auto& token) { return is_found_in_slices(token.second); });
  traits.one_pass = ByteLevelOnePass::make(parts.pre_tokenizer.get(), *parts.model);
  return traits;
}

std::size_t end_of_slice(std::string_view text, Piece piece, std::size_t bytes) noexcept {
  if (piece.end - piece.begin <= bytes) return piece.end;
  for (std::size_t at = piece.begin + bytes; at + 1 < piece.end; ++at) {
    if (text[at] == ' ' && is_alphanumeric(text[at - 1]) && is_alphanumeric(text[at + 1])) return at;
  }
  return piece.end;
}

void tokenize_by_parts(const TokenizerParts& parts, std::string_view text, Piece piece, TokenSink& sink) {
  tokenize_slice(parts, text, {piece, {}}, true, sink);
}

void tokenize_by_slices(const TokenizerParts& parts, const PipelineTraits& traits, std::string_view text,
                        Piece piece, TokenSink& sink) {
  const bool in_slices = traits.is_sliceable && piece.end - piece.begin > kSlice &&
                         (parts.normalizer == nullptr || !parts.normalizer->is_global_from(text.substr(
                                                             piece.begin, piece.end - piece.begin)));
  for (std::size_t begin = piece.begin; begin < piece.end;) {
    const std::size_t end = in_slices ? end_of_slice(text, {begin, piece.end}, kSlice) : piece.end;
    const NormalizedText::Ends ends{.first = begin == piece.begin, .last = end == piece.end};
    if (!traits.one_pass || !slice_in_one_pass(parts, *traits.one_pass, text, {begin, end}, sink)) {
      tokenize_slice(parts, text, {{begin, end}, ends}, ends.first || !traits.is_one_word, sink);
    }
    begin = end;
  }
}

}  // namespace kvasir::text
