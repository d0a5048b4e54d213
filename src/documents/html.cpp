#include "documents/html.h"

#include <gumbo.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdlib>
#include <vector>

#include "documents/encoding.h"
#include "documents/formats.h"

namespace kvasir::documents {

namespace {

// The parser needs some 35 times the page, and looks up its stack of open elements at each tag.
constexpr std::size_t kMaxPage = std::size_t{32} << 20;
// Browsers stop at 512.
constexpr std::size_t kMaxOpenElements = 2000;
// The parser compares each attribute of a tag with all before it.
constexpr std::size_t kMaxAttributes = 250;
// Tables of nothing but tags need 70 times the page.
constexpr std::size_t kMemoryPerByte = 100, kMemoryPerPage = std::size_t{64} << 20;

// The parser copies formatting elements that are open (<font>, <b>) into every paragraph that they reach
// into, so that a small page may take any amount of memory, and it does not know that an allocation can fail.
// Therefore its blocks are on a list, and at the limit it is left by a jump.
class ParserMemory {
 public:
  explicit ParserMemory(std::size_t limit) : left_(limit) {}
  ParserMemory(const ParserMemory&) = delete;
  ParserMemory& operator=(const ParserMemory&) = delete;
  ~ParserMemory() {
    while (first_ != nullptr) release(this, first_ + 1);
  }

  static void* allocate(void* self, std::size_t bytes) {
    auto& memory = *static_cast<ParserMemory*>(self);
    const std::size_t size = sizeof(Block) + bytes;
    void* raw = size <= memory.left_ ? std::malloc(size) : nullptr;
    if (raw == nullptr) std::longjmp(memory.exhausted_, 1);  // over C code only
    auto* block = new (raw) Block{.size = size, .previous = nullptr, .next = memory.first_};
    if (memory.first_ != nullptr) memory.first_->previous = block;
    memory.first_ = block;
    memory.left_ -= size;
    return block + 1;
  }
  static void release(void* self, void* pointer) {
    if (pointer == nullptr) return;
    auto& memory = *static_cast<ParserMemory*>(self);
    Block* block = static_cast<Block*>(pointer) - 1;
    (block->previous != nullptr ? block->previous->next : memory.first_) = block->next;
    if (block->next != nullptr) block->next->previous = block->previous;
    memory.left_ += block->size;
    std::free(block);
  }
  std::jmp_buf& exhausted() noexcept { return exhausted_; }

