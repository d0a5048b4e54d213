#include "remote/openai.h"

#include <chrono>
#include <thread>
#include <utility>

#include "base/json.h"
#include "http/http.h"
#include "kvasir/error.h"
#include "remote/answer.h"

namespace kvasir::remote {

namespace json = base::json;

namespace {

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
  http::Request request{.url = call.url,
                        .headers = {"Content-Type: application/json", "Accept: text/event-stream", "Expect:"},
                        .post = call.body,
                        .patience = options.patience};
  if (!options.api_key.empty()) request.headers.push_back("Authorization: Bearer " + options.api_key);
  const http::Options transport{.timeout = options.connect_timeout, .cancel = parameters.cancel};
  double wait = options.first_wait;
  for (int attempt = 1;; ++attempt) {
    Answer answer(call.url, parameters);
    request.sink = [&](const http::Response&, std::string_view bytes) { return answer.push(bytes); };
    std::string reason, hint;
    try {
      const http::Response response = http::send(request, transport);
      if (response.status >= 200 && response.status < 300) {
        answer.finish();
        if (answer.is_complete()) return answer.take_choices();
        reason = "the answer ended in its middle";
      } else {
        const std::string what = server_message(response.body);
        reason = "the server answered " + std::to_string(response.status) + (what.empty() ? "" : ": " + what);
        if (!may_pass(response.status)) throw Error(ErrorCode::kIo, call.url + ": " + reason);
      }
    } catch (const http::ConnectionFailed& failed) {
      if (answer.is_complete()) return answer.take_choices();  // "[DONE]" ended the transfer
      reason = failed.reason;
      hint = "; is the server running there?";
    }
    // What was shown cannot be taken back.
    if (answer.has_begun()) throw Error(ErrorCode::kIo, call.url + ": the answer was cut off: " + reason);
    if (attempt >= options.tries) {
      throw Error(ErrorCode::kIo,
                  call.url + ": " + reason + " (tried " + std::to_string(attempt) + " times)" + hint);
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
