// Which format a file has.
#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "documents/formats.h"
#include "documents/zip_archive.h"

namespace kvasir::documents {

namespace {

struct Signature {
  std::string_view bytes;
  const char* advice;
};
// Formats that are not read, by their first bytes.
constexpr std::array<Signature, 6> kUnread = {{
    {"\x1f\x8b", "is compressed with gzip; unpack it first: gzip -dc FILE | kvasir ask -q QUESTION"},
    {"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it first: zstd -dc FILE | kvasir ask -q QUESTION"},
    {"\xfd"
     "7zXZ",
     "is compressed with xz; unpack it first: xz -dc FILE | kvasir ask -q QUESTION"},
    {"BZh", "is compressed with bzip2; unpack it first: bzip2 -dc FILE | kvasir ask -q QUESTION"},
    {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
     "is an old Office file (.doc, .xls, .ppt); save it as .docx, .xlsx or .pptx first"},
    {"{\\rtf", "is RTF; save it as .docx or .odt first"},
}};

// How much of a file is examined to distinguish text from binary data, as grep and git do.
constexpr std::size_t kProbe = 8192;
// One stray NUL does not make a text binary (extractors leave them); one in 50 bytes does.
constexpr std::size_t kMaxNulShare = 50;

std::string extension(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos || name.find('/', dot) != std::string::npos) return "";
  std::string ending = name.substr(dot + 1);
  std::ranges::transform(ending, ending.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return ending;
}

Format recognize_archive(std::string_view bytes, const ConvertOptions& options) {
  ZipArchive archive(bytes, options);
  if (archive.has("word/document.xml")) return Format::kDocx;
  if (archive.has("ppt/presentation.xml")) return Format::kPptx;
  if (archive.has("xl/workbook.xml")) return Format::kXlsx;
  if (archive.has("META-INF/container.xml")) return Format::kEpub;
  if (archive.has("content.xml")) return Format::kOdt;
  throw Error(ErrorCode::kUnsupported, options.name +
                                           ": is a ZIP archive of a kind that is not read; unpack it first "
                                           "(read are .docx, .pptx, .xlsx, .odt, .epub)");
}

bool is_archive(std::string_view probe) {
  return probe.starts_with("PK\x03\x04") || probe.starts_with("PK\x05\x06");
}

bool begins_as_html(std::string_view probe) {
  const std::size_t at = probe.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (at == std::string_view::npos) return false;
  std::string head(probe.substr(at, 14));
  std::ranges::transform(head, head.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return head.starts_with("<!doctype html") || head.starts_with("<html");
}

// NULs: binary data, or UTF-16, where they are every second byte, or UTF-32.
bool is_binary(std::string_view probe) {
  const auto nuls = static_cast<std::size_t>(std::ranges::count(probe, '\0'));
  if (nuls == 0 || probe.starts_with("\xff\xfe") || probe.starts_with("\xfe\xff")) return false;
  if (probe.starts_with(std::string_view("\0\0\xfe\xff", 4))) return false;
  std::size_t odd = 0;
  for (std::size_t i = 1; i < probe.size(); i += 2) odd += probe[i] == '\0';
  if ((odd == nuls || odd == 0) && nuls * 4 > probe.size()) return false;
  const std::size_t invalid = base::find_invalid_utf8(probe);
  const bool utf8 = invalid + 4 > probe.size();  // a character may be cut at the end
  return !utf8 || nuls * kMaxNulShare > probe.size();
}

}  // namespace

void check_beginning(std::string_view bytes, const ConvertOptions& options) {
  const std::string_view probe = bytes.substr(0, kProbe);
  if (probe.starts_with("%PDF-") || is_archive(probe)) return;
  for (const Signature& signature : kUnread) {
    if (probe.starts_with(signature.bytes))
      throw Error(ErrorCode::kUnsupported, options.name + ": " + signature.advice);
  }
  if (is_binary(probe)) {
    throw Error(
        ErrorCode::kInvalidArgument,
        options.name + ": is a binary file of a kind that is not read; kvasir help ask lists those that are");
  }
}

Format recognize(std::string_view bytes, const ConvertOptions& options) {
  if (bytes.empty())
    throw Error(ErrorCode::kInvalidArgument, options.name + ": empty; there is nothing to search");
  check_beginning(bytes, options);
  const std::string_view probe = bytes.substr(0, kProbe);
  if (probe.starts_with("%PDF-")) return Format::kPdf;
  if (is_archive(probe)) return recognize_archive(bytes, options);
  const std::string ending = extension(options.name);
  if (ending == "md" || ending == "markdown") return Format::kMarkdown;
  if (ending == "eml") return Format::kEmail;
  if (ending == "html" || ending == "htm" || ending == "xhtml" || begins_as_html(probe)) return Format::kHtml;
  return Format::kText;
}

}  // namespace kvasir::documents
