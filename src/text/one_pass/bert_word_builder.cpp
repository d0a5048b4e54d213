#include "text/one_pass/bert_word_builder.h"

#include <algorithm>

#include "base/utf8.h"
#include "unicode/normalization.h"
#include "unicode/tables.h"

namespace kvasir::text {

using unicode::properties;

void BertWordBuilder::add(char32_t c, ByteSpan span) {
  const std::uint16_t flags = properties(c).flags;
  if (options_.clean_text) {
    if ((flags & unicode::kOther) != 0) return;
    if ((flags & unicode::kWhiteSpace) != 0) {
      finish();
      return;
    }
  }
  if (options_.handle_chinese_chars && (flags & unicode::kChinese) != 0) {
    finish();
    add_cleaned(c, span);
    finish();
    return;
  }
  add_cleaned(c, span);
}

void BertWordBuilder::add_cleaned(char32_t c, ByteSpan span) {
  if (!strips_accents_ || c < 0x80) {
    if (!marks_.empty()) release_marks();
    add_normalized(c, span);
    return;
  }
  if (unicode::is_hangul_syllable(c)) {
    const unicode::Jamo jamo = unicode::decompose_hangul(c);
    for (std::size_t i = 0; i < jamo.count; ++i) add_decomposed(jamo.parts[i], i == 0, span);
    return;
  }
  const std::u32string_view parts = unicode::canonical_decomposition(c);
  if (parts.empty()) add_decomposed(c, true, span);
  for (std::size_t i = 0; i < parts.size(); ++i) add_decomposed(parts[i], i == 0, span);
}

void BertWordBuilder::add_decomposed(char32_t c, bool first, ByteSpan span) {
  const std::uint8_t combining_class = properties(c).combining_class;
  if (combining_class != 0) {
    marks_.push_back({combining_class, !first, c, span});
    return;
  }
  release_marks();
  starter_span_ = span;
  add_normalized(c, span);
}

// Marks change places, spans do not: the n-th mark in canonical order carries the span of the n-th of the
// text, an inserted one that of the mark before it. (See unicode::normalize, which does the same for a whole
// text.)
void BertWordBuilder::release_marks() {
  const auto is_kept = [](const Mark& mark) {
    return (properties(mark.code_point).flags & unicode::kNonspacingMark) == 0;
  };
  if (std::any_of(marks_.begin(), marks_.end(), is_kept)) {
    std::vector<ByteSpan> spans;
    for (const Mark& mark : marks_) {
      if (!mark.inserted) spans.push_back(mark.span);
    }
    std::stable_sort(marks_.begin(), marks_.end(),
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    std::size_t taken = 0;
    for (const Mark& mark : marks_) {
      if (!mark.inserted) ++taken;
      if (is_kept(mark)) add_normalized(mark.code_point, taken > 0 ? spans[taken - 1] : starter_span_);
    }
  }
  marks_.clear();
}

void BertWordBuilder::add_normalized(char32_t c, ByteSpan span) {
  const unicode::Properties& p = properties(c);
  if (strips_accents_ && (p.flags & unicode::kNonspacingMark) != 0) return;
  if ((p.flags & unicode::kWhiteSpace) != 0) {
    end_word();
  } else if ((p.flags & unicode::kPunctuation) != 0) {
    end_word();
    append(c, span);
    end_word();
  } else if (!options_.lowercase) {
    append(c, span);
  } else if ((p.flags & unicode::kLowerExpands) != 0) {  // U+0130 alone
    append(U'i', span);
    append(U'\u0307', span);
  } else {
    append(c + static_cast<char32_t>(p.lower_delta), span);
  }
}

void BertWordBuilder::append(char32_t c, ByteSpan span) {
  if (chars_ == 0) extent_.begin = span.begin;
  extent_.end = span.end;
  if (++chars_ > model_.max_chars()) return;
  base::append_utf8(word_, c);
  spans_.resize(word_.size(), span);
}

void BertWordBuilder::end_word() {
  if (chars_ == 0) return;
  sink_.next_word();
  if (chars_ > model_.max_chars()) {
    sink_.add(model_.unk_id(), extent_);
  } else {
    tokens_.clear();
    model_.tokenize_short(word_, tokens_);
    for (const WordToken& token : tokens_) {
      sink_.add(token.id, {spans_[token.begin].begin, spans_[token.end - 1].end});
    }
  }
  word_.clear();
  spans_.clear();
  chars_ = 0;
}

void BertWordBuilder::finish() {
  release_marks();
  end_word();
}

}  // namespace kvasir::text
