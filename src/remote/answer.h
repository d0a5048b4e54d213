// What a server that speaks OpenAI's API answers, while it comes in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "remote/event_stream.h"
#include "remote/openai.h"

namespace kvasir::remote {

// What a server says is wrong, in one line: of {"error":{"message":…}}, {"error":"…"}, {"message":…} or
// {"detail":…}; else the beginning of the body.
std::string server_message(std::string_view body);

// The answer to one request: a stream of events, as was asked for, or one document of a server that does not
// stream.
class Answer {
 public:
  // Both must outlive this.
  Answer(const std::string& url, const Parameters& parameters)
      : url_(url), parameters_(parameters), choices_(parameters.n) {}

  // Takes bytes as they come; calls on_text of the parameters. False: that was the end. Throws kFormat for
  // what is no such answer, or longer than max_tokens tokens can be, kIo for an error that the server tells
  // of, and what on_text throws.
  bool push(std::string_view bytes);
  // Those were all bytes. Throws as push().
  void finish();
  bool has_begun() const noexcept { return begun_; }
  // Every text has its end.
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
  std::string raw_;  // what came, as long as there was no event
  bool has_events_ = false;
  std::vector<Choice> choices_;
  bool begun_ = false, done_ = false;
};

}  // namespace kvasir::remote
