// OpenDocument text (OASIS OpenDocument 1.3, part 3): content.xml. Spreadsheets and presentations of the
// family hold their text in the same elements and are read alike.

#include "documents/formats.h"
#include "documents/text_builder.h"
#include "documents/xml.h"

namespace kvasir::documents {

namespace {

class Walker {
 public:
  explicit Walker(TextBuilder& out) : out_(out) {}

  void walk(const pugi::xml_node& node) {
    for (const pugi::xml_node& n : node.children()) {
      if (n.type() == pugi::node_pcdata || n.type() == pugi::node_cdata) {
        if (in_paragraph_ > 0) out_.inline_text(n.value());
      } else if (n.type() == pugi::node_element) {
        element(n);
      }
    }
  }

 private:
  void element(const pugi::xml_node& n) {
    const std::string_view name = local_name(n);
    if (name == "p" || name == "h") {
      if (cells_ == 0) out_.block();
      out_.mark(++paragraph_);
      ++in_paragraph_;
      walk(n);
      --in_paragraph_;
      if (cells_ > 0) out_.inline_text(" ");
    } else if (name == "s" || name == "tab") {
      out_.inline_text(" ");
    } else if (name == "line-break") {
      out_.line_break();
    } else if (name == "table-row") {
      if (cells_ == 0) out_.line_break();
      walk(n);
    } else if (name == "table-cell") {
      ++cells_;
      walk(n);
      --cells_;
      if (cells_ == 0) out_.cell();
    } else if (name != "tracked-changes" && name != "annotation" && name != "sequence-decls" &&
               name != "binary-data") {
      walk(n);
      if (name == "table" && cells_ == 0) out_.block();
    }
  }

  TextBuilder& out_;
  int in_paragraph_ = 0, cells_ = 0;
  std::size_t paragraph_ = 0;
};

}  // namespace

ConvertedText convert_odt(std::string_view bytes, const ConvertOptions& options) {
  ZipArchive archive(bytes, options);
  pugi::xml_document content;
  read_xml(archive, "content.xml", options, content);
  TextBuilder out(options, Location::Unit::kParagraph);
  Walker(out).walk(child(child(content, "document-content"), "body"));
  return std::move(out).finish("odt");
}

}  // namespace kvasir::documents
