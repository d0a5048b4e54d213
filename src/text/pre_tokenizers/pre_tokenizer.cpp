#include "text/pre_tokenizers/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/byte_level.h"
#include "text/pattern.h"
#include "unicode/tables.h"

namespace kvasir::text {

namespace {

using Behavior = SplitBehavior;

constexpr std::int64_t kMaxFixedLength = 1'000'000'000;

Behavior parse_behavior(const base::JsonObject& json) {
  const std::string name = json.string_or("behavior", "Isolated");
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Contiguous") return Behavior::kContiguous;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  json.fail("key behavior = \"" + name + "\" is not a way to split");
}

// Each matching code point is a part of its own.
template <class Matches>
std::vector<Part> find_parts(std::string_view text, Piece piece, Matches matches) {
  std::vector<Part> parts;
  std::size_t between = piece.begin;
  for (std::size_t at = piece.begin; at < piece.end;) {
    const base::CodePoint c = base::decode_utf8(text, at);
    const std::size_t next = at + c.length;
    if (matches(c.value)) {
      if (between < at) parts.push_back({{between, at}, false});
      parts.push_back({{at, next}, true});
      between = next;
    }
    at = next;
  }
  if (between < piece.end) parts.push_back({{between, piece.end}, false});
  return parts;
}

// What a match is merged with when it is not a part of its own, by `behavior`; in the words of the reference,
// which folds from the back for kMergedWithNext.
void append(const std::vector<Part>& parts, Behavior behavior, std::vector<Piece>& words) {
  const std::size_t first = words.size();  // earlier words are not ours to merge with
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& [piece, match] = parts[i];
    const bool has_last = words.size() > first;
    const bool after_match = i > 0 && parts[i - 1].match;
    bool merged = false;
    switch (behavior) {
      case Behavior::kRemoved:
        if (match) continue;
        break;
      case Behavior::kIsolated:
        break;
      case Behavior::kContiguous:
        merged = has_last && match == after_match;
        break;
      case Behavior::kMergedWithPrevious:
        merged = has_last && match && !after_match;
        break;
      case Behavior::kMergedWithNext:
        merged = has_last && !match && after_match;
        break;
    }
    if (merged) {
      words.back().end = piece.end;
    } else {
      words.push_back(piece);
    }
  }
  const auto is_empty = [](const Piece& word) { return word.begin == word.end; };
  words.erase(std::remove_if(words.begin() + static_cast<std::ptrdiff_t>(first), words.end(), is_empty),
              words.end());
}

bool has_flag(char32_t c, std::uint16_t flag) {
  return (unicode::properties(c).flags & flag) != 0;
}

// WhitespaceSplit, Punctuation, Digits, CharDelimiterSplit: all split at code points of one kind.
class SplitAtFlag : public Splitter {
 public:
  SplitAtFlag(std::uint16_t flag, Behavior behavior) : flag_(flag), behavior_(behavior) {}
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    append(find_parts(text, piece, [&](char32_t c) { return has_flag(c, flag_); }), behavior_, words);
  }
  bool can_split_bytes() const noexcept override { return true; }
  void split_bytes(std::string_view bytes, Piece piece, std::vector<Piece>& words) const override {
    std::vector<Part> parts;
    std::size_t between = piece.begin;
    for (std::size_t at = piece.begin; at < piece.end; ++at) {
      if (!has_flag(byte_level::code_point(static_cast<std::uint8_t>(bytes[at])), flag_)) continue;
      if (between < at) parts.push_back({{between, at}, false});
      parts.push_back({{at, at + 1}, true});
      between = at + 1;
    }
    if (between < piece.end) parts.push_back({{between, piece.end}, false});
    append(parts, behavior_, words);
  }
  bool cuts() const noexcept override {
    return (flag_ & unicode::kWhiteSpace) != 0 && behavior_ == Behavior::kRemoved;
  }

 private:
  std::uint16_t flag_;
  Behavior behavior_;
};

class CharDelimiterSplit : public Splitter {
 public:
  explicit CharDelimiterSplit(char32_t delimiter) : delimiter_(delimiter) {}
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    append(find_parts(text, piece, [&](char32_t c) { return c == delimiter_; }), Behavior::kRemoved, words);
  }
  bool is_local() const noexcept override { return delimiter_ >= 0x80 || delimiter_ == U' '; }
  bool cuts() const noexcept override { return delimiter_ == U' '; }

 private:
  char32_t delimiter_;
};

// Runs of \w, and runs of what is neither \w nor white space.
class Whitespace : public Splitter {
 public:
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    enum Kind { kBlank, kInWord, kSymbol };
    Kind last = kBlank;
    for (std::size_t at = piece.begin; at < piece.end;) {
      const base::CodePoint c = base::decode_utf8(text, at);
      const Kind kind = has_flag(c.value, unicode::kWord)         ? kInWord
                        : has_flag(c.value, unicode::kWhiteSpace) ? kBlank
                                                                  : kSymbol;
      if (kind != kBlank && kind == last) {
        words.back().end += c.length;
      } else if (kind != kBlank) {
        words.push_back({at, at + c.length});
      }
      last = kind;
      at += c.length;
    }
  }
  bool cuts() const noexcept override { return true; }
};

