// Excel workbooks (Office Open XML, ECMA-376 part 1, clause 18): the rows of each sheet, cells apart by tabs,
// values as stored, dates as ISO 8601.
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

#include "documents/formats.h"
#include "documents/text_builder.h"
#include "documents/xml.h"

namespace kvasir::documents {

namespace {

constexpr const char* kWorkbook = "xl/workbook.xml";

template <class Number>
bool parse(std::string_view text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// The text of a string item or an inline string: its runs, without phonetic readings.
void append_runs(const pugi::xml_node& item, std::string& out) {
  for (const pugi::xml_node& n : item.children()) {
    if (local_name(n) == "t") {
      out += n.text().get();
    } else if (local_name(n) == "r") {
      append_runs(n, out);
    }
  }
}

// Built-in number formats that show dates (clause 18.8.30), and custom ones with a letter of a date in them,
// outside quotes and brackets.
bool is_date_format(std::size_t id) {
  return (id >= 14 && id <= 22) || (id >= 45 && id <= 47);
}
bool is_date_code(std::string_view code) {
  bool quoted = false, bracket = false;
  for (std::size_t i = 0; i < code.size(); ++i) {
    const char c = code[i];
    if (c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == '[' || c == ']') {
      bracket = c == '[';
    } else if (!quoted && !bracket && std::string_view("yYmMdDhHsS").find(c) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

struct Workbook {
  std::vector<std::string> strings;
  std::vector<bool> date_styles;  // by cell style
  bool since_1904 = false;
};

void read_strings(ZipArchive& archive, const std::string& entry, const ConvertOptions& options,
                  Workbook& book) {
  pugi::xml_document part;
  read_xml(archive, entry, options, part);
  for (const pugi::xml_node& item : child(part, "sst").children()) {
    if (local_name(item) == "si") append_runs(item, book.strings.emplace_back());
  }
}

void read_styles(ZipArchive& archive, const std::string& entry, const ConvertOptions& options,
                 Workbook& book) {
  pugi::xml_document part;
  read_xml(archive, entry, options, part);
  const pugi::xml_node sheet = child(part, "styleSheet");
  std::map<std::string, bool, std::less<>> custom;
  for (const pugi::xml_node& format : child(sheet, "numFmts").children()) {
    custom[std::string(attribute(format, "numFmtId"))] = is_date_code(attribute(format, "formatCode"));
  }
  for (const pugi::xml_node& style : child(sheet, "cellXfs").children()) {
    const std::string_view id = attribute(style, "numFmtId");
    const auto known = custom.find(id);
    std::size_t number = 0;
    book.date_styles.push_back(known != custom.end() ? known->second
                                                     : parse(id, number) && is_date_format(number));
  }
}

// Days since the epoch of the workbook, as a date and, if it has one, a time. Excel's day 60 (29 February
// 1900) never was; days before it are off by one, and not used in practice.
std::string date_text(double days, bool since_1904) {
  using namespace std::chrono;
  constexpr double kLastDay = 2958466;  // the year 10000
  if (!(days >= 0 && days < kLastDay)) return "";
  const sys_days epoch = since_1904 ? sys_days(year{1904} / 1 / 1) : sys_days(year{1899} / 12 / 30);
  const auto whole = static_cast<int>(days);
  const auto minutes = static_cast<int>(std::lround((days - whole) * 24 * 60));
  const year_month_day date(epoch + std::chrono::days(whole + minutes / (24 * 60)));
  char text[32];
  std::string out;
  if (whole > 0) {
    std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
    out = text;
  }
  if (minutes % (24 * 60) != 0 || whole == 0) {
    std::snprintf(text, sizeof text, "%s%02d:%02d", out.empty() ? "" : " ", minutes / 60 % 24, minutes % 60);
    out += text;
  }
  return out;
}

std::string cell_text(const pugi::xml_node& cell, const Workbook& book) {
  const std::string_view type = attribute(cell, "t");
  std::string text;
  if (type == "inlineStr") {
    append_runs(child(cell, "is"), text);
    return text;
  }
  const std::string_view value = child(cell, "v").text().get();
  std::size_t index = 0;
  if (type == "s") return parse(value, index) && index < book.strings.size() ? book.strings[index] : "";
  if (type == "b") return value == "1" ? "TRUE" : "FALSE";
  double number = 0;
  if ((type.empty() || type == "n") && parse(attribute(cell, "s"), index) &&
      index < book.date_styles.size() && book.date_styles[index] && parse(value, number)) {
    text = date_text(number, book.since_1904);
    if (!text.empty()) return text;
  }
  return std::string(value);
}

void read_sheet(ZipArchive& archive, const std::string& entry, const std::string& name,
                const ConvertOptions& options, const Workbook& book, TextBuilder& out) {
  pugi::xml_document part;
  read_xml(archive, entry, options, part);
  out.block();
  std::size_t number = 0;
  for (const pugi::xml_node& row : child(child(part, "worksheet"), "sheetData").children()) {
    std::size_t given = 0;
    number = parse(attribute(row, "r"), given) ? given : number + 1;
    out.line_break();
    out.mark(number, name);
    for (const pugi::xml_node& cell : row.children()) {
      out.inline_text(cell_text(cell, book));
      out.cell();
    }
  }
}

}  // namespace

ConvertedText convert_xlsx(std::string_view bytes, const ConvertOptions& options) {
  ZipArchive archive(bytes, options);
  pugi::xml_document document;
  read_xml(archive, kWorkbook, options, document);
  const pugi::xml_node workbook = child(document, "workbook");
  const auto parts = relationships(archive, kWorkbook, options);
  Workbook book;
  const std::string_view epoch = attribute(child(workbook, "workbookPr"), "date1904");
  book.since_1904 = epoch == "1" || epoch == "true";
  for (const auto& [id, part] : parts) {
    if (part.type == "sharedStrings") read_strings(archive, part.target, options, book);
    if (part.type == "styles") read_styles(archive, part.target, options, book);
  }
  TextBuilder out(options, Location::Unit::kRow);
  for (const pugi::xml_node& sheet : child(workbook, "sheets").children()) {
    const auto part = parts.find(std::string(attribute(sheet, "id")));
    if (part == parts.end() || part->second.type != "worksheet") continue;
    read_sheet(archive, part->second.target, std::string(attribute(sheet, "name")), options, book, out);
  }
  return std::move(out).finish("xlsx");
}

}  // namespace kvasir::documents
