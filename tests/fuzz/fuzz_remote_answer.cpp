// Any bytes as the answer of a server: refused with a kvasir::Error in one line, or texts; and the same of
// both in whatever pieces the bytes come. What was shown while they came is the first text.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "remote/answer.h"

namespace {

using namespace kvasir;

struct Outcome {
  std::string text, error;
  bool begun = false, complete = false;
  bool operator==(const Outcome&) const = default;
};

Outcome answer_to(std::string_view bytes, std::size_t step) {
  Outcome outcome;
  std::string shown;
  const remote::Parameters parameters{
      .max_tokens = 1, .n = 2, .on_text = [&](std::string_view piece) { shown += piece; }};
  const std::string url = "http://server";
  remote::Answer answer(url, parameters);
  try {
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      if (!answer.push(bytes.substr(at, step))) break;
    }
    answer.finish();
  } catch (const Error& error) {
    outcome.error = error.what();
  }
  outcome.begun = answer.has_begun();
  outcome.complete = answer.is_complete();
  for (const remote::Choice& choice : answer.take_choices()) {
    if (outcome.text.empty() && choice.text != shown) __builtin_trap();
    outcome.text += choice.text + "\n" + choice.finish_reason + "\n";
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Outcome whole = answer_to(bytes, size + 1);
  if (!(answer_to(bytes, 1) == whole && answer_to(bytes, 5) == whole)) __builtin_trap();
  if (whole.error.find('\n') != std::string::npos) __builtin_trap();
  if (base::find_invalid_utf8(whole.error) != whole.error.size()) __builtin_trap();
  if (base::find_invalid_utf8(whole.text) != whole.text.size()) __builtin_trap();
  const std::string message = remote::server_message(bytes);
  if (message.size() > 300 || message.find('\n') != std::string::npos) __builtin_trap();
  return 0;
}
