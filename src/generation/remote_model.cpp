// A language model on a server.
#include <chrono>
#include <utility>

#include "base/json.h"
#include "generation/check_options.h"
#include "generation/generator_impl.h"
#include "remote/openai.h"

namespace kvasir::generation {

namespace {

// Bytes of English text per token, about, for tokenizers of today.
constexpr std::size_t kBytesPerToken = 4;

class RemoteModel final : public LanguageModel {
 public:
  RemoteModel(remote::Endpoint endpoint, const GeneratorOptions& options)
      : client_(std::move(endpoint), {.api_key = options.api_key}) {}

  GenerateResult generate(std::string_view prompt, const GenerateOptions& options) const override {
    return run(options,
               [&](const remote::Parameters& parameters) { return client_.complete(prompt, parameters); });
  }

  GenerateResult chat(const std::vector<ChatMessage>& messages,
                      const GenerateOptions& options) const override {
    std::vector<remote::Message> own;
    for (const ChatMessage& message : messages)
      own.push_back({.role = message.role, .content = message.content});
    return run(options, [&](const remote::Parameters& parameters) { return client_.chat(own, parameters); });
  }

  GenerateResult generate_ids(const std::vector<std::int32_t>&, const GenerateOptions&) const override {
    unsupported("takes text, not token ids");
  }
  bool can_chat() const noexcept override { return true; }
  std::string chat_prompt(const std::vector<ChatMessage>&) const override {
    unsupported("makes its prompts itself");
  }
  void logits(const std::vector<std::int32_t>&, const Consume&) const override {
    unsupported("gives no logits");
  }

  std::size_t count_tokens(std::string_view text) const override {
    return (text.size() + kBytesPerToken - 1) / kBytesPerToken;
  }

  const std::string& family() const noexcept override { return client_.endpoint().model; }
  std::size_t context_length() const noexcept override { return 0; }
  std::size_t vocab_size() const noexcept override { return 0; }
  std::size_t parameters() const noexcept override { return 0; }
  int threads() const noexcept override { return 0; }

 private:
  [[noreturn]] void unsupported(const std::string& what) const {
    throw Error(ErrorCode::kUnsupported, client_.endpoint().url + ": a model on a server " + what);
  }

  // What OpenAI's API has no word for.
  void refuse_what_is_only_here(const GenerateOptions& o) const {
    if (o.num_beams > 1) unsupported("has no beam search");
    if (o.top_k > 0) unsupported("has no top_k; use top_p");
    if (o.min_p > 0) unsupported("has no min_p; use top_p");
    if (o.repetition_penalty != 1) unsupported("has no repetition_penalty; use frequency_penalty");
    if (o.context_shift || o.truncate) unsupported("drops nothing of a prompt or text that is too long");
    if (o.ignore_eos) unsupported("ends at its eos");
  }

  // Servers that do not know response_format ignore it.
  void check_json(const remote::Choice& choice) const {
    boost::system::error_code error;
    base::json::parse(choice.text, error);
    if (!error || choice.finish_reason == "length") return;
    throw Error(ErrorCode::kFormat, client_.endpoint().url +
                                        ": the server did not keep to the schema: its answer is no JSON; "
                                        "does it know response_format?");
  }

  template <class Send>
  GenerateResult run(const GenerateOptions& options, const Send& send) const {
    check_options(options);
    refuse_what_is_only_here(options);
    const auto begin = std::chrono::steady_clock::now();
    double first = 0;
    const auto elapsed = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
    remote::Parameters parameters{.max_tokens = options.max_new_tokens,
                                  .temperature = static_cast<double>(options.temperature),
                                  .top_p = static_cast<double>(options.top_p),
                                  .presence_penalty = static_cast<double>(options.presence_penalty),
                                  .frequency_penalty = static_cast<double>(options.frequency_penalty),
                                  .logit_bias = options.logit_bias,
                                  .seed = options.seed,
                                  .stop = options.stop,
                                  .json_schema = options.json_schema,
                                  .n = options.num_return_sequences,
                                  .cancel = options.cancel};
    parameters.on_text = [&](std::string_view text) {
      if (first == 0) first = elapsed();
      if (options.on_text) options.on_text(text);
    };
    GenerateResult result;
    for (remote::Choice& choice : send(parameters)) {
      if (!options.json_schema.empty()) check_json(choice);
      result.sequences.push_back(
          {.text = std::move(choice.text), .ids = {}, .logprobs = {}, .finish_reason = choice.finish_reason});
    }
    result.prompt_seconds = first;
    result.seconds = elapsed();
    return result;
  }

  remote::OpenAiClient client_;
};

}  // namespace

std::shared_ptr<const LanguageModel> find_remote_model(const std::string& name,
                                                       const GeneratorOptions& options) {
  std::optional<remote::Endpoint> endpoint = remote::parse_endpoint(name);
  if (!endpoint) return nullptr;
  return std::make_shared<const RemoteModel>(std::move(*endpoint), options);
}

}  // namespace kvasir::generation
