#include "documents/text_builder.h"

#include <algorithm>
#include <utility>

namespace kvasir::documents {

namespace {

bool is_space(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

}  // namespace

void TextBuilder::mark(std::size_t number, std::string label) {
  next_ = {.begin = 0, .number = number, .label = std::move(label)};
  has_mark_ = true;
}

void TextBuilder::check() const {
  if (options_.cancel != nullptr && *options_.cancel)
    throw Error(ErrorCode::kCancelled, options_.name + ": cancelled");
  if (result_.text.size() <= options_.max_text_bytes) return;
  throw Error(ErrorCode::kResourceExhausted, options_.name + ": unpacks to more than " +
                                                 std::to_string(options_.max_text_bytes >> 20) +
                                                 " MiB of text; split it");
}

// White space that is owed, and the mark, now that there is text for them.
void TextBuilder::before_text() {
  std::string& text = result_.text;
  if (!text.empty()) {
    if (breaks_ > 0) {
      text.append(static_cast<std::size_t>(breaks_), '\n');
    } else if (cell_) {
      text += '\t';
    } else if (space_) {
      text += ' ';
    }
  }
  breaks_ = 0;
  space_ = cell_ = false;
  if (!has_mark_) return;
  has_mark_ = false;
  const bool known = !result_.marks.empty() && result_.marks.back().number == next_.number &&
                     result_.marks.back().label == next_.label;
  if (known) return;
  next_.begin = text.size();
  result_.marks.push_back(std::move(next_));
}

void TextBuilder::inline_text(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (is_space(text[at])) {
      space_ = true;
      ++at;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && !is_space(text[end])) ++end;
    before_text();
    result_.text.append(text, at, end - at);
    at = end;
  }
  check();
}

void TextBuilder::verbatim(std::string_view text) {
  if (text.empty()) return;
  before_text();
  result_.text.append(text);
  check();
}

void TextBuilder::source_lines(std::string_view text, std::size_t first, bool keep_breaks) {
  for (std::size_t line = first; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    mark(line);
    if (keep_breaks) {
      verbatim(text.substr(0, end));
    } else {
      inline_text(text.substr(0, end));
    }
    text.remove_prefix(end);
  }
}

ConvertedText TextBuilder::finish(std::string format) && {
  result_.format = std::move(format);
  const std::size_t end = result_.text.find_last_not_of(" \t\r\n\f");
  if (end == std::string::npos) {
    throw Error(ErrorCode::kFormat, options_.name + ": there is no text in it (" + result_.format + ")");
  }
  result_.text.resize(end + 1);
  return std::move(result_);
}

}  // namespace kvasir::documents
