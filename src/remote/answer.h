// The answer of a server that speaks OpenAI's API, as it arrives.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "remote/event_stream.h"
#include "remote/openai.h"

namespace kvasir::remote {

// A server's error message, in one line: of {"error":{"message":…}}, {"error":"…"}, {"message":…} or
// {"detail":…}; else the beginning of the body.
std::string server_message(std::string_view body);

// The answer to one request: a stream of events, as requested, or one document from a server that does not
// stream.
class Answer {
 public:
  // Both must outlive this.
  Answer(const std::string& url, const Parameters& parameters)
      : url_(url), parameters_(parameters), choices_(parameters.n) {}

  // Takes bytes as they arrive; calls on_text of the parameters. Returns false at the end. Throws kFormat for
  // bytes that are not such an answer or are longer than max_tokens tokens can be, kIo for an error that the
  // server reports, and what on_text throws.
  bool push(std::string_view bytes);
  // To be called after the last bytes. Throws as push().
  void finish();
  bool has_begun() const noexcept { return begun_; }
  // Whether every text has ended.
  bool is_complete() const noexcept;
  std::vector<Choice> take_choices() { return std::move(choices_); }

 private:
  [[noreturn]] void fail(const std::string& what) const;
  void take(std::string_view data);
  void take_choice(const base::json::object& json);
  void take_text(std::size_t index, std::string_view text);

  const std::string& url_;
  const Parameters& parameters_;
  EventStream events_;
  std::string raw_;  // the bytes so far, until there is an event
  bool has_events_ = false;
  std::vector<Choice> choices_;
  bool begun_ = false, done_ = false;
};

}  // namespace kvasir::remote
