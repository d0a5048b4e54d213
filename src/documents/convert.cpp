#include "kvasir/convert.h"

#include <algorithm>
#include <new>
#include <utility>

#include "documents/encoding.h"
#include "documents/formats.h"

namespace kvasir {

std::string Location::describe() const {
  std::string at = std::to_string(number);
  switch (unit) {
    case Unit::kLine:
      return "line " + at;
    case Unit::kPage:
      return "page " + at;
    case Unit::kParagraph:
      return "paragraph " + at;
    case Unit::kSlide:
      return "slide " + at;
    case Unit::kRow:
      return "sheet " + label + ", row " + at;
    case Unit::kSection:
      return "section " + at + (label.empty() ? "" : " (" + label + ")");
    case Unit::kMessage:
      return "message " + at + (label.empty() ? "" : " (" + label + ")");
  }
  return at;
}

Location ConvertedText::locate(std::size_t byte) const {
  if (marks.empty()) {
    const std::string_view before = std::string_view(text).substr(0, byte);
    return {.unit = Location::Unit::kLine,
            .number = 1 + static_cast<std::size_t>(std::ranges::count(before, '\n'))};
  }
  const auto next = std::ranges::upper_bound(marks, byte, {}, &Mark::begin);
  const Mark& mark = next == marks.begin() ? *next : *std::prev(next);
  return {.unit = unit, .number = mark.number, .label = mark.label};
}

namespace documents {

ConvertedText convert_text(std::string bytes, const ConvertOptions& options) {
  const std::size_t size = bytes.size();
  Utf8Text decoded = detect_and_decode(std::move(bytes), options.name);
  ConvertedText result;
  result.format = "text";
  result.encoding = std::move(decoded.encoding);
  result.text = std::move(decoded.text);
  result.verbatim = result.encoding == "UTF-8" && result.text.size() == size;
  return result;
}

namespace {

ConvertedText convert_as(Format format, std::string bytes, const ConvertOptions& options) {
  switch (format) {
    case Format::kText:
      return convert_text(std::move(bytes), options);
    case Format::kMarkdown:
      return convert_markdown(bytes, options);
    case Format::kHtml:
      return convert_html(bytes, options);
    case Format::kPdf:
      return convert_pdf(bytes, options);
    case Format::kDocx:
      return convert_docx(bytes, options);
    case Format::kPptx:
      return convert_pptx(bytes, options);
    case Format::kXlsx:
      return convert_xlsx(bytes, options);
    case Format::kOdt:
      return convert_odt(bytes, options);
    case Format::kEpub:
      return convert_epub(bytes, options);
    case Format::kEmail:
      return convert_email(bytes, options);
  }
  throw Error(ErrorCode::kUnsupported, options.name + ": unknown format");
}

}  // namespace
}  // namespace documents

ConvertedText convert(std::string bytes, const ConvertOptions& given) {
  ConvertOptions options = given;
  if (options.name.empty()) options.name = "document";
  try {
    const documents::Format format = documents::recognize(bytes, options);
    return documents::convert_as(format, std::move(bytes), options);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResourceExhausted, options.name + ": there is not enough memory to convert it");
  }
}

}  // namespace kvasir
