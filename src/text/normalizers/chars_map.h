// SentencePiece's precompiled character map (nmt_nfkc and others): a trie of strings and what they become.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/normalized_text.h"

namespace kvasir::text {

class CharsMap {
 public:
  // The map as a SentencePiece model has it, or in base64 as tokenizer.json does. Throws kFormat.
  CharsMap(std::string_view blob, const std::string& origin);
  static CharsMap from_base64(std::string_view text, const std::string& origin);

  // The replacement of the shortest string of the map that `text` begins with; nullopt if there is none.
  std::optional<std::string_view> find(std::string_view text) const noexcept;

  // As the reference: a grapheme of less than six bytes is replaced by find(grapheme); if that finds nothing,
  // each of its code points is looked up.
  void normalize(NormalizedText& text) const;

 private:
  std::vector<std::uint32_t> units_;  // darts-clone: offset, leaf bit and label in one word
  std::string strings_;               // each ended by a zero
  std::array<bool, 128> changes_ascii_{};
};

}  // namespace kvasir::text
