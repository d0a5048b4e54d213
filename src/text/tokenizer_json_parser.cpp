#include "text/tokenizer_json_parser.h"

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
// own does, but inside model.vocab, where a key is a token and its value an id.
class Handler {
 public:
  constexpr static std::size_t max_object_size = std::size_t(-1);
  constexpr static std::size_t max_array_size = std::size_t(-1);
  constexpr static std::size_t max_key_size = std::size_t(-1);
  constexpr static std::size_t max_string_size = std::size_t(-1);

  Handler() { values_.reset(); }
  TokenizerJson release() { return {values_.release(), std::move(vocabulary_)}; }
  const std::string& fault() const noexcept { return fault_; }

  bool on_document_begin(ErrorCode&) { return true; }
  bool on_document_end(ErrorCode&) { return true; }

  bool on_object_begin(ErrorCode& error) {
    if (in_vocabulary_) return refuse("an object", error);
    if (depth_ == 1) in_model_ = key_ == "model";
    if (depth_ == 2 && in_model_ && key_ == "vocab") {
      in_vocabulary_ = true;
      vocabulary_.clear();
    }
    ++depth_;
    return true;
  }
  bool on_object_end(std::size_t size, ErrorCode&) {
    --depth_;
    values_.push_object(std::exchange(in_vocabulary_, false) ? 0 : size);
    return true;
  }
  bool on_array_begin(ErrorCode& error) {
    if (in_vocabulary_) return refuse("a list", error);
    if (depth_ == 1) in_model_ = false;
    ++depth_;
    return true;
  }
  bool on_array_end(std::size_t size, ErrorCode&) {
    --depth_;
    values_.push_array(size);
    return true;
  }

  bool on_key_part(std::string_view part, std::size_t size, ErrorCode&) {
    if (size == part.size()) partial_key_.clear();
    partial_key_ += part;
    return true;
  }
  bool on_key(std::string_view part, std::size_t size, ErrorCode&) {
    if (size != part.size()) part = partial_key_ += part;
    if (in_vocabulary_ || depth_ <= 2) key_ = part;
    if (!in_vocabulary_) values_.push_key(part);
    return true;
  }
  bool on_string_part(std::string_view part, std::size_t, ErrorCode& error) {
    if (in_vocabulary_) return refuse("a string", error);
    values_.push_chars(part);
    return true;
  }
  bool on_string(std::string_view part, std::size_t, ErrorCode& error) {
    if (in_vocabulary_) return refuse("a string", error);
    values_.push_string(part);
    return true;
  }
  bool on_number_part(std::string_view, ErrorCode&) { return true; }
  bool on_int64(std::int64_t number, std::string_view text, ErrorCode& error) {
    if (!in_vocabulary_) {
      values_.push_int64(number);
      return true;
    }
    if (number < 0 || number > kMaxTokenId) return refuse(text, error);
    vocabulary_.add(key_, static_cast<std::int32_t>(number));
    return true;
  }
  bool on_uint64(std::uint64_t number, std::string_view text, ErrorCode& error) {
    if (in_vocabulary_) return refuse(text, error);
    values_.push_uint64(number);
    return true;
  }
  bool on_double(double number, std::string_view text, ErrorCode& error) {
    if (in_vocabulary_) return refuse(text, error);
    values_.push_double(number);
    return true;
  }
  bool on_bool(bool value, ErrorCode& error) {
    if (in_vocabulary_) return refuse("a boolean", error);
    values_.push_bool(value);
    return true;
  }
  bool on_null(ErrorCode& error) {
    if (in_vocabulary_) return refuse("null", error);
    values_.push_null();
    return true;
  }
  bool on_comment_part(std::string_view, ErrorCode&) { return true; }
  bool on_comment(std::string_view, ErrorCode&) { return true; }

 private:
  bool refuse(std::string_view what, ErrorCode& error) {
    fault_ = "model: vocab: token \"" + key_ + "\" has " + std::string(what) + " where an id from 0 to " +
             std::to_string(kMaxTokenId) + " is due";
    error = json::error::syntax;
    return false;
  }

  json::value_stack values_;
  VocabularyList vocabulary_;
  std::string key_;          // the last one, of the document, of model or of its vocabulary
  std::string partial_key_;  // of a key that comes in parts
  std::string fault_;
  std::size_t depth_ = 0;  // objects and lists around the current place
  bool in_model_ = false, in_vocabulary_ = false;
};

}  // namespace

TokenizerJson parse_tokenizer_document(std::string_view text, const std::string& origin) {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::basic_parser<Handler> parser(options);
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

}  // namespace kvasir::text
