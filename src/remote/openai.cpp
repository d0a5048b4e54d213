#include "remote/openai.h"

#include <chrono>
#include <thread>
#include <utility>

#include "base/json.h"
#include "hub/http.h"
#include "kvasir/error.h"
#include "remote/event_stream.h"

namespace kvasir::remote {

namespace json = base::json;

namespace {

constexpr std::size_t kMostOfAMessage = 300;  // bytes of what a server says is wrong

// One line of what a server says, for an error.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, kMostOfAMessage)) line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return line;
}

// {"error":{"message":…}}, {"error":"…"}, {"message":…} or {"detail":…}; else the body.
std::string error_message(const std::string& body) {
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  if (error || !value.is_object()) return one_line(body);
  const json::object* object = &value.as_object();
  if (const json::value* inner = object->if_contains("error")) {
    if (inner->is_string()) return one_line(inner->as_string());
    if (inner->is_object()) object = &inner->as_object();
  }
  for (const char* key : {"message", "detail"}) {
    const json::value* found = object->if_contains(key);
    if (found != nullptr && found->is_string()) return one_line(found->as_string());
  }
  return one_line(body);
}

json::object request_body(const Endpoint& endpoint, const Parameters& p) {
  json::object body{{"model", endpoint.model},
                    {"stream", true},
                    {"max_tokens", p.max_tokens},
                    {"temperature", p.temperature},
                    {"seed", p.seed}};
  if (p.n != 1) body["n"] = p.n;
  if (p.top_p != 1) body["top_p"] = p.top_p;
  if (p.presence_penalty != 0) body["presence_penalty"] = p.presence_penalty;
  if (p.frequency_penalty != 0) body["frequency_penalty"] = p.frequency_penalty;
  if (!p.logit_bias.empty()) {
    json::object biases;
    for (const auto& [id, bias] : p.logit_bias) biases[std::to_string(id)] = bias;
    body["logit_bias"] = std::move(biases);
  }
  if (!p.stop.empty()) body["stop"] = json::value_from(p.stop);
  if (!p.json_schema.empty()) {
    body["response_format"] = {
        {"type", "json_schema"},
        {"json_schema",
         {{"name", "answer"}, {"strict", true}, {"schema", base::parse_json(p.json_schema, "json_schema")}}}};
  }
  return body;
}

// The answer to one request as it comes in.
class Answer {
 public:
  Answer(const std::string& url, const Parameters& parameters)
      : url_(url), parameters_(parameters), choices_(parameters.n) {}

  // False ends the transfer.
  bool push(std::string_view bytes) {
    if (events_.push(bytes, [&](std::string_view data) { take(data); })) return !done_;
    throw Error(ErrorCode::kFormat, url_ + ": an event of the answer is longer than 16 MiB");
  }
  bool has_begun() const noexcept { return begun_; }
  // Every text has its end.
  bool is_complete() const noexcept {
    for (const Choice& choice : choices_) {
      if (choice.finish_reason.empty()) return false;
    }
    return begun_;
  }
  std::vector<Choice> take_choices() { return std::move(choices_); }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kFormat, url_ + ": " + what);
  }

  void take(std::string_view data) {
    if (data == "[DONE]") {
      done_ = true;
      return;
    }
    boost::system::error_code error;
    const json::value value = json::parse(data, error);
    if (error || !value.is_object()) fail("an event of the answer is no JSON object: " + one_line(data));
    const json::object& object = value.as_object();
    if (object.contains("error")) {
      throw Error(ErrorCode::kIo, url_ + ": the server broke off: " + error_message(std::string(data)));
    }
    const json::value* list = object.if_contains("choices");
    if (list == nullptr || !list->is_array())
      fail("an event of the answer has no choices: " + one_line(data));
    for (const json::value& choice : list->as_array()) {
      if (choice.is_object()) take_choice(choice.as_object());
    }
  }

  void take_choice(const json::object& json) {
    std::size_t index = 0;
    if (const json::value* value = json.if_contains("index"); value != nullptr && value->is_int64()) {
      index = static_cast<std::size_t>(value->as_int64());
    }
    if (index >= choices_.size()) return;
    begun_ = true;
    // Completions have text, chats have delta.content.
    const json::value* text = json.if_contains("text");
    if (const json::value* delta = json.if_contains("delta"); delta != nullptr && delta->is_object()) {
      text = delta->as_object().if_contains("content");
    }
    if (text != nullptr && text->is_string() && !text->as_string().empty()) {
      choices_[index].text += std::string_view(text->as_string());
      if (index == 0 && parameters_.on_text) parameters_.on_text(text->as_string());
    }
    if (const json::value* reason = json.if_contains("finish_reason");
        reason != nullptr && reason->is_string()) {
      choices_[index].finish_reason = reason->as_string();
    }
  }

  const std::string& url_;
  const Parameters& parameters_;
  EventStream events_;
  std::vector<Choice> choices_;
  bool begun_ = false, done_ = false;
};