class Split : public Splitter {
 public:
  Split(std::unique_ptr<Pattern> pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    std::vector<Part> parts;
    pattern_->find(text, piece, parts);
    if (invert_) {
      for (Part& part : parts) part.match = !part.match;
    }
    append(parts, behavior_, words);
  }
  bool can_split_bytes() const noexcept override { return pattern_->is_bytewise(); }
  bool is_local() const noexcept override { return pattern_->is_local(); }
  bool cuts() const noexcept override { return pattern_->cuts() && behavior_ == Behavior::kIsolated; }

 private:
  std::unique_ptr<Pattern> pattern_;
  Behavior behavior_;
  bool invert_;
};

// Every so many code points.
class FixedLength : public Splitter {
 public:
  explicit FixedLength(std::size_t length) : length_(length) {}
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    std::size_t count = 0;
    for (std::size_t at = piece.begin; at < piece.end; ++count) {
      const std::size_t length = base::decode_utf8(text, at).length;
      if (count % length_ == 0) words.push_back({at, at});
      words.back().end = at += length;
    }
  }
  bool is_local() const noexcept override { return false; }

 private:
  std::size_t length_;
};

// Spaces become "▁", one of them is put before the text, and each "▁" begins a word.
class Metaspace : public PreTokenizer {
 public:
  enum class Prepend { kFirst, kNever, kAlways };
  Metaspace(std::string replacement, Prepend prepend, bool split)
      : replacement_(std::move(replacement)), prepend_(prepend), split_(split) {}

  void apply(NormalizedText& text, std::vector<Piece>& pieces) const override {
    NormalizedText out = NormalizedText::empty_like(text);
    std::vector<Piece> words;
    for (const Piece& piece : pieces) split(text, piece, out, words);
    text = std::move(out);
    pieces = std::move(words);
  }
  bool is_local() const noexcept override { return true; }
  bool cuts() const noexcept override { return split_; }

 private:
  void split(const NormalizedText& text, Piece piece, NormalizedText& out, std::vector<Piece>& words) const {
    const std::string_view from = text.text();
    const auto replaced = [&](std::size_t at) {
      return from[at] == ' ' || from.compare(at, replacement_.size(), replacement_) == 0;
    };
    std::size_t word = out.text().size();
    const ByteSpan first = text.origin_of_byte(piece.begin);
    if (!replaced(piece.begin) && prepends(first)) out.append(replacement_, first);
    for (std::size_t at = piece.begin; at < piece.end;) {
      std::size_t end = at + 1;
      while (end < piece.end && !replaced(end)) ++end;
      if (split_ && replaced(at) && out.text().size() > word) {
        words.push_back({word, out.text().size()});
        word = out.text().size();
      }
      if (from[at] == ' ') {
        out.append(replacement_, text.origin_of_byte(at));
        ++at;
      }
      out.append(text, {at, end});
      at = end;
    }
    words.push_back({word, out.text().size()});
  }
  bool prepends(ByteSpan first) const noexcept {
    return prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && first.begin == 0);
  }

  std::string replacement_;
  Prepend prepend_;
  bool split_;
};

class BertPreTokenizer : public Splitter {
 public:
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    std::size_t begin = piece.begin;  // of the word that is under way
    const auto finish = [&](std::size_t end) {
      if (begin < end) words.push_back({begin, end});
    };
    for (std::size_t at = piece.begin; at < piece.end;) {
      const base::CodePoint c = base::decode_utf8(text, at);
      const std::size_t next = at + c.length;
      const std::uint16_t flags = unicode::properties(c.value).flags;
      if ((flags & (unicode::kWhiteSpace | unicode::kPunctuation)) != 0) {
        finish(at);
        if ((flags & unicode::kWhiteSpace) == 0) words.push_back({at, next});
        begin = next;
      }
      at = next;
    }
    finish(piece.end);
  }
  bool cuts() const noexcept override { return true; }
  bool is_bert() const noexcept override { return true; }
};

std::unique_ptr<PreTokenizer> make_sequence(const base::JsonObject& json) {
  const base::json::array* list = json.at("pretokenizers").if_array();
  if (list == nullptr) json.fail("key pretokenizers is not a list");
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string name = "pretokenizers[" + std::to_string(i) + "]";
    parts.push_back(make_pre_tokenizer((*list)[i], json.origin() + ": " + name));
    if (parts.back() == nullptr) json.fail(name + " is null");
  }
  return std::make_unique<SequencePreTokenizer>(std::move(parts));
}

bool is_one_character(const std::string& text) {
  return !text.empty() && base::decode_utf8(text, 0).length == text.size();
}

