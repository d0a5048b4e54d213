#include "text/loading/tokenizer_json_parser.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::text {

namespace {

namespace json = base::json;
using ErrorCode = boost::system::error_code;

constexpr std::size_t kMaxDepth = 100;  // as base::parse_json

// The handler that Boost.JSON's parser calls for each piece of the document. Builds values as the parser's
// own does, but not inside the lists of model.
class Handler {
 public:
  // NOLINTBEGIN(readability-identifier-naming): Boost's names
  constexpr static std::size_t max_object_size = std::size_t(-1);
  constexpr static std::size_t max_array_size = std::size_t(-1);
  constexpr static std::size_t max_key_size = std::size_t(-1);
  constexpr static std::size_t max_string_size = std::size_t(-1);
  // NOLINTEND(readability-identifier-naming)

  explicit Handler(bool vocabulary_alone) : vocabulary_alone_(vocabulary_alone) { values_.reset(); }
  TokenizerJson release() {
    return {values_.release(), std::move(vocabulary_), std::move(scores_), std::move(merges_)};
  }
  const std::string& fault() const noexcept { return fault_; }

  bool on_document_begin(ErrorCode&) { return true; }
  bool on_document_end(ErrorCode&) { return true; }

  bool on_object_begin(ErrorCode& error) {
    if (in_list()) return refuse("an object", error);
    if (depth_ == 1) in_model_ = key_ == "model";
    if (vocabulary_alone_ ? depth_ == 0 : depth_ == 2 && in_model_ && key_ == "vocab") {
      list_ = List::kIds;
      clear_vocabulary();
    }
    ++depth_;
    return true;
  }
  bool on_object_end(std::size_t size, ErrorCode&) {
    --depth_;
    values_.push_object(list_ == List::kIds ? 0 : size);
    list_ = List::kNone;
    return true;
  }
  bool on_array_begin(ErrorCode& error) {
    if (in_list()) return begin_item(error);
    if (depth_ == 1) in_model_ = false;
    if (depth_ == 2 && in_model_ && key_ == "vocab") {
      list_ = List::kScores;
      clear_vocabulary();
    }
    if (depth_ == 2 && in_model_ && key_ == "merges") {
      list_ = List::kMerges;
      merges_ = {};
    }
    ++depth_;
    return true;
  }
  bool on_array_end(std::size_t size, ErrorCode& error) {
    if (in_item_) return end_item(error);
    --depth_;
    values_.push_array(in_list() ? 0 : size);
    list_ = List::kNone;
    return true;
  }

  bool on_key_part(std::string_view part, std::size_t size, ErrorCode&) {
    if (size == part.size()) partial_.clear();
    partial_ += part;
    return true;
  }
  bool on_key(std::string_view part, std::size_t size, ErrorCode&) {
    if (size != part.size()) part = partial_ += part;
    if (in_list() || depth_ <= 2) key_ = part;
    if (!in_list()) values_.push_key(part);
    return true;
  }
  bool on_string_part(std::string_view part, std::size_t size, ErrorCode&) {
    if (!in_list()) {
      values_.push_chars(part);
      return true;
    }
    if (size == part.size()) partial_.clear();
    partial_ += part;
    return true;
  }
  bool on_string(std::string_view part, std::size_t size, ErrorCode& error) {
    if (!in_list()) {
      values_.push_string(part);
      return true;
    }
    if (size != part.size()) part = partial_ += part;
    if (list_ == List::kScores && in_item_ && item_ == 0) {
      key_ = part;
    } else if (list_ == List::kMerges && in_item_ && item_ < 2) {
      (item_ == 0 ? key_ : right_) = part;
    } else if (list_ == List::kMerges && !in_item_) {
      return add_merge_line(part, error);
    } else {
      return refuse("a string", error);
    }
    ++item_;
    return true;
  }
  bool on_number_part(std::string_view, ErrorCode&) { return true; }
  bool on_int64(std::int64_t number, std::string_view text, ErrorCode& error) {
    if (!in_list()) {
      values_.push_int64(number);
      return true;
    }
    if (list_ == List::kScores) return add_score(static_cast<double>(number), text, error);
    if (list_ != List::kIds || number < 0 || number > kMaxTokenId) return refuse(text, error);
    vocabulary_.add(key_, static_cast<std::int32_t>(number));
    return true;
  }
  bool on_uint64(std::uint64_t number, std::string_view text, ErrorCode& error) {
    if (list_ == List::kScores) return add_score(static_cast<double>(number), text, error);
    if (in_list()) return refuse(text, error);
    values_.push_uint64(number);
    return true;
  }
  bool on_double(double number, std::string_view text, ErrorCode& error) {
    if (list_ == List::kScores) return add_score(number, text, error);
    if (in_list()) return refuse(text, error);
    values_.push_double(number);
    return true;
  }
  bool on_bool(bool value, ErrorCode& error) {
    if (in_list()) return refuse("a boolean", error);
    values_.push_bool(value);
    return true;
  }
  bool on_null(ErrorCode& error) {
    if (in_list()) return refuse("null", error);
    values_.push_null();
    return true;
  }
  bool on_comment_part(std::string_view, ErrorCode&) { return true; }
  bool on_comment(std::string_view, ErrorCode&) { return true; }

