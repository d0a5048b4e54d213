// XML parts of documents, and what the Office formats share.
#pragma once

#include <map>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "documents/zip_archive.h"

namespace kvasir::documents {

// Deeper nesting, which no writer produces, is refused, because readers of the tree recurse.
inline constexpr int kMaxDepth = 256;

// Parses a part of an archive. Throws kFormat: not well-formed, nested deeper than kMaxDepth.
void parse_xml(std::string_view content, const std::string& where, pugi::xml_document& document);
// Reads and parses.
void read_xml(ZipArchive& archive, const std::string& entry, const ConvertOptions& options,
              pugi::xml_document& document);

// The element's name without its prefix: writers differ in prefixes.
std::string_view local_name(const pugi::xml_node& node);
// The attribute of this local name, or "".
std::string_view attribute(const pugi::xml_node& node, std::string_view local);
// The first child element, or descendant along a path, of these local names; null if there is none.
pugi::xml_node child(const pugi::xml_node& node, std::string_view local);

struct Relationship {
  std::string type;    // the last part of its URI: "slide", "notesSlide", "worksheet"
  std::string target;  // entry of the archive
};
// The relationships of an Office Open XML part by id ("rId1"); none if it has no .rels. External targets are
// left out.
std::map<std::string, Relationship> relationships(ZipArchive& archive, const std::string& entry,
                                                  const ConvertOptions& options);

}  // namespace kvasir::documents