 private:
  struct alignas(std::max_align_t) Block {
    std::size_t size;
    Block *previous, *next;
  };
  std::size_t left_;
  Block* first_ = nullptr;
  std::jmp_buf exhausted_ = {};
};

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

// Elements that never stay open, or whose next sibling closes them.
bool closes_itself(std::string_view name) {
  constexpr std::array<std::string_view, 26> kNames = {
      "area",  "base", "br",   "col",   "dd",     "dt",    "embed", "hr",    "img",
      "input", "li",   "link", "meta",  "p",      "rp",    "rt",    "param", "source",
      "td",    "th",   "tr",   "tbody", "option", "track", "wbr",   "keygen"};
  return std::ranges::any_of(kNames, [&](std::string_view n) { return equal_ignoring_case(n, name); });
}

// The position behind `needle` from `at` on, or the end.
std::size_t skip_past(std::string_view html, std::string_view needle, std::size_t at) {
  for (; at < html.size(); ++at) {
    at = html.find(needle.front(), at);
    if (at == std::string_view::npos) return html.size();
    if (equal_ignoring_case(html.substr(at, needle.size()), needle)) return at + needle.size();
  }
  return html.size();
}

constexpr std::string_view kBlank = " \t\r\n\f";

// How many attributes a tag has whose name ends at `at`; counts no further than one more than are allowed.
std::size_t attributes(std::string_view html, std::size_t at) {
  std::size_t count = 0;
  for (; at < html.size() && html[at] != '>' && count <= kMaxAttributes; ++at) {
    const bool separates = html[at] == '/' || kBlank.find(html[at]) != std::string_view::npos;
    const char next = at + 1 < html.size() ? html[at + 1] : '>';
    if (separates && next != '/' && next != '>' && next != '=' && kBlank.find(next) == std::string_view::npos)
      ++count;
    if (html[at] != '=') continue;
    const std::size_t value = std::min(html.find_first_not_of(kBlank, at + 1), html.size());
    if (value == html.size() || (html[value] != '"' && html[value] != '\'')) continue;
    at = std::min(html.find(html[value], value + 1), html.size() - 1);
  }
  return count;
}

// Upper bounds, without parsing; complexity() stops at the first that is more than allowed.
struct Complexity {
  std::size_t open_elements = 0;  // at once
  std::size_t attributes = 0;     // of a tag
  bool allowed() const noexcept { return open_elements <= kMaxOpenElements && attributes <= kMaxAttributes; }
};

Complexity complexity(std::string_view html) {
  Complexity most;
  std::size_t open = 0;
  for (std::size_t at = html.find('<'); at < html.size() && most.allowed(); at = html.find('<', at)) {
    ++at;
    if (html.substr(at).starts_with("!--")) {
      at = skip_past(html, "-->", at);
      continue;
    }
    const bool end_tag = at < html.size() && html[at] == '/';
    const std::size_t begin = at + (end_tag ? 1 : 0);
    const bool is_tag = begin < html.size() && (html[begin] | 32) >= 'a' && (html[begin] | 32) <= 'z';
    if (!is_tag) continue;
    const std::size_t end = std::min(html.find_first_of(" \t\r\n\f/>", begin), html.size());
    const std::string_view name = html.substr(begin, end - begin);
    at = end;  // a name may hold further "<"
    most.attributes = std::max(most.attributes, attributes(html, end));
    if (closes_itself(name)) continue;
    if (end_tag) {
      open -= open > 0 ? 1 : 0;
    } else if (equal_ignoring_case(name, "script")) {
      at = skip_past(html, "</script", end);
    } else if (equal_ignoring_case(name, "style")) {
      at = skip_past(html, "</style", end);
    } else {
      most.open_elements = std::max(most.open_elements, ++open);
    }
  }
  return most;
}

bool is_skipped(GumboTag tag) {
  switch (tag) {
    case GUMBO_TAG_HEAD:
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_NOSCRIPT:
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_OBJECT:
    case GUMBO_TAG_SELECT:
    case GUMBO_TAG_TEXTAREA:
    case GUMBO_TAG_RP:
    case GUMBO_TAG_RT:
      return true;
    default:
      return false;
  }
}

// 2: an empty line around it; 1: a line of its own; 0: within a line.
int separation(GumboTag tag) {
  switch (tag) {
    case GUMBO_TAG_P:
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6:
    case GUMBO_TAG_UL:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_TABLE:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_PRE:
    case GUMBO_TAG_FIGURE:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_HR:
      return 2;
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_LI:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_DD:
    case GUMBO_TAG_TR:
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_FIELDSET:
    case GUMBO_TAG_LEGEND:
    case GUMBO_TAG_DETAILS:
    case GUMBO_TAG_SUMMARY:
    case GUMBO_TAG_BR:
      return 1;
    default:
      return 0;
  }
}

void separate(int separation, TextBuilder& out) {
  if (separation == 1) out.line_break();
  if (separation == 2) out.block();
}

void append_node(const GumboNode& node, bool preformatted, std::size_t first_line, TextBuilder& out) {
  const std::string_view text = node.v.text.text;
  if (first_line > 0) {
    out.source_lines(text, first_line - 1 + node.v.text.start_pos.line, preformatted);
  } else if (preformatted) {
    out.verbatim(text);
  } else {
    out.inline_text(text);
  }
}

// Depth first, without recursion.
void append_tree(const GumboNode& root, std::size_t first_line, TextBuilder& out) {
  struct Step {
    const GumboNode* node;
    unsigned next;  // child
    bool preformatted;
  };
  std::vector<Step> path = {{&root, 0, false}};
  while (!path.empty()) {
    Step& step = path.back();
    const GumboElement& element = step.node->v.element;
    if (step.next == element.children.length) {
      separate(separation(element.tag), out);
      if (element.tag == GUMBO_TAG_TD || element.tag == GUMBO_TAG_TH) out.cell();
      path.pop_back();
      continue;
    }
    const auto& child = *static_cast<const GumboNode*>(element.children.data[step.next++]);
    if (child.type == GUMBO_NODE_ELEMENT) {
      const GumboElement& inner = child.v.element;
      if (is_skipped(inner.tag) || gumbo_get_attribute(&inner.attributes, "hidden") != nullptr) continue;
      separate(separation(inner.tag), out);
      path.push_back(
          {&child, 0, step.preformatted || inner.tag == GUMBO_TAG_PRE});  // `step` is void after this
    } else if (child.type == GUMBO_NODE_TEXT || child.type == GUMBO_NODE_WHITESPACE ||
               child.type == GUMBO_NODE_CDATA) {
      append_node(child, step.preformatted, first_line, out);
    }
  }
}

// Null if the memory does not suffice. The output lives as long as the memory.
const GumboOutput* parse(std::string_view html, ParserMemory& memory) {
  GumboOptions options = kGumboDefaultOptions;
  options.max_errors = 0;
  options.allocator = &ParserMemory::allocate;
  options.deallocator = &ParserMemory::release;
  options.userdata = &memory;
  if (setjmp(memory.exhausted()) != 0) return nullptr;
  return gumbo_parse_with_options(&options, html.data(), html.size());
}

// What a page's <meta> says of its encoding (or an XML declaration), in the first kilobyte, as browsers look
// for it.
std::string declared_encoding(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, 1024);
  for (const std::string_view key : {std::string_view("charset="), std::string_view("encoding=")}) {
    std::size_t at = skip_past(head, key, 0);
    while (at < head.size() && (head[at] == '"' || head[at] == '\'' || head[at] == ' ')) ++at;
    std::size_t end = at;
    while (end < head.size() && std::string_view("\"' ;/>?").find(head[end]) == std::string_view::npos) ++end;
    if (end > at) return std::string(head.substr(at, end - at));
  }
  return "";
}

}  // namespace

