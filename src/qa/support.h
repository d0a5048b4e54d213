// Whether a text supports a sentence.
#pragma once

#include <string_view>

namespace kvasir::qa {

struct Support {
  double words = 0;     // share of the sentence's content words that the text contains
  bool numbers = true;  // the text contains all its numbers
};
// Words are compared without case; longer ones by their beginning, so that "treaties" supports "treaty".
// Function words ("the", "which") do not count.
Support compare_words(std::string_view sentence, std::string_view text);

}  // namespace kvasir::qa
