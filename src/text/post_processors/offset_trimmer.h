// Trims offsets as the post-processors of byte-level tokenizers do: they exclude white space at the ends of a
// token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/encoding.h"
#include "text/vocabulary.h"

namespace kvasir::text {

class OffsetTrimmer {
 public:
  // With add_prefix_space, a single space before the first token of a sequence stays: it may have been added.
  OffsetTrimmer(const Vocabulary& vocabulary, bool add_prefix_space);

  struct Trimmed {
    ByteSpan span;
    ByteSpan as_first;  // if it is the first token of a sequence
  };
  // For a token of the vocabulary, and for an added one, which appears in the text as `found`.
  Trimmed trim(std::string_view text, ByteSpan span, std::int32_t id) const;
  Trimmed trim(std::string_view text, ByteSpan span, std::string_view found) const;
  bool keeps_first_space() const noexcept { return add_prefix_space_; }

 private:
  struct Spaces {
    std::uint32_t leading, trailing;
  };
  static Spaces count(std::string_view token) noexcept;
  Trimmed trim(std::string_view text, ByteSpan span, Spaces spaces) const;

  bool add_prefix_space_;
  std::vector<Spaces> spaces_;  // of each token of the vocabulary
};

}  // namespace kvasir::text
