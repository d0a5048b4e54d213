// A language model that runs elsewhere, behind OpenAI's HTTP API, which vLLM, llama.cpp, Ollama and others
// speak too: /v1/completions and /v1/chat/completions, streamed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::remote {

struct Endpoint {
  std::string url;    // "http://host:port"
  std::string model;  // its name on the server
};
// Parses "openai://host:port/name", or "openais://…" for HTTPS. nullopt: it is not such a name. Throws
// kInvalidArgument for one without a host or a model.
std::optional<Endpoint> parse_endpoint(std::string_view name);

struct ClientOptions {
  std::string api_key = {};
  double connect_timeout = 10;  // seconds
  double patience = 300;  // seconds without a byte of the answer: a model on a processor reads a long prompt
  double first_wait = 1;  // seconds before the second try; doubled for each further one
  int tries = 4;
};

struct Message {
  std::string role, content;
};

// Parameters of a request; unset ones are left to the server.
struct Parameters {
  std::size_t max_tokens = 256;
  double temperature = 0, top_p = 1;
  double presence_penalty = 0, frequency_penalty = 0;
  std::map<std::int32_t, float> logit_bias = {};
  std::uint64_t seed = 0;
  std::vector<std::string> stop = {};
  std::string json_schema = {};  // sent as response_format; "": none
  std::size_t n = 1;
  // Pieces of the first text, as they come.
  std::function<void(std::string_view)> on_text = {};
  const std::atomic<bool>* cancel = nullptr;
};

struct Choice {
  std::string text;
  std::string finish_reason;  // as the server gives it: "stop", "length", …
};

class OpenAiClient {
 public:
  OpenAiClient(Endpoint endpoint, ClientOptions options)
      : endpoint_(std::move(endpoint)), options_(std::move(options)) {}

  // Each returns `n` choices. Retries, as long as no part of an answer has arrived, connections that fail and
  // the answers 408, 429 and 5xx. Throws kIo (unreachable; an incomplete answer; an error that the server
  // reports), kFormat (an answer that does not follow this API; a json_schema that is not JSON), kCancelled,
  // and what on_text throws.
  std::vector<Choice> complete(std::string_view prompt, const Parameters& parameters) const;
  std::vector<Choice> chat(std::span<const Message> messages, const Parameters& parameters) const;

  const Endpoint& endpoint() const noexcept { return endpoint_; }

 private:
  Endpoint endpoint_;
  ClientOptions options_;
};

}  // namespace kvasir::remote