 private:
  // What the parser is inside of: the object model.vocab, the list model.vocab, the list model.merges.
  enum class List { kNone, kIds, kScores, kMerges };
  bool in_list() const noexcept { return list_ != List::kNone; }

  void clear_vocabulary() {
    vocabulary_.clear();
    scores_.clear();
  }

  bool begin_item(ErrorCode& error) {
    if (list_ == List::kIds || in_item_) return refuse("a list", error);
    in_item_ = true;
    item_ = 0;
    return true;
  }
  bool end_item(ErrorCode& error) {
    if (item_ != 2) return refuse("a list of " + std::to_string(item_), error);
    in_item_ = false;
    if (list_ == List::kMerges) {
      merges_.add(key_, right_);
    } else if (scores_.size() > static_cast<std::size_t>(kMaxTokenId)) {
      return refuse("more than " + std::to_string(kMaxTokenId) + " tokens before it", error);
    } else {
      vocabulary_.add(key_, static_cast<std::int32_t>(scores_.size()));
      scores_.push_back(score_);
    }
    return true;
  }
  bool add_score(double score, std::string_view text, ErrorCode& error) {
    if (!in_item_ || item_ != 1) return refuse(text, error);
    score_ = score;
    ++item_;
    return true;
  }
  bool add_merge_line(std::string_view line, ErrorCode& error) {
    if (line.starts_with("#version")) return true;
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
      return refuse("\"" + std::string(line) + "\"", error);
    }
    merges_.add(line.substr(0, space), line.substr(space + 1));
    return true;
  }

  bool refuse(std::string_view what, ErrorCode& error) {
    if (list_ == List::kIds) {
      fault_ = (vocabulary_alone_ ? "token \"" : "model: vocab: token \"") + key_ + "\" has " +
               std::string(what) + " where an id from 0 to " + std::to_string(kMaxTokenId) + " is due";
    } else if (list_ == List::kScores) {
      fault_ = "model: vocab[" + std::to_string(scores_.size()) + "] has " + std::string(what) +
               " where [token, score] is due";
    } else {
      fault_ = "model: merges[" + std::to_string(merges_.size()) + "] has " + std::string(what) +
               " where two tokens are due";
    }
    error = json::error::syntax;
    return false;
  }

  bool vocabulary_alone_;
  json::value_stack values_;
  VocabularyList vocabulary_;
  std::vector<double> scores_;
  MergeList merges_;
  std::string key_;      // the last one, of the document, of model or of a list
  std::string right_;    // second token of a merge
  std::string partial_;  // of a key or string that comes in parts
  std::string fault_;
  double score_ = 0;
  std::size_t depth_ = 0;  // objects and lists around the current place
  std::size_t item_ = 0;   // what the item of the list has so far
  List list_ = List::kNone;
  bool in_model_ = false, in_item_ = false;
};

TokenizerJson parse(std::string_view text, const std::string& origin, bool vocabulary_alone) {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::basic_parser<Handler> parser(options, vocabulary_alone);
  ErrorCode error;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), error);
  const auto fail = [&](const std::string& what) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(read), '\n');
    throw Error(kvasir::ErrorCode::kFormat, origin + ":" + std::to_string(line) + ": " + what);
  };
  if (!parser.handler().fault().empty()) fail(parser.handler().fault());
  if (error == json::error::too_deep) {
    fail("not valid JSON: nested more than " + std::to_string(kMaxDepth) + " levels deep");
  }
  if (error) fail("not valid JSON: " + error.message());
  if (text.find_first_not_of(" \t\r\n", read) != std::string_view::npos) {
    fail("not valid JSON: something follows the end of the document");
  }
  return parser.handler().release();
}

}  // namespace

TokenizerJson parse_tokenizer_document(std::string_view text, const std::string& origin) {
  return parse(text, origin, false);
}

VocabularyList parse_vocabulary_document(std::string_view text, const std::string& origin) {
  TokenizerJson json = parse(text, origin, true);
  if (!json.document.is_object()) throw Error(kvasir::ErrorCode::kFormat, origin + ": is not an object");
  return std::move(json.vocabulary);
}

}  // namespace kvasir::text
