#include <functional>
#include <new>

#include "kvasir/error.h"
#include "qa/reader_impl.h"

namespace kvasir {

namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 30;  // text::ByteSpan counts in 32 bits

}  // namespace

Document::Document() = default;
Document::~Document() = default;
Document::Document(const Document&) = default;
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(const Document&) = default;
Document& Document::operator=(Document&&) noexcept = default;

const std::string& Document::text() const noexcept {
  static const std::string empty;
  return impl_ == nullptr ? empty : impl_->text;
}

const std::string& Document::name() const noexcept {
  static const std::string empty;
  return impl_ == nullptr ? empty : impl_->name;
}

std::size_t Document::tokens() const noexcept {
  return impl_ == nullptr ? 0 : impl_->tokens.size();
}

Range Document::range(std::size_t begin, std::size_t end) const noexcept {
  if (impl_ == nullptr) return {};
  const base::OffsetMap& offsets = impl_->offsets;
  return {.byte_start = begin,
          .byte_end = end,
          .start = offsets.code_points(begin),
          .end = offsets.code_points(end),
          .utf16_start = offsets.utf16_units(begin),
          .utf16_end = offsets.utf16_units(end)};
}

Document Reader::prepare(std::string text, std::string name) const {
  const std::string where = name.empty() ? "document" : name;
  if (text.empty()) throw Error(ErrorCode::kInvalidArgument, where + ": is empty: `context` cannot be empty");
  if (text.size() > kMaxBytes) {
    throw Error(ErrorCode::kResourceExhausted, where + ": has " + std::to_string(text.size()) +
                                                   " bytes, and at most 1 GiB can be read at once; split it");
  }
  const std::size_t invalid = base::find_invalid_utf8(text);
  if (invalid != text.size()) {
    throw Error(ErrorCode::kInvalidArgument,
                where + ": is not UTF-8 (byte " + std::to_string(invalid) + "); convert it first");
  }
  try {
    const auto impl = std::make_shared<Document::Impl>();
    impl->text = std::move(text);
    impl->name = std::move(name);
    impl->tokens = impl_->tokenizer.tokenize(impl->text);
    impl->offsets = base::OffsetMap(impl->text);
    impl->hash = std::hash<std::string>()(impl->text);
    impl->reader_id = impl_->id;
    Document document;
    document.impl_ = impl;
    return document;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kResourceExhausted,
                where + ": there is not enough memory to tokenise it; split it");
  }
}

}  // namespace kvasir