std::unique_ptr<PreTokenizer> make_metaspace(const base::JsonObject& json) {
  std::string replacement = json.string("replacement");
  if (!is_one_character(replacement)) json.fail("key replacement is not one character");
  const std::string name = json.string_or("prepend_scheme", "always");
  auto prepend = Metaspace::Prepend::kAlways;
  if (name == "first") {
    prepend = Metaspace::Prepend::kFirst;
  } else if (name == "never") {
    prepend = Metaspace::Prepend::kNever;
  } else if (name != "always") {
    json.fail("key prepend_scheme = \"" + name + "\" is neither always, first nor never");
  }
  if (!json.boolean_or("add_prefix_space", true)) {  // files of before 2024
    if (json.has("prepend_scheme") && name != "never") {
      json.fail("key add_prefix_space = false contradicts prepend_scheme");
    }
    prepend = Metaspace::Prepend::kNever;
  }
  return std::make_unique<Metaspace>(std::move(replacement), prepend, json.boolean_or("split", true));
}

std::unique_ptr<PreTokenizer> make_char_delimiter_split(const base::JsonObject& json) {
  const std::string delimiter = json.string("delimiter");
  if (!is_one_character(delimiter)) json.fail("key delimiter is not one character");
  return std::make_unique<CharDelimiterSplit>(base::decode_utf8(delimiter, 0).value);
}

}  // namespace

void Splitter::apply(NormalizedText& text, std::vector<Piece>& pieces) const {
  std::vector<Piece> words;
  words.reserve(pieces.size());
  for (const Piece& piece : pieces) split(text.text(), piece, words);
  pieces = std::move(words);
}

void ByteLevelPreTokenizer::apply(NormalizedText& text, std::vector<Piece>& pieces) const {
  NormalizedText out = NormalizedText::empty_like(text);
  std::vector<Piece> words;
  const auto add_word = [&](const NormalizedText& from, Piece piece) {
    const std::size_t begin = out.text().size();
    for (std::size_t at = piece.begin; at < piece.end; ++at) {
      out.append(byte_level::character(static_cast<std::uint8_t>(from.text()[at])), from.origin_of_byte(at));
    }
    words.push_back({begin, out.text().size()});
  };
  const auto add_words = [&](const NormalizedText& from, Piece piece) {
    if (!options_.use_regex) {
      add_word(from, piece);
      return;
    }
    for (std::size_t at = piece.begin; at < piece.end;) {
      const std::size_t end = end_of_gpt2_word(from.text(), at, piece.end);
      add_word(from, {at, end});
      at = end;
    }
  };
  for (const Piece& piece : pieces) {
    if (options_.add_prefix_space && text.text()[piece.begin] != ' ') {
      NormalizedText prefixed(text, piece);
      prefixed.prepend(" ");
      add_words(prefixed, {0, prefixed.text().size()});
    } else {
      add_words(text, piece);
    }
  }
  text = std::move(out);
  pieces = std::move(words);
}

bool SequencePreTokenizer::is_local() const noexcept {
  for (const auto& part : parts_) {
    if (!part->is_local()) return false;
    if (part->cuts()) return true;
    if (part->rewrites()) return false;
  }
  return true;
}

bool SequencePreTokenizer::cuts() const noexcept {
  return is_local() &&
         std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->cuts(); });
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const base::json::value& value, const std::string& origin) {
  if (value.is_null()) return nullptr;
  const base::JsonObject json(value, origin);
  const std::string type = json.string("type");
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevelPreTokenizer>(
        ByteLevelOptions{.add_prefix_space = json.boolean_or("add_prefix_space", true),
                         .use_regex = json.boolean_or("use_regex", true)});
  }
  if (type == "CharDelimiterSplit") return make_char_delimiter_split(json);
  if (type == "Digits") {
    return std::make_unique<SplitAtFlag>(unicode::kNumeric, json.boolean_or("individual_digits", false)
                                                                ? Behavior::kIsolated
                                                                : Behavior::kContiguous);
  }
  if (type == "FixedLength") {
    return std::make_unique<FixedLength>(
        static_cast<std::size_t>(json.integer_or("length", 5, 1, kMaxFixedLength)));
  }
  if (type == "Metaspace") return make_metaspace(json);
  if (type == "Punctuation") {
    return std::make_unique<SplitAtFlag>(unicode::kPunctuation, parse_behavior(json));
  }
  if (type == "Sequence") return make_sequence(json);
  if (type == "Split") {
    return std::make_unique<Split>(make_pattern(json.object("pattern")), parse_behavior(json),
                                   json.boolean_or("invert", false));
  }
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") {
    return std::make_unique<SplitAtFlag>(unicode::kWhiteSpace, Behavior::kRemoved);
  }
  throw Error(ErrorCode::kUnsupported, origin + ": type " + type + " is not supported");
}

}  // namespace kvasir::text
