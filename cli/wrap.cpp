#include "wrap.h"

#include <utility>
#include <vector>

#include "base/utf8.h"

namespace kvasir::cli {

namespace {

// A piece of the text between two places where a line may break or the style changes.
struct Piece {
  std::string_view text;
  bool marked = false;
  bool space = false;  // a single space: may become a line break
};

std::vector<Piece> split_pieces(std::string_view text, const WrapOptions& options) {
  std::vector<Piece> pieces;
  std::size_t begin = 0;
  const auto marked = [&](std::size_t at) { return at >= options.mark_begin && at < options.mark_end; };
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool last = at + 1 == text.size();
    if (last || text[at] == ' ' || text[at + 1] == ' ' || marked(at) != marked(at + 1)) {
      pieces.push_back({text.substr(begin, at + 1 - begin), marked(at), text[at] == ' '});
      begin = at + 1;
    }
  }
  return pieces;
}

// Columns from piece i to the next space: what has to fit on the line with it.
std::size_t word_width(const std::vector<Piece>& pieces, std::size_t i, bool color) {
  std::size_t width = 0;
  bool marked = false;
  for (; i < pieces.size() && !pieces[i].space; ++i) {
    width += display_width(pieces[i].text);
    marked |= pieces[i].marked;
  }
  return width + (marked && !color ? 4 : 0);  // ** before and after it
}

// Writes pieces into lines.
class LineWriter {
 public:
  LineWriter(const Style& style, const WrapOptions& options) : style_(style), options_(options) {
    out_.append(options.indent, ' ');
  }

  void put(const Piece& piece, std::size_t word) {
    if (piece.space) {
      pending_space_ = column_ > 0;
      pending_mark_ = piece.marked;
      return;
    }
    if (pending_space_ && options_.width != 0 && column_ + 1 + word > room()) break_line();
    if (pending_space_) {
      set_mark(pending_mark_ && marked_ && piece.marked);
      out_ += ' ';
      ++column_;
      pending_space_ = false;
    }
    set_mark(piece.marked);
    append(piece.text);
  }

  std::string finish() {
    set_mark(false);
    out_ += '\n';
    return std::move(out_);
  }

 private:
  std::size_t room() const {
    return options_.width > options_.indent + 20 ? options_.width - options_.indent : 20;
  }

  void break_line() {
    const bool was_marked = marked_;
    if (style_.color) set_mark(false);  // the escape sequence shall not span lines
    out_ += '\n';
    out_.append(options_.indent, ' ');
    column_ = 0;
    pending_space_ = false;
    if (style_.color) set_mark(was_marked);
  }

  void set_mark(bool mark) {
    if (mark == marked_) return;
    marked_ = mark;
    if (style_.color) {
      out_ += mark ? style_.answer : style_.reset;
    } else {
      out_ += "**";
      column_ += 2;
    }
  }

  // A word that is longer than a line is broken between characters.
  void append(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t length = base::decode_utf8(text, at).length;
      const std::size_t width = display_width(text.substr(at, length));
      if (options_.width != 0 && column_ > 0 && column_ + width > room()) break_line();
      out_ += text.substr(at, length);
      column_ += width;
      at += length;
    }
  }

  const Style& style_;
  const WrapOptions& options_;
  std::string out_;
  std::size_t column_ = 0;
  bool marked_ = false, pending_space_ = false, pending_mark_ = false;
};

}  // namespace

std::string wrap(std::string_view text, const Style& style, const WrapOptions& options) {
  LineWriter writer(style, options);
  const std::vector<Piece> pieces = split_pieces(text, options);
  for (std::size_t i = 0; i < pieces.size(); ++i) writer.put(pieces[i], word_width(pieces, i, style.color));
  return writer.finish();
}

}  // namespace kvasir::cli
