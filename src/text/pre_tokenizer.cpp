#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/unicode_tables.h"

namespace kvasir::text {

namespace {

// What happens to the code points that split a text. For "a--b", split on "-":
enum class Behavior {
  kRemoved,             // a b
  kIsolated,            // a - - b
  kContiguous,          // a -- b
  kMergedWithPrevious,  // a- - b
  kMergedWithNext,      // a - -b
};

Behavior parse_behavior(const base::JsonObject& json) {
  const std::string name = json.string_or("behavior", "Isolated");
  if (name == "Removed") return Behavior::kRemoved;
  if (name == "Isolated") return Behavior::kIsolated;
  if (name == "Contiguous") return Behavior::kContiguous;
  if (name == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::kMergedWithNext;
  json.fail("key behavior = \"" + name + "\" is not a way to split");
}

// A part of the text that matches the pattern, or lies between two matches.
struct Part {
  Piece piece;
  bool match;
};

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

void append(const std::vector<Part>& parts, Behavior behavior, std::vector<Piece>& words) {
  const std::size_t first = words.size();  // earlier words are not ours to merge with
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto& [piece, match] = parts[i];
    const bool after_match = i > 0 && parts[i - 1].match;
    switch (behavior) {
      case Behavior::kRemoved:
        if (!match) words.push_back(piece);
        break;
      case Behavior::kIsolated:
        words.push_back(piece);
        break;
      case Behavior::kContiguous:
        if (match && after_match) {
          words.back().end = piece.end;
        } else {
          words.push_back(piece);
        }
        break;
      case Behavior::kMergedWithPrevious:
        if (match && !after_match && words.size() > first) {
          words.back().end = piece.end;
        } else {
          words.push_back(piece);
        }
        break;
      case Behavior::kMergedWithNext:
        if (!match && after_match) {
          words.back().end = piece.end;
        } else {
          words.push_back(piece);
        }
        break;
    }
  }
}

bool has_flag(char32_t c, std::uint16_t flag) {
  return (unicode::properties(c).flags & flag) != 0;
}

// WhitespaceSplit, Punctuation, Digits, CharDelimiterSplit: all split at code points of one kind.
class SplitAtFlag : public PreTokenizer {
 public:
  SplitAtFlag(std::uint16_t flag, Behavior behavior) : flag_(flag), behavior_(behavior) {}
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    append(find_parts(text, piece, [&](char32_t c) { return has_flag(c, flag_); }), behavior_, words);
  }

 private:
  std::uint16_t flag_;
  Behavior behavior_;
};

class CharDelimiterSplit : public PreTokenizer {
 public:
  explicit CharDelimiterSplit(char32_t delimiter) : delimiter_(delimiter) {}
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    append(find_parts(text, piece, [&](char32_t c) { return c == delimiter_; }), Behavior::kRemoved, words);
  }

 private:
  char32_t delimiter_;
};

// Runs of \w, and runs of what is neither \w nor white space.
class Whitespace : public PreTokenizer {
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
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void split(std::string_view text, Piece piece, std::vector<Piece>& words) const override {
    std::vector<Piece> pieces{piece};
    for (const auto& part : parts_) {
      std::vector<Piece> next;
      for (const Piece& p : pieces) part->split(text, p, next);
      pieces = std::move(next);
    }
    words.insert(words.end(), pieces.begin(), pieces.end());
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

class BertPreTokenizer : public PreTokenizer {
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
  return std::make_unique<Sequence>(std::move(parts));
}

std::unique_ptr<PreTokenizer> make_char_delimiter_split(const base::JsonObject& json) {
  const std::string delimiter = json.string("delimiter");
  if (delimiter.empty() || base::decode_utf8(delimiter, 0).length != delimiter.size()) {
    json.fail("key delimiter is not one character");
  }
  return std::make_unique<CharDelimiterSplit>(base::decode_utf8(delimiter, 0).value);
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const base::json::value& value, const std::string& origin) {
  if (value.is_null()) return nullptr;
  const base::JsonObject json(value, origin);
  const std::string type = json.string("type");
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "CharDelimiterSplit") return make_char_delimiter_split(json);
  if (type == "Digits") {
    return std::make_unique<SplitAtFlag>(unicode::kNumeric, json.boolean_or("individual_digits", false)
                                                                ? Behavior::kIsolated
                                                                : Behavior::kContiguous);
  }
  if (type == "Punctuation") {
    return std::make_unique<SplitAtFlag>(unicode::kPunctuation, parse_behavior(json));
  }
  if (type == "Sequence") return make_sequence(json);
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") {
    return std::make_unique<SplitAtFlag>(unicode::kWhiteSpace, Behavior::kRemoved);
  }
  throw Error(ErrorCode::kUnsupported, origin + ": type " + type + " is not supported");
}

}  // namespace kvasir::text