bool may_pass(int status) noexcept {
  return status == 408 || status == 429 || status >= 500;
}

void pause(double seconds, const std::atomic<bool>* cancel) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    if (cancel != nullptr && *cancel) throw Error(ErrorCode::kCancelled, "cancelled");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

struct Call {
  std::string url;
  std::string body;
};

std::vector<Choice> send(const Call& call, const Parameters& parameters, const ClientOptions& options) {
  hub::Request request{.url = call.url,
                       .headers = {"Content-Type: application/json", "Accept: text/event-stream", "Expect:"},
                       .post = call.body,
                       .patience = options.patience};
  if (!options.api_key.empty()) request.headers.push_back("Authorization: Bearer " + options.api_key);
  hub::HubOptions transport;
  transport.timeout = options.connect_timeout;
  transport.cancel = parameters.cancel;
  double wait = options.first_wait;
  for (int attempt = 1;; ++attempt) {
    Answer answer(call.url, parameters);
    request.sink = [&](const hub::Response&, std::string_view bytes) { return answer.push(bytes); };
    std::string reason;
    try {
      const hub::Response response = hub::send(request, transport);
      if (response.status >= 200 && response.status < 300) {
        if (answer.is_complete()) return answer.take_choices();
        reason = "the answer ended in its middle";
      } else {
        const std::string what = error_message(response.body);
        reason = "the server answered " + std::to_string(response.status) + (what.empty() ? "" : ": " + what);
        if (!may_pass(response.status)) throw Error(ErrorCode::kIo, call.url + ": " + reason);
      }
    } catch (const hub::ConnectionFailed& failed) {
      if (answer.is_complete()) return answer.take_choices();  // "[DONE]" ended the transfer
      reason = failed.reason;
    }
    // What was shown cannot be taken back.
    if (answer.has_begun()) throw Error(ErrorCode::kIo, call.url + ": the answer was cut off: " + reason);
    if (attempt >= options.tries) {
      throw Error(ErrorCode::kIo, call.url + ": " + reason + " (tried " + std::to_string(attempt) +
                                      " times); is the server running there?");
    }
    pause(wait, parameters.cancel);
    wait *= 2;
  }
}

}  // namespace

std::optional<Endpoint> parse_endpoint(std::string_view name) {
  std::string scheme;
  for (const auto& [prefix, http] :
       {std::pair<std::string_view, const char*>{"openai://", "http://"}, {"openais://", "https://"}}) {
    if (!name.starts_with(prefix)) continue;
    scheme = http;
    name.remove_prefix(prefix.size());
    break;
  }
  if (scheme.empty()) return std::nullopt;
  const std::size_t slash = name.find('/');
  if (slash == 0 || slash == std::string_view::npos || slash + 1 == name.size()) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "a model on a server is named openai://HOST:PORT/MODEL; this is \"" + std::string(name) + "\"");
  }
  return Endpoint{.url = scheme + std::string(name.substr(0, slash)),
                  .model = std::string(name.substr(slash + 1))};
}

std::vector<Choice> OpenAiClient::complete(std::string_view prompt, const Parameters& parameters) const {
  json::object body = request_body(endpoint_, parameters);
  body["prompt"] = prompt;
  return send({.url = endpoint_.url + "/v1/completions", .body = json::serialize(body)}, parameters,
              options_);
}

std::vector<Choice> OpenAiClient::chat(std::span<const Message> messages,
                                       const Parameters& parameters) const {
  json::array list;
  for (const Message& message : messages) {
    list.push_back(json::object{{"role", message.role}, {"content", message.content}});
  }
  json::object body = request_body(endpoint_, parameters);
  body["messages"] = std::move(list);
  return send({.url = endpoint_.url + "/v1/chat/completions", .body = json::serialize(body)}, parameters,
              options_);
}

}  // namespace kvasir::remote
