// Assembles a converted text: collapses white space as a browser does, separates paragraphs, sets marks.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "kvasir/convert.h"

namespace kvasir::documents {

class TextBuilder {
 public:
  TextBuilder(const ConvertOptions& options, Location::Unit unit) : options_(options) { result_.unit = unit; }

  // Running text: runs of white space become one space, none at the beginning of a line.
  void inline_text(std::string_view text);
  // Text whose spaces and line breaks stay.
  void verbatim(std::string_view text);
  // The next text begins on a new line; or as a new paragraph, after an empty line.
  void line_break() { breaks_ = breaks_ < 1 ? 1 : breaks_; }
  void block() { breaks_ = 2; }
  // Between the cells of a table's row.
  void cell() { cell_ = true; }

  // What follows belongs to this page, line, …; a mark without text after it is dropped.
  void mark(std::size_t number, std::string label = {});

  // Text that stands on lines of the file from `first` on, each of which is marked; inline, or with its line
  // breaks.
  void source_lines(std::string_view text, std::size_t first, bool keep_breaks);

  // Bytes so far.
  std::size_t size() const noexcept { return result_.text.size(); }

  // Throws kFormat if there is no text.
  ConvertedText finish(std::string format) &&;

 private:
  void before_text();
  void check() const;

  const ConvertOptions& options_;
  ConvertedText result_;
  int breaks_ = 0;      // line ends owed before the next text
  bool space_ = false;  // a space owed
  bool cell_ = false;   // a tab owed
  bool has_mark_ = false;
  ConvertedText::Mark next_;
};

}  // namespace kvasir::documents
