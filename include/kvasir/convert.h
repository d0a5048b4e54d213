// kvasir/convert.h: the text of a document, whatever file format it comes in.
//
//   auto document = kvasir::convert(bytes, {.name = "report.pdf"});
//   auto prepared = reader.prepare(document.text, "report.pdf");
//   auto answer = reader.ask("Who audited it?", prepared).answers.at(0);
//   auto place = document.locate(answer.range.byte_start);
//   std::cout << answer.text << ", " << place.describe() << '\n';  // Mazars, page 3
//
// Reads plain text and Markdown in any common encoding, HTML, PDF (through the program pdftotext), Word
// (.docx), PowerPoint (.pptx), Excel (.xlsx), OpenDocument text (.odt), EPUB and e-mail (.eml). The format is
// detected from the bytes, and from the name's extension where bytes are ambiguous (Markdown, HTML, e-mail).
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/error.h"

namespace kvasir {

struct ConvertOptions {
  std::string name = {};  // of the file: for error messages, and its extension for the format

  // Limits that no ordinary document reaches; beyond them the call throws Error{kResourceExhausted}.
  std::size_t max_text_bytes = std::size_t{256} << 20;  // of the result
  std::size_t max_entry_bytes = std::size_t{64} << 20;  // of one unpacked part of a ZIP-based format
  std::size_t max_memory_bytes = std::size_t{2} << 30;  // address space of pdftotext
  int timeout_seconds = 120;                            // of pdftotext

  std::string pdftotext = "pdftotext";  // the program, searched for in PATH

  // If set and *cancel becomes true, the call throws Error{kCancelled}: within 0.1 s while pdftotext runs.
  const std::atomic<bool>* cancel = nullptr;
};

// A place in the file that a text was converted from.
struct Location {
  enum class Unit { kLine, kPage, kParagraph, kSlide, kRow, kSection, kMessage };
  Unit unit = Unit::kLine;
  std::size_t number = 1;  // counts from 1
  std::string label = {};  // kRow: the sheet's name; kSection: the part's file name; kMessage: its subject
  // "line 12", "page 3", "sheet Costs, row 7", "section 2 (chapter1.xhtml)"
  std::string describe() const;
};

struct ConvertedText {
  // What begins at a byte of the text: a page, a line of the source, …
  struct Mark {
    std::size_t begin = 0;
    std::size_t number = 1;
    std::string label = {};
  };

  std::string text;      // UTF-8, well-formed
  std::string format;    // "text", "markdown", "html", "pdf", "docx", "pptx", "xlsx", "odt", "epub", "email"
  std::string encoding;  // of the file's text, for text, Markdown and HTML: "UTF-8", "WINDOWS-1252", …
  Location::Unit unit = Location::Unit::kLine;  // of the marks
  std::vector<Mark> marks;                      // by ascending begin; empty: the lines of `text` itself

  // Where the byte of `text` stands in the file; byte <= text.size().
  Location locate(std::size_t byte) const;
  // True if `text` is the file byte for byte.
  bool verbatim = false;
};

// Throws Error: kUnsupported (a format that is not read, no pdftotext), kFormat (broken or encrypted file, or
// one without text), kInvalidArgument (neither a known format nor text; the encoding cannot be told),
// kResourceExhausted (limits), kIo, kCancelled.
ConvertedText convert(std::string bytes, const ConvertOptions& options = {});

}  // namespace kvasir
