// A position in the tokens of a template, for the parser: the next token, and errors with their place.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jinja/lexer.h"
#include "kvasir/error.h"

namespace kvasir::jinja {

class TokenCursor {
 public:
  TokenCursor(std::vector<Token> tokens, const std::string& origin)
      : tokens_(std::move(tokens)), origin_(origin) {}

 protected:
  [[noreturn]] void fail(const std::string& what, ErrorCode code = ErrorCode::kFormat) const {
    throw Error(code, origin_ + ":" + std::to_string(current().line) + ": " + what);
  }
  const Token& current() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  static bool is(const Token& token, Token::Type type, std::string_view text) {
    return token.type == type && token.text == text;
  }
  bool at_operator(std::string_view op) const { return is(current(), Token::Type::kOperator, op); }
  bool at_name(std::string_view name) const { return is(current(), Token::Type::kName, name); }
  bool take_operator(std::string_view op) {
    if (!at_operator(op)) return false;
    ++at_;
    return true;
  }
  bool take_name(std::string_view name) {
    if (!at_name(name)) return false;
    ++at_;
    return true;
  }
  std::string shown() const {
    if (current().type == Token::Type::kString) return "a string";
    if (current().type == Token::Type::kText) return "text";
    return current().text;
  }
  void expect_operator(std::string_view op, const std::string& where) {
    if (!take_operator(op)) fail("expected " + std::string(op) + " " + where + ", found " + shown());
  }
  std::string expect_name(const std::string& what) {
    if (current().type != Token::Type::kName) fail("expected " + what + ", found " + shown());
    return take().text;
  }
  void expect_block_end(const std::string& tag) {
    if (current().type != Token::Type::kBlockEnd)
      fail("expected %} after {% " + tag + " …, found " + shown());
    take();
  }

  // One level deeper, until the end of the block.
  struct Nested {
    explicit Nested(TokenCursor& parser) : depth(parser.nesting_) {
      if (++depth > kMaxNesting) {
        parser.fail("blocks or brackets are nested too deep", ErrorCode::kResourceExhausted);
      }
    }
    ~Nested() { --depth; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;
    int& depth;
  };

 private:
  // Maximum nesting of brackets and blocks (a bracket counts twice), which bounds the parser's recursion.
  static constexpr int kMaxNesting = 200;

  std::vector<Token> tokens_;
  const std::string& origin_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace kvasir::jinja
