// Word documents (Office Open XML, ECMA-376 part 1, clause 17).
#include "documents/formats.h"
#include "documents/text_builder.h"
#include "documents/xml.h"

namespace kvasir::documents {

namespace {

// Word notes where it last broke pages; other writers do not, and their documents are cited by paragraph.
bool has_page_breaks(const pugi::xml_node& document) {
  return document.find_node(
             [](const pugi::xml_node& n) { return local_name(n) == "lastRenderedPageBreak"; }) != nullptr;
}

class Walker {
 public:
  Walker(TextBuilder& out, bool pages) : out_(out), pages_(pages) {
    if (pages_) out_.mark(page_);
  }

  void walk(const pugi::xml_node& node) {
    for (const pugi::xml_node& n : node.children()) element(n);
  }

 private:
  void element(const pugi::xml_node& n) {
    const std::string_view name = local_name(n);
    if (name == "t") {
      text(n);
    } else if (name == "p") {
      if (!in_cell_) out_.block();
      if (!pages_) out_.mark(++paragraph_);
      walk(n);
      if (in_cell_) out_.inline_text(" ");
    } else if (name == "tr") {
      out_.line_break();
      walk(n);
    } else if (name == "tc") {
      const bool outer = in_cell_;
      in_cell_ = true;
      walk(n);
      in_cell_ = outer;
      out_.cell();
    } else if (name == "tbl") {
      out_.block();
      walk(n);
      if (!in_cell_) out_.block();
    } else if (name == "br" && attribute(n, "type").empty()) {
      out_.line_break();
    } else if (name == "tab" && local_name(n.parent()) == "r") {
      out_.inline_text(" ");
    } else if (name == "noBreakHyphen") {
      out_.verbatim("-");
    } else if (name == "lastRenderedPageBreak") {
      if (pages_) out_.mark(++page_);
    } else if (name != "delText" && name != "instrText" && name != "Fallback" && name != "pPr" &&
               name != "rPr") {
      walk(n);  // "Fallback" repeats what AlternateContent's Choice says
    }
  }

  void text(const pugi::xml_node& n) { out_.inline_text(n.text().get()); }

  TextBuilder& out_;
  bool pages_, in_cell_ = false;
  std::size_t page_ = 1, paragraph_ = 0;
};

}  // namespace

ConvertedText convert_docx(std::string_view bytes, const ConvertOptions& options) {
  ZipArchive archive(bytes, options);
  pugi::xml_document document;
  read_xml(archive, "word/document.xml", options, document);
  const bool pages = has_page_breaks(document);
  TextBuilder out(options, pages ? Location::Unit::kPage : Location::Unit::kParagraph);
  Walker walker(out, pages);
  walker.walk(document);
  for (const char* notes : {"word/footnotes.xml", "word/endnotes.xml"}) {
    if (!archive.has(notes)) continue;
    pugi::xml_document part;
    read_xml(archive, notes, options, part);
    walker.walk(part);
  }
  return std::move(out).finish("docx");
}

}  // namespace kvasir::documents
