// Any bytes as a training file: refused with a kvasir::Error in one line, or examples whose answers are in
// their contexts.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "train/training_data.h"

namespace {

using namespace kvasir;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

bool is_utf8(std::string_view text) {
  return base::find_invalid_utf8(text) == text.size();
}

void check(const train::TrainingData& data) {
  require(!data.examples.empty());
  require(data.first_bad.size() == std::min(data.bad, train::kNamedBadRows));
  require(data.repaired <= data.examples.size());
  for (const std::string& context : data.contexts) require(is_utf8(context) && !context.empty());
  for (const train::TrainingExample& example : data.examples) {
    const std::string& context = data.contexts.at(example.context);
    require(is_utf8(example.question) && !example.question.empty());
    require(is_utf8(example.answer_text) && example.answer_text.empty() != example.answerable);
    require(example.answer_begin <= example.answer_end && example.answer_end <= context.size());
    require(context.substr(example.answer_begin, example.answer_end - example.answer_begin) ==
            example.answer_text);
  }
  for (const train::BadRow& row : data.first_bad)
    require(!row.reason.empty() && (row.where + row.reason).find('\n') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    check(train::parse_training_data({reinterpret_cast<const char*>(data), size}, "train.json"));
  } catch (const Error& error) {
    require(std::string_view(error.what()).find('\n') == std::string_view::npos);
  }
  return 0;
}
