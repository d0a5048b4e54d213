// EPUB books (EPUB 3.3): the pages in the order of the spine.
#include "documents/encoding.h"
#include "documents/formats.h"
#include "documents/html.h"
#include "documents/xml.h"

namespace kvasir::documents {

namespace {

// XHTML may write <title/>; an HTML parser would take all that follows for the title.
std::string open_empty_elements(std::string page) {
  for (const std::string_view name : {"title", "script", "style", "textarea", "iframe"}) {
    const std::string tag = "<" + std::string(name);
    for (std::size_t at = page.find(tag); at != std::string::npos; at = page.find(tag, at + 1)) {
      const std::size_t end = page.find('>', at);
      if (end == std::string::npos) break;
      if (page[end - 1] == '/') page.replace(end - 1, 2, "></" + std::string(name) + ">");
    }
  }
  return page;
}

// The path of a link: percent-encoded characters decoded, no fragment.
std::string decoded_path(std::string_view link) {
  const auto hex = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
  };
  std::string path;
  for (std::size_t i = 0; i < link.size() && link[i] != '#'; ++i) {
    if (link[i] == '%' && i + 2 < link.size() && hex(link[i + 1]) >= 0 && hex(link[i + 2]) >= 0) {
      path += static_cast<char>(hex(link[i + 1]) * 16 + hex(link[i + 2]));
      i += 2;
    } else {
      path += link[i];
    }
  }
  return path;
}

}  // namespace

ConvertedText convert_epub(std::string_view bytes, const ConvertOptions& options) {
  ZipArchive archive(bytes, options);
  if (archive.has("META-INF/encryption.xml") && archive.has("META-INF/rights.xml")) {
    throw Error(ErrorCode::kFormat, options.name + ": protected against copying (DRM)");
  }
  pugi::xml_document container;
  read_xml(archive, "META-INF/container.xml", options, container);
  const std::string package_entry(
      attribute(child(child(child(container, "container"), "rootfiles"), "rootfile"), "full-path"));
  pugi::xml_document document;
  read_xml(archive, package_entry, options, document);
  const pugi::xml_node package = child(document, "package");
  std::map<std::string, std::string, std::less<>> pages;
  for (const pugi::xml_node& item : child(package, "manifest").children()) {
    const std::string_view type = attribute(item, "media-type");
    if (type != "application/xhtml+xml" && type != "text/html") continue;
    pages[std::string(attribute(item, "id"))] =
        resolve_entry(package_entry, decoded_path(attribute(item, "href")));
  }
  TextBuilder out(options, Location::Unit::kSection);
  std::size_t number = 0;
  for (const pugi::xml_node& item : child(package, "spine").children()) {
    const auto page = pages.find(attribute(item, "idref"));
    if (page == pages.end()) continue;
    const std::size_t slash = page->second.rfind('/');
    out.block();
    out.mark(++number, page->second.substr(slash == std::string::npos ? 0 : slash + 1));
    append_html(open_empty_elements(decode_lenient(archive.read(page->second), "UTF-8")), 0, options, out);
  }
  return std::move(out).finish("epub");
}

}  // namespace kvasir::documents
