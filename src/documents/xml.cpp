#include "documents/xml.h"

namespace kvasir::documents {

namespace {

std::string_view without_prefix(std::string_view name) {
  const std::size_t colon = name.rfind(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

struct DepthCheck : pugi::xml_tree_walker {
  bool for_each(pugi::xml_node&) override { return depth() < kMaxDepth; }
};

}  // namespace

void parse_xml(std::string_view content, const std::string& where, pugi::xml_document& document) {
  // White space between elements matters in running text ("<t> </t>").
  const pugi::xml_parse_result result =
      document.load_buffer(content.data(), content.size(), pugi::parse_default | pugi::parse_ws_pcdata);
  if (!result) {
    throw Error(ErrorCode::kFormat, where + ": broken XML at byte " + std::to_string(result.offset) + ": " +
                                        result.description());
  }
  DepthCheck check;
  if (!document.traverse(check)) {
    throw Error(ErrorCode::kFormat,
                where + ": nested deeper than " + std::to_string(kMaxDepth) + " elements");
  }
}

void read_xml(ZipArchive& archive, const std::string& entry, const ConvertOptions& options,
              pugi::xml_document& document) {
  parse_xml(archive.read(entry), options.name + ": " + entry, document);
}

std::string_view local_name(const pugi::xml_node& node) {
  return without_prefix(node.name());
}

std::string_view attribute(const pugi::xml_node& node, std::string_view local) {
  for (const pugi::xml_attribute& a : node.attributes()) {
    if (without_prefix(a.name()) == local) return a.value();
  }
  return "";
}

pugi::xml_node child(const pugi::xml_node& node, std::string_view local) {
  for (const pugi::xml_node& c : node.children()) {
    if (local_name(c) == local) return c;
  }
  return {};
}

std::map<std::string, Relationship> relationships(ZipArchive& archive, const std::string& entry,
                                                  const ConvertOptions& options) {
  const std::size_t slash = entry.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : entry.substr(0, slash + 1);
  const std::string file = slash == std::string::npos ? entry : entry.substr(slash + 1);
  const std::string rels = folder + "_rels/" + file + ".rels";
  std::map<std::string, Relationship> result;
  if (!archive.has(rels)) return result;
  pugi::xml_document document;
  read_xml(archive, rels, options, document);
  for (const pugi::xml_node& r : child(document, "Relationships").children()) {
    if (local_name(r) != "Relationship" || attribute(r, "TargetMode") == "External") continue;
    const std::string_view type = attribute(r, "Type");
    const std::size_t last = type.rfind('/');
    result[std::string(attribute(r, "Id"))] = {
        .type = std::string(last == std::string_view::npos ? type : type.substr(last + 1)),
        .target = resolve_entry(entry, attribute(r, "Target"))};
  }
  return result;
}

}  // namespace kvasir::documents
