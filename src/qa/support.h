// Whether what a sentence says stands in a text.
#pragma once

#include <string_view>

namespace kvasir::qa {

struct Support {
  double words = 0;     // share of the sentence's words of content that the text has
  bool numbers = true;  // the text has all its numbers
};
// Words are compared without case; of longer ones the beginning counts, so that "treaties" supports "treaty".
// Words without content of their own ("the", "which") do not count.
Support compare_words(std::string_view sentence, std::string_view text);

}  // namespace kvasir::qa
