// PowerPoint presentations (Office Open XML, ECMA-376 part 1, clause 19): the slides in their order, each
// with its notes.
#include "documents/formats.h"
#include "documents/text_builder.h"
#include "documents/xml.h"

namespace kvasir::documents {

namespace {

constexpr const char* kPresentation = "ppt/presentation.xml";

void walk(const pugi::xml_node& node, TextBuilder& out) {
  for (const pugi::xml_node& n : node.children()) {
    const std::string_view name = local_name(n);
    if (name == "t") {
      out.inline_text(n.text().get());
    } else if (name == "br") {
      out.line_break();
    } else if (name == "tc") {
      walk(n, out);
      out.cell();
    } else if (name == "fld" && attribute(n, "type") == "slidenum") {
      continue;
    } else {
      const bool in_cell = local_name(n.parent().parent()) == "tc";
      if (name == "p" && !in_cell) out.line_break();
      if (name == "txBody" && local_name(n.parent()) != "tc") out.block();
      if (name == "tr") out.line_break();
      walk(n, out);
    }
  }
}

void read_part(ZipArchive& archive, const std::string& entry, const ConvertOptions& options,
               TextBuilder& out) {
  pugi::xml_document part;
  read_xml(archive, entry, options, part);
  out.block();
  walk(part, out);
}

}  // namespace

ConvertedText convert_pptx(std::string_view bytes, const ConvertOptions& options) {
  ZipArchive archive(bytes, options);
  pugi::xml_document presentation;
  read_xml(archive, kPresentation, options, presentation);
  const auto parts = relationships(archive, kPresentation, options);
  TextBuilder out(options, Location::Unit::kSlide);
  std::size_t number = 0;
  for (const pugi::xml_node& id : child(child(presentation, "presentation"), "sldIdLst").children()) {
    std::string_view relationship;
    for (const pugi::xml_attribute& a : id.attributes()) {
      // "id" is the slide's own number, "r:id" names its part
      if (std::string_view(a.name()).ends_with(":id")) relationship = a.value();
    }
    const auto part = parts.find(std::string(relationship));
    if (part == parts.end()) continue;
    out.mark(++number);
    read_part(archive, part->second.target, options, out);
    for (const auto& [name, related] : relationships(archive, part->second.target, options)) {
      if (related.type == "notesSlide" && archive.has(related.target))
        read_part(archive, related.target, options, out);
    }
  }
  return std::move(out).finish("pptx");
}

}  // namespace kvasir::documents
