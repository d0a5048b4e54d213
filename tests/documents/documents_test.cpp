// Documents by the writers that people use (tests/data/documents/make.py): their text, and where it stands.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "documents/formats.h"
#include "kvasir/convert.h"

namespace kvasir {
namespace {

std::string read(const std::string& name) {
  std::ifstream in(std::string(KVASIR_TEST_DATA "/documents/") + name, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  EXPECT_FALSE(bytes.empty()) << name;
  return bytes;
}

// "location: line" of each line that is not empty.
std::string outline(const ConvertedText& converted) {
  std::string out;
  for (std::size_t at = 0; at < converted.text.size();) {
    const std::size_t end = std::min(converted.text.find('\n', at), converted.text.size());
    if (end > at) out += converted.locate(at).describe() + ": " + converted.text.substr(at, end - at) + '\n';
    at = end + 1;
  }
  return out;
}

std::string outline_of(const std::string& name) {
  return outline(convert(read(name), {.name = name}));
}

std::string outline_of(const std::string& name, const std::string& bytes) {
  return outline(convert(bytes, {.name = name}));
}

TEST(Documents, Word) {
  EXPECT_EQ(outline_of("lighthouse.docx"),
            "paragraph 1: The lighthouse\n"
            "paragraph 2: It was built by Ruth Marlow in 1811.\n"
            "paragraph 3: The keeper is Tom Håkansson.\n"
            "paragraph 4: Lamp\tParaffin\n"
            "paragraph 6: Height\t36 m\n"
            "paragraph 8: It went dark in 1988.\n");
}

TEST(Documents, PowerPoint) {
  EXPECT_EQ(outline_of("slides.pptx"),
            "slide 1: Budget\n"
            "slide 1: Total: 40 crowns\n"
            "slide 2: Team\n"
            "slide 2: Led by Ada Berg\n"
            "slide 2: Founded in Lund\n"
            "slide 2: Thank Olof.\n");
}

TEST(Documents, Excel) {
  EXPECT_EQ(outline_of("costs.xlsx"),
            "sheet Costs, row 1: Item\tPrice\tBought\n"
            "sheet Costs, row 2: Lamp\t12.5\t2024-03-05\n"
            "sheet Costs, row 3: Rope\t3\t2024-03-06 14:30\n"
            "sheet People, row 4: Keeper: Tom\n"
            "sheet People, row 5: TRUE\n");
}

TEST(Documents, OpenDocument) {
  EXPECT_EQ(outline_of("ship.odt"),
            "paragraph 1: The ship\n"
            "paragraph 2: She sank in 1804 off Arbroath.\n"
            "paragraph 3: Crew\t491\n"
            "paragraph 5: Nobody was saved.\n");
}

TEST(Documents, Epub) {
  EXPECT_EQ(outline_of("tales.epub"),
            "section 1 (tale1.xhtml): Tale 1\n"
            "section 1 (tale1.xhtml): The fox lived under the oak.\n"
            "section 2 (tale2.xhtml): Tale 2\n"
            "section 2 (tale2.xhtml): The hare lived in the meadow & sang.\n");
}

TEST(Documents, Email) {
  EXPECT_EQ(outline_of("forwarded.eml"),
            "message 1 (Fwd: meeting): Subject: Fwd: meeting\n"
            "message 1 (Fwd: meeting): From: tom@example.org\n"
            "message 1 (Fwd: meeting): See below.\n"
            "message 2 (Möte i Malmö): Subject: Möte i Malmö\n"
            "message 2 (Möte i Malmö): From: Åsa Lind <asa@example.org>\n"
            "message 2 (Möte i Malmö): To: Tom <tom@example.org>\n"
            "message 2 (Möte i Malmö): Date: Tue, 05 Mar 2024 10:00:00 +0100\n"
            "message 2 (Möte i Malmö): We meet at Stortorget.\n"
            "message 2 (Möte i Malmö): Bring the keys; they lie in the green box under the stairs = cellar.\n"
            "message 2 (Möte i Malmö): Attachment: karta.bin\n");
}

TEST(Documents, Pdf) {
  EXPECT_EQ(outline_of("report.pdf"),
            "page 1: Annual report\n"
            "page 1: The audit was made by Nils Ek.\n"
            "page 3: Turnover was 7 million crowns.\n");
}

TEST(Documents, Html) {
  const std::string page =
      "<!DOCTYPE html><html><head><title>No</title><style>p{}</style></head>\n"
      "<body><h1>The  rock</h1>\n"
      "<p>Built by <b>Ruth</b>\nMarlow&nbsp;&amp; sons<br>in 1811.</p><script>if (a<b) no();</script>\n"
      "<ul><li>One<li>Two</ul><div hidden>No</div>\n"
      "<table><tr><td>Height</td><td>36 m</td></tr></table>\n"
      "<pre>a  b\n  c</pre></body></html>\n";
  const std::string expected =
      "line 2: The rock\n"
      "line 3: Built by Ruth Marlow\u00a0& sons\n"
      "line 4: in 1811.\n"
      "line 5: One\n"
      "line 5: Two\n"
      "line 6: Height\t36 m\n"
      "line 7: a  b\n"
      "line 8:   c\n";
  EXPECT_EQ(outline_of("page.html", page), expected);
  EXPECT_EQ(outline_of("page", page), expected);  // told by how it begins
}

TEST(Documents, HtmlNamesItsEncoding) {
  const ConvertedText converted =
      convert("<meta charset=\"windows-1251\"><p>\xcc\xee\xf1\xea\xe2\xe0</p>", {.name = "a.html"});
  EXPECT_EQ(converted.text, "Москва");
  EXPECT_EQ(converted.encoding, "windows-1251");
}

TEST(Documents, Markdown) {
  const std::string page =
      "# The *rock*\n"
      "\n"
      "Built by [Ruth](http://example.org)\n"
      "in `1811`.\n"
      "\n"
      "- one\n"
      "- two\n"
      "\n"
      "```sh\n"
      "ls  -l\n"
      "pwd\n"
      "```\n"
      "\n"
      "<p>Tall: <b>36 m</b></p>\n";
  EXPECT_EQ(outline_of("README.md", page),
            "line 1: The rock\n"
            "line 3: Built by Ruth\n"
            "line 4: in 1811.\n"
            "line 6: one\n"
            "line 7: two\n"
            "line 10: ls  -l\n"
            "line 11: pwd\n"
            "line 14: Tall: 36 m\n");
  EXPECT_EQ(convert(page, {.name = "README.txt"}).text, page);
}

TEST(Documents, PlainTextIsTakenByteForByte) {
  const std::string text = "One  two\r\n\tthree \xc3\xa9\n\n";
  const ConvertedText converted = convert(text, {.name = "a.txt"});
  EXPECT_EQ(converted.text, text);
  EXPECT_TRUE(converted.verbatim);
  EXPECT_EQ(converted.format, "text");
  EXPECT_EQ(converted.locate(11).describe(), "line 2");
  EXPECT_FALSE(convert(read("report.pdf"), {.name = "report.pdf"}).verbatim);
}

TEST(Documents, TheFormatIsTakenFromTheBytes) {
  const ConvertOptions nameless{.name = "download"};
  EXPECT_EQ(convert(read("report.pdf"), nameless).format, "pdf");
  EXPECT_EQ(convert(read("ship.odt"), nameless).format, "odt");
  EXPECT_EQ(convert(read("tales.epub"), nameless).format, "epub");
  EXPECT_EQ(convert(read("costs.xlsx"), nameless).format, "xlsx");
  EXPECT_EQ(convert("<HTML><p>a", nameless).format, "html");
}

}  // namespace
}  // namespace kvasir