void append_html(std::string_view html, std::size_t first_line, const ConvertOptions& options,
                 TextBuilder& out) {
  if (html.size() > kMaxPage) {
    throw Error(ErrorCode::kResourceExhausted, options.name + ": an HTML page of more than " +
                                                   std::to_string(kMaxPage >> 20) + " MiB; split it");
  }
  const Complexity most = complexity(html);
  if (most.open_elements > kMaxOpenElements) {
    throw Error(ErrorCode::kResourceExhausted, options.name + ": its HTML is nested deeper than " +
                                                   std::to_string(kMaxOpenElements) + " elements");
  }
  if (most.attributes > kMaxAttributes) {
    throw Error(ErrorCode::kResourceExhausted, options.name + ": an HTML tag has more than " +
                                                   std::to_string(kMaxAttributes) + " attributes");
  }
  ParserMemory memory(kMemoryPerPage + html.size() * kMemoryPerByte);
  const GumboOutput* output = parse(html, memory);
  if (output == nullptr) {
    throw Error(ErrorCode::kResourceExhausted,
                options.name + ": its HTML takes too much memory; close its formatting elements");
  }
  append_tree(*output->root, first_line, out);
}

ConvertedText convert_html(std::string_view bytes, const ConvertOptions& options) {
  std::string encoding = declared_encoding(bytes);
  std::string page;
  const bool wide = bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff");
  if (encoding.empty() || wide) {
    Utf8Text decoded = detect_and_decode(std::string(bytes), options.name);
    page = std::move(decoded.text);
    encoding = std::move(decoded.encoding);
  } else {
    page = decode_lenient(bytes, encoding);
  }
  TextBuilder out(options, Location::Unit::kLine);
  append_html(page, 1, options, out);
  ConvertedText result = std::move(out).finish("html");
  result.encoding = std::move(encoding);
  return result;
}

}  // namespace kvasir::documents
