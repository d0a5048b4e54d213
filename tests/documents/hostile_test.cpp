// Files that want to take memory, time or the program down.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zip.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "kvasir/convert.h"
#include "temporary_folder.h"

namespace kvasir {
namespace {

using testing::HasSubstr;

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string error_of(const std::string& bytes, const ConvertOptions& options) {
  try {
    return "no error, text of " + std::to_string(convert(bytes, options).text.size()) + " bytes";
  } catch (const Error& error) {
    EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
    return error.what();
  }
}

class Hostile : public testing::Test {
 protected:
  const tests::TemporaryFolder folder;

  std::string archive(const std::vector<std::pair<std::string, std::string>>& entries) const {
    const std::string path = (folder / "made.zip").string();
    zip_t* zip = ::zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    for (const auto& [name, content] : entries) {
      zip_source_t* source = ::zip_source_buffer(zip, content.data(), content.size(), 0);
      EXPECT_GE(::zip_file_add(zip, name.c_str(), source, 0), 0);
    }
    EXPECT_EQ(::zip_close(zip), 0);
    return read(path);
  }
  std::string program(const std::string& script) const {
    const std::filesystem::path path = folder / "converter";
    std::ofstream(path) << "#!/bin/sh\n" << script;
    ::chmod(path.c_str(), 0755);
    return path.string();
  }
};

TEST_F(Hostile, ZipBomb) {
  const std::string bomb = archive({{"word/document.xml", std::string(std::size_t{200} << 20, ' ')}});
  EXPECT_LT(bomb.size(), std::size_t{1} << 20);
  EXPECT_THAT(error_of(bomb, {.name = "a.docx"}),
              HasSubstr("a.docx: its part word/document.xml unpacks to more than the limit of 64 MiB"));
  // One whose table of contents lies about the size.
  std::string liar = archive({{"word/document.xml", std::string(std::size_t{2} << 20, ' ')}});
  const std::string size{"\x00\x00\x20\x00", 4};
  const std::size_t at = liar.find(size, liar.rfind("PK\x01\x02"));
  ASSERT_NE(at, std::string::npos);
  liar.replace(at, 4, std::string{"\x10\x00\x00\x00", 4});
  EXPECT_THAT(error_of(liar, {.name = "a.docx", .max_entry_bytes = std::size_t{1} << 20}),
              HasSubstr("a.docx: its part"));
}

TEST_F(Hostile, ManyPartsTogether) {
  const std::string sheet = "<worksheet><sheetData/></worksheet>" + std::string(600'000, ' ');
  std::vector<std::pair<std::string, std::string>> entries;
  std::string sheets, relationships;
  for (int i = 0; i < 4; ++i) {
    const std::string n = std::to_string(i);
    entries.emplace_back("xl/s" + n, sheet);
    sheets += "<sheet name='s' r:id='r" + n + "'/>";
    relationships += "<Relationship Id='r" + n + "' Type='x/worksheet' Target='s" + n + "'/>";
  }
  entries.emplace_back("xl/workbook.xml", "<workbook><sheets>" + sheets + "</sheets></workbook>");
  entries.emplace_back("xl/_rels/workbook.xml.rels", "<Relationships>" + relationships + "</Relationships>");
  EXPECT_THAT(error_of(archive(entries), {.name = "a.xlsx", .max_text_bytes = std::size_t{1} << 20}),
              HasSubstr("unpacks to more than the limit"));
  EXPECT_THAT(error_of(archive(entries), {.name = "a.xlsx"}),
              HasSubstr("a.xlsx: there is no text in it (xlsx)"));
}

TEST_F(Hostile, DeepNesting) {
  std::string xml;
  for (int i = 0; i < 200'000; ++i) xml += "<a>";
  for (int i = 0; i < 200'000; ++i) xml += "</a>";
  EXPECT_THAT(error_of(archive({{"word/document.xml", xml}}), {.name = "a.docx"}),
              HasSubstr("a.docx: word/document.xml: nested deeper than 256 elements"));
  std::string html;
  for (int i = 0; i < 1'000'000; ++i) html += "<div>";
  EXPECT_THAT(error_of(html, {.name = "a.html"}),
              HasSubstr("a.html: its HTML is nested deeper than 2000 elements"));
  EXPECT_THAT(error_of("# T\n\n" + html, {.name = "a.md"}), HasSubstr("nested deeper"));
  const std::string quotes(100'000, '>');
  EXPECT_EQ(convert(quotes + " end", {.name = "a.md"}).text, "end");
  std::string mail = "Subject: deep\n";
  for (int i = 0; i < 3000; ++i) {
    const std::string boundary = "b" + std::to_string(i);
    mail += "Content-Type: multipart/mixed; boundary=" + boundary + "\n\n--" + boundary + "\n";
  }
  EXPECT_THAT(error_of(mail + "\nend\n", {.name = "a.eml"}), HasSubstr("nested deeper than 64"));
}

// Each is a few megabytes and took minutes or tens of gigabytes.
TEST_F(Hostile, HtmlThatCostsMoreThanItsSize) {
  std::string fonts = "<p>", declarations, attributes = "<p";
  for (int i = 0; i < 1900; ++i) fonts += "<font size=" + std::to_string(i) + ">";
  for (int i = 0; i < 500'000; ++i) fonts += "<p>x";
  EXPECT_THAT(error_of(fonts, {.name = "a.html"}), HasSubstr("a.html: its HTML takes too much memory"));
  for (int i = 0; i < 300'000; ++i) attributes += " a" + std::to_string(i) + "=b";
  EXPECT_THAT(error_of(attributes + ">x", {.name = "a.html"}),
              HasSubstr("a.html: an HTML tag has more than 250 attributes"));
  for (int i = 0; i < 500'000; ++i) declarations += "<![CDATA[";
  EXPECT_EQ(convert("<p>x " + declarations, {.name = "a.html"}).text, "x");
  EXPECT_THAT(error_of(declarations, {.name = "a.md"}), HasSubstr("there is no text in it"));
  EXPECT_EQ(convert("<p title=\"a > b = 'c' d/e\" lang = 'en'/><b a=1/>x</b>", {.name = "a.html"}).text, "x");
}

TEST_F(Hostile, DenseTablesAreHonest) {
  std::string html = "<table>";
  for (int i = 0; i < 20'000; ++i) html += "<tr><td>a<td>b";
  EXPECT_GT(convert(html, {.name = "a.html"}).text.size(), 79'000U);
}

TEST_F(Hostile, UnclosedElementsOfHonestPagesAreNotDeep) {
  std::string html;
  for (int i = 0; i < 20'000; ++i) html += "<p>one<br><ul><li>two<li>three</ul><img src=a>";
  EXPECT_GT(convert(html, {.name = "a.html"}).text.size(), 200'000U);
}

TEST_F(Hostile, AConverterThatHangs) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(
      error_of("%PDF-1.4", {.name = "a.pdf", .timeout_seconds = 1, .pdftotext = program("exec sleep 60\n")}),
      HasSubstr("a.pdf: pdftotext was stopped after 1 s"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_F(Hostile, AConverterThatNeverStopsWriting) {
  EXPECT_THAT(
      error_of("%PDF-1.4",
               {.name = "a.pdf", .max_text_bytes = std::size_t{1} << 20, .pdftotext = program("exec yes\n")}),
      HasSubstr("a.pdf: has more than 1 MiB of text"));
}

TEST_F(Hostile, AConverterThatFails) {
  const std::atomic<bool> cancel{true};
  EXPECT_THAT(
      error_of("%PDF-1.4", {.name = "a.pdf", .pdftotext = program("exec sleep 60\n"), .cancel = &cancel}),
      HasSubstr("a.pdf: cancelled"));
  EXPECT_THAT(error_of("%PDF-1.4", {.name = "a.pdf", .pdftotext = program("kill -SEGV $$\n")}),
              HasSubstr("a.pdf: pdftotext crashed on it (signal 11)"));
  EXPECT_THAT(error_of("%PDF-1.4",
                       {.name = "a.pdf", .pdftotext = program("echo 'Syntax Error: no xref' >&2; exit 1\n")}),
              HasSubstr("a.pdf: broken PDF: Syntax Error: no xref"));
  EXPECT_THAT(error_of("%PDF-1.4", {.name = "a.pdf", .pdftotext = "/nonexistent/pdftotext"}),
              HasSubstr("install it (Debian: poppler-utils)"));
  // One that does not read its input, which is larger than a pipe.
  EXPECT_THAT(error_of("%PDF-1.4" + std::string(1 << 20, 'x'),
                       {.name = "a.pdf", .pdftotext = program("echo text\n")}),
              HasSubstr("no error, text of 4 bytes"));
}

TEST_F(Hostile, BrokenAndForeignFiles) {
  const auto data = [](const char* name) { return read(std::string(KVASIR_TEST_DATA "/documents/") + name); };
  EXPECT_THAT(error_of("PK\x03\x04nothing", {.name = "a.docx"}), HasSubstr("a.docx: broken ZIP archive"));
  EXPECT_THAT(error_of(archive({{"a.txt", "text"}}), {.name = "a.zip"}),
              HasSubstr("a.zip: is a ZIP archive of a kind"));
  EXPECT_THAT(error_of(archive({{"word/document.xml", "<a><b></a>"}}), {.name = "a.docx"}),
              HasSubstr("broken XML at byte"));
  EXPECT_THAT(error_of(archive({{"word/document.xml", "<w:document/>"}}), {.name = "a.docx"}),
              HasSubstr("there is no text"));
  EXPECT_THAT(error_of(archive({{"META-INF/container.xml", "<container/>"}}), {.name = "a.epub"}),
              HasSubstr("is missing"));
  EXPECT_THAT(error_of(data("locked.pdf"), {.name = "a.pdf"}), HasSubstr("a.pdf: encrypted"));
  EXPECT_THAT(error_of(data("scanned.pdf"), {.name = "a.pdf"}), HasSubstr("scanned pages need OCR"));
  EXPECT_THAT(error_of(data("report.pdf").substr(0, 500), {.name = "a.pdf"}), HasSubstr("a.pdf: "));
  EXPECT_THAT(error_of(std::string("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8), {.name = "a.doc"}),
              HasSubstr("save it as .docx"));
  EXPECT_THAT(error_of("{\\rtf1 text}", {.name = "a.rtf"}), HasSubstr("is RTF"));
  EXPECT_THAT(error_of("", {}), HasSubstr("document: empty"));
  EXPECT_THAT(error_of("   \n", {.name = "a.html"}), HasSubstr("there is no text in it (html)"));
}

TEST_F(Hostile, EveryCutAndManyFlipsEndInTextOrAnError) {
  for (const char* name :
       {"lighthouse.docx", "slides.pptx", "costs.xlsx", "ship.odt", "tales.epub", "meeting.eml"}) {
    const std::string good = read(std::string(KVASIR_TEST_DATA "/documents/") + name);
    for (std::size_t i = 0; i < 60; ++i) {
      error_of(good.substr(0, good.size() * i / 60), {.name = name});
      std::string flipped = good;
      for (std::size_t k = 0; k < 4; ++k)
        flipped[(i * 7919 + k * 104729) % flipped.size()] ^= static_cast<char>(1 << k);
      error_of(flipped, {.name = name});
    }
  }
}

}  // namespace
}  // namespace kvasir
