// Cuts a template into text and the tokens of its tags, with the settings that Hugging Face renders with: a
// line break after a block tag is dropped (trim_blocks), white space before one on its line too
// (lstrip_blocks), and so is one line break at the end of the template.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::jinja {

struct Token {
  enum class Type {
    kText,           // between tags
    kBlockBegin,     // {%
    kBlockEnd,       // %}
    kVariableBegin,  // {{
    kVariableEnd,    // }}
    kName,
    kString,  // text: its content
    kInteger,
    kFloat,
    kOperator,  // text: which
    kEnd
  };
  Type type;
  int line;
  std::string text;
  std::int64_t integer = 0;
  double number = 0;
};

// The last token is kEnd. Throws kFormat "ORIGIN:LINE: …".
std::vector<Token> tokenize(std::string_view source, const std::string& origin);

}  // namespace kvasir::jinja
