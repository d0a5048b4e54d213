#include "remote/answer.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::remote {

namespace json = base::json;

namespace {

constexpr std::size_t kMostOfAMessage = 300;  // bytes of what a server says is wrong
// Of text: the longest tokens of vocabularies are runs of some hundred spaces. A server that does not heed
// max_tokens would fill the memory.
constexpr std::size_t kMostBytesPerToken = 1024;

// One line of what a server says, for an error: UTF-8 without control characters.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, kMostOfAMessage)) {
    const auto byte = static_cast<unsigned char>(c);
    line += byte < 0x20 || byte == 0x7F ? ' ' : c;
  }
  line.resize(base::find_invalid_utf8(line));  // also a character that the cut went through
  return line;
}

// A stream that was cut off before its first event was whole.
bool begins_as_events(std::string_view bytes) {
  return std::ranges::any_of(std::to_array<std::string_view>({":", "data:", "event:", "id:", "retry:"}),
                             [&](std::string_view field) { return bytes.starts_with(field); });
}

}  // namespace

std::string server_message(std::string_view body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  if (error || !value.is_object()) return one_line(body);
  const json::object* object = &value.get_object();
  if (const json::value* inner = object->if_contains("error")) {
    if (inner->is_string()) return one_line(inner->get_string());
    if (inner->is_object()) object = &inner->get_object();
  }
  for (const char* key : {"message", "detail"}) {
    const json::value* found = object->if_contains(key);
    if (found != nullptr && found->is_string()) return one_line(found->get_string());
  }
  return one_line(body);
}

bool Answer::push(std::string_view bytes) {
  if (!has_events_) raw_ += bytes;
  const bool fits = events_.push(bytes, [&](std::string_view data) {
    has_events_ = true;
    take(data);
  });
  if (has_events_) raw_.clear();
  if (!fits || raw_.size() > EventStream::kMostBytes) fail("an event of the answer is longer than 16 MiB");
  return !done_;
}

void Answer::finish() {
  if (has_events_ || raw_.empty() || begins_as_events(raw_)) return;
  boost::system::error_code error;
  const json::value value = json::parse(raw_, error);
  if (error || !value.is_object())
    fail("the answer is neither a stream of events nor JSON: " + one_line(raw_));
  take(raw_);
}

bool Answer::is_complete() const noexcept {
  for (const Choice& choice : choices_) {
    if (choice.finish_reason.empty()) return false;
  }
  return begun_;
}

void Answer::fail(const std::string& what) const {
  throw Error(ErrorCode::kFormat, url_ + ": " + what);
}

void Answer::take(std::string_view data) {
  if (done_) return;
  if (data == "[DONE]") {
    done_ = true;
    return;
  }
  boost::system::error_code error;
  const json::value value = json::parse(data, error);
  if (error || !value.is_object()) fail("an event of the answer is no JSON object: " + one_line(data));
  const json::object& object = value.get_object();
  if (const json::value* told = object.if_contains("error"); told != nullptr && !told->is_null()) {
    throw Error(ErrorCode::kIo, url_ + ": the server broke off: " + server_message(data));
  }
  const json::value* list = object.if_contains("choices");
  if (list == nullptr || !list->is_array()) fail("an event of the answer has no choices: " + one_line(data));
  for (const json::value& choice : list->get_array()) {
    if (choice.is_object()) take_choice(choice.get_object());
  }
}

void Answer::take_choice(const json::object& json) {
  std::size_t index = 0;
  if (const json::value* value = json.if_contains("index"); value != nullptr && value->is_int64()) {
    index = static_cast<std::size_t>(value->get_int64());
  }
  if (index >= choices_.size()) return;
  begun_ = true;
  // Completions have text, chats delta.content, and message.content where they come as one document.
  const json::value* text = json.if_contains("text");
  for (const char* key : {"delta", "message"}) {
    const json::value* part = json.if_contains(key);
    if (part != nullptr && part->is_object()) text = part->get_object().if_contains("content");
  }
  if (text != nullptr && text->is_string()) take_text(index, text->get_string());
  if (const json::value* reason = json.if_contains("finish_reason");
      reason != nullptr && reason->is_string()) {
    choices_[index].finish_reason = reason->get_string();
  }
}

void Answer::take_text(std::size_t index, std::string_view text) {
  if (text.empty()) return;
  std::string& all = choices_[index].text;
  if (all.size() + text.size() > kMostBytesPerToken * parameters_.max_tokens) {
    fail("the answer is longer than " + std::to_string(parameters_.max_tokens) + " tokens can be");
  }
  all += text;
  if (index == 0 && parameters_.on_text) parameters_.on_text(text);
}

}  // namespace kvasir::remote
