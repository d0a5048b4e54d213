// Pre-tokenisers: the part of tokenizer.json that splits a normalised text into words.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/normalized_text.h"

namespace kvasir::text {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Splits the pieces of the text, which come in order, into the words of each; none of them is empty. A
  // pre-tokeniser sees nothing outside the piece that it splits. Some also rewrite the text.
  virtual void apply(NormalizedText& text, std::vector<Piece>& pieces) const = 0;

  // As Pattern::is_local(), for "…x y…" (x, y ASCII letters or digits) and its slices "…x" and " y…". A piece
  // that begins with that space is not the first of its text.
  virtual bool is_local() const noexcept { return false; }
  virtual bool cuts() const noexcept { return false; }
  virtual bool rewrites() const noexcept { return true; }
  // Whether this is BertPreTokenizer, which BertOnePass does in one pass with the normaliser.
  virtual bool is_bert() const noexcept { return false; }
};

// A pre-tokeniser that does not rewrite the text.
class Splitter : public PreTokenizer {
 public:
  // Appends the words of text[piece.begin, piece.end).
  virtual void split(std::string_view text, Piece piece, std::vector<Piece>& words) const = 0;
  // Whether it can also split a text that stands for ByteLevel's output, with each byte as a character.
  virtual bool can_split_bytes() const noexcept { return false; }
  virtual void split_bytes(std::string_view bytes, Piece piece, std::vector<Piece>& words) const {
    split(bytes, piece, words);
  }
  void apply(NormalizedText& text, std::vector<Piece>& pieces) const override;
  bool is_local() const noexcept override { return true; }
  bool rewrites() const noexcept final { return false; }
};

// What happens to the matches that split a text. For "a--b", split at "-":
enum class SplitBehavior {
  kRemoved,             // a b
  kIsolated,            // a - - b
  kContiguous,          // a -- b
  kMergedWithPrevious,  // a- - b
  kMergedWithNext,      // a - -b
};

// Writes bytes as characters, after splitting by GPT-2's expression. It is in the header because
// tokenizer_config.json can override add_prefix_space, and because ByteLevelOnePass does the same on the
// bytes themselves.
struct ByteLevelOptions {
  bool add_prefix_space = true;
  bool use_regex = true;
};
class ByteLevelPreTokenizer : public PreTokenizer {
 public:
  explicit ByteLevelPreTokenizer(ByteLevelOptions options) : options_(options) {}
  void apply(NormalizedText& text, std::vector<Piece>& pieces) const override;
  bool is_local() const noexcept override { return true; }
  bool cuts() const noexcept override { return options_.use_regex; }
  const ByteLevelOptions& options() const noexcept { return options_; }

 private:
  ByteLevelOptions options_;
};

class SequencePreTokenizer : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<std::unique_ptr<PreTokenizer>> parts)
      : parts_(std::move(parts)) {}
  void apply(NormalizedText& text, std::vector<Piece>& pieces) const override {
    for (const auto& part : parts_) part->apply(text, pieces);
  }
  // After a part that cuts words at these places, the parts that follow see no difference. Parts before it
  // must not see a text that was rewritten, because a space may then have become anything.
  bool is_local() const noexcept override;
  bool cuts() const noexcept override;
  std::vector<std::unique_ptr<PreTokenizer>>& parts() noexcept { return parts_; }
  const std::vector<std::unique_ptr<PreTokenizer>>& parts() const noexcept { return parts_; }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

// Reads the "pre_tokenizer" of a tokenizer.json: BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits,
// FixedLength, Metaspace, Punctuation, Sequence, Split, Whitespace, WhitespaceSplit. Null gives nullptr: the
// text is one word. Throws kFormat, kUnsupported (another type).
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const base::json::value& value, const std::string& origin);

}  // namespace kvasir::text
