// Markdown (CommonMark): its text without the markup, with the lines that it stands on.
#include <cmark.h>

#include <algorithm>
#include <memory>

#include "documents/encoding.h"
#include "documents/formats.h"
#include "documents/html.h"

namespace kvasir::documents {

namespace {

class Writer {
 public:
  Writer(const ConvertOptions& options, TextBuilder& out) : options_(options), out_(out) {}

  void visit(cmark_node* node, bool entering) {
    const char* literal = cmark_node_get_literal(node);
    switch (cmark_node_get_type(node)) {
      case CMARK_NODE_PARAGRAPH:
      case CMARK_NODE_HEADING:
        out_.block();
        if (entering) mark(node);
        break;
      case CMARK_NODE_ITEM:
        out_.line_break();
        break;
      case CMARK_NODE_CODE_BLOCK:
        out_.block();
        code_block(node, without_last_line_end(literal));
        out_.block();
        break;
      case CMARK_NODE_HTML_BLOCK:
        out_.block();
        append_html(literal, static_cast<std::size_t>(cmark_node_get_start_line(node)), options_, out_);
        out_.block();
        break;
      case CMARK_NODE_TEXT:
      case CMARK_NODE_CODE:
        out_.inline_text(literal);
        break;
      case CMARK_NODE_SOFTBREAK:
      case CMARK_NODE_LINEBREAK:
        out_.line_break();
        out_.mark(++line_);
        break;
      default:
        break;
    }
  }

 private:
  void mark(cmark_node* node) {
    line_ = static_cast<std::size_t>(cmark_node_get_start_line(node));
    out_.mark(line_);
  }
  // A fence stands on a line of its own, which is told from an indented block by the lines that the block
  // takes.
  void code_block(cmark_node* node, std::string_view code) {
    const int first = cmark_node_get_start_line(node);
    const auto lines = static_cast<int>(std::ranges::count(code, '\n')) + 1;
    const bool fenced = cmark_node_get_end_line(node) - first >= lines;
    out_.source_lines(code, static_cast<std::size_t>(first) + (fenced ? 1 : 0), true);
  }
  static std::string_view without_last_line_end(std::string_view text) {
    return text.substr(0, text.size() - (text.ends_with('\n') ? 1 : 0));
  }

  const ConvertOptions& options_;
  TextBuilder& out_;
  std::size_t line_ = 1;
};

}  // namespace

ConvertedText convert_markdown(std::string_view bytes, const ConvertOptions& options) {
  Utf8Text decoded = detect_and_decode(std::string(bytes), options.name);
  const std::unique_ptr<cmark_node, decltype(&cmark_node_free)> document(
      cmark_parse_document(decoded.text.data(), decoded.text.size(), CMARK_OPT_DEFAULT), cmark_node_free);
  const std::unique_ptr<cmark_iter, decltype(&cmark_iter_free)> iterator(cmark_iter_new(document.get()),
                                                                         cmark_iter_free);
  TextBuilder out(options, Location::Unit::kLine);
  Writer writer(options, out);
  for (cmark_event_type event = cmark_iter_next(iterator.get()); event != CMARK_EVENT_DONE;
       event = cmark_iter_next(iterator.get())) {
    writer.visit(cmark_iter_get_node(iterator.get()), event == CMARK_EVENT_ENTER);
  }
  ConvertedText result = std::move(out).finish("markdown");
  result.encoding = std::move(decoded.encoding);
  return result;
}

}  // namespace kvasir::documents
