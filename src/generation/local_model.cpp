// A language model on this machine.
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "base/cpu.h"
#include "base/json.h"
#include "generation/check_options.h"
#include "generation/generation_request.h"
#include "generation/generator_impl.h"
#include "generation/json_constraint.h"
#include "generation/model_language.h"
#include "models/causal_lm.h"
#include "models/inventory.h"

namespace kvasir::generation {

namespace {

// Guesses beyond this are hardly ever right to the end.
constexpr std::size_t kMostDrafts = 64;

std::size_t quarter_of_memory() noexcept {
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);
  return pages > 0 && size > 0 ? static_cast<std::size_t>(pages) / 4 * static_cast<std::size_t>(size)
                               : std::size_t{2} << 30;
}

kernels::KvType kv_type_of(const std::string& name, const models::Inventory& inventory) {
  if (name == "f32") return kernels::KvType::kF32;
  if (name == "f16") return kernels::KvType::kF16;
  if (name == "q8_0") return kernels::KvType::kQ8_0;
  if (name != "auto") {
    throw Error(ErrorCode::kInvalidArgument, "unknown kv_type \"" + name + "\"; use auto, f32, f16 or q8_0");
  }
  for (const models::Inventory::Entry& entry : inventory.entries) {
    if (entry.kind == models::Inventory::Kind::kMatrix && entry.view.dtype == tensor::DType::kF32) {
      return kernels::KvType::kF32;
    }
  }
  return kernels::KvType::kF16;
}

// What matrices make a pass do.
struct Work {
  std::size_t bytes = 0;
  double of_token = 0, of_logits = 0;  // multiply-adds
};
Work work_of(const models::Inventory& inventory, std::size_t vocab_size) {
  Work work;
  const models::Linear* last = nullptr;  // several entries may be parts of one
  for (const models::Inventory::Entry& entry : inventory.entries) {
    if (entry.linear == nullptr || entry.linear == last) continue;
    last = entry.linear;
    work.bytes += last->bytes();
    (last->out() == vocab_size ? work.of_logits : work.of_token) +=
        static_cast<double>(last->in()) * static_cast<double>(last->out());
  }
  return work;
}

class LocalModel final : public LanguageModel {
 public:
  LocalModel(const formats::ModelFolder& folder, const GeneratorOptions& options, base::Isa isa)
      : kernels_(kernels::kernels_for(isa)),
        pool_(options.threads == 0 ? base::usable_cores() : options.threads),
        language_(load_language(folder)),
        conversation_(language_, folder.path(), options.chat_template) {
    models::Inventory inventory;
    model_ = models::load_causal_lm(folder, {.kernels = kernels_,
                                             .pool = pool_,
                                             .precision = models::parse_precision(options.precision),
                                             .inventory = &inventory});
    work_ = work_of(inventory, model_->vocab_size());
    check_vocabulary(language_.tokenizer, model_->vocab_size(), folder.path().string());
    loop_.emplace(*model_, kernels_, pool_,
                  BatchLoopOptions{.kv_type = kv_type_of(options.kv_type, inventory),
                                   .cache = {.max_bytes = options.kv_bytes == 0 ? quarter_of_memory()
                                                                                : options.kv_bytes}});
  }

  GenerateResult generate(std::string_view prompt, const GenerateOptions& options) const override {
    text::Encoding encoding =
        language_.tokenizer.encode(prompt, {.add_special_tokens = options.add_special_tokens});
    if (encoding.ids.empty()) {
      throw Error(
          ErrorCode::kInvalidArgument,
          std::string("the prompt is empty, and ") +
              (options.add_special_tokens ? "the model has no token that begins a text"
                                          : "it gets no special tokens; there is nothing to begin with"));
    }
    return generate_ids(encoding.ids, options);
  }

  GenerateResult generate_ids(const std::vector<std::int32_t>& prompt_ids,
                              const GenerateOptions& options) const override {
    return run(prompt_ids, options, language_.eos_ids);
  }

  GenerateResult chat(const std::vector<ChatMessage>& messages,
                      const GenerateOptions& options) const override {
    GenerateOptions own = options;
    // JSON ends by itself, and may have such texts in its strings.
    if (own.json_schema.empty())
      own.stop.insert(own.stop.end(), conversation_.stop().begin(), conversation_.stop().end());
    std::vector<std::int32_t> ends = language_.eos_ids;
    ends.insert(ends.end(), conversation_.eos_ids().begin(), conversation_.eos_ids().end());
    std::vector<std::int32_t> ids = chat_ids(chat_prompt(messages));
    if ((own.context_shift || own.truncate) && !own.context_keep) {
      own.context_keep = std::min(length_before_messages(messages, ids), loop_->max_tokens() / 2);
    }
    return run(std::move(ids), own, std::move(ends));
  }

  bool can_chat() const noexcept override { return conversation_.has_template(); }
  std::string chat_prompt(const std::vector<ChatMessage>& messages) const override {
    std::vector<text::ChatMessage> own;
    for (const ChatMessage& message : messages)
      own.push_back({.role = message.role, .content = message.content});
    return conversation_.prompt(own);
  }

  std::size_t count_tokens(std::string_view text) const override {
    return language_.tokenizer.encode(text, {.add_special_tokens = false}).size();
  }

  void logits(const std::vector<std::int32_t>& ids, const Consume& consume) const override {
    const auto request = std::make_shared<LogitsRequest>(ids);
    loop_->submit(request);
    request->wait(consume);
  }

  const std::string& family() const noexcept override { return model_->family(); }
  std::size_t context_length() const noexcept override { return loop_->max_tokens(); }
  std::size_t vocab_size() const noexcept override { return model_->vocab_size(); }
  std::size_t parameters() const noexcept override { return models::count_parameters(*model_); }
  std::size_t weight_bytes() const noexcept override { return work_.bytes; }
  double multiply_adds(std::size_t tokens) const noexcept override {
    return static_cast<double>(tokens) * work_.of_token + work_.of_logits;
  }
  int threads() const noexcept override { return pool_.size(); }

 private:
  // A template may write the bos itself, or leave it to the tokenizer (Vicuna's); it must not stand there
  // twice.
  std::vector<std::int32_t> chat_ids(const std::string& prompt) const {
    const std::vector<std::int32_t> none = language_.tokenizer.encode("", {.add_special_tokens = true}).ids;
    const bool adds_bos = !none.empty() && language_.tokenizer.token(none.front()) == language_.bos_token;
    const bool has_bos = !language_.bos_token.empty() && prompt.starts_with(language_.bos_token);
    return language_.tokenizer.encode(prompt, {.add_special_tokens = adds_bos && !has_bos}).ids;
  }

  // Of the ids of a conversation, those of its system prompt and what else precedes the first message: what
  // stays the same when that says something else.
  std::size_t length_before_messages(const std::vector<ChatMessage>& messages,
                                     const std::vector<std::int32_t>& ids) const {
    const auto first =
        std::ranges::find_if(messages, [](const ChatMessage& each) { return each.role != "system"; });
    if (first == messages.end()) return 0;
    std::vector<ChatMessage> others(messages.begin(), first + 1);
    others.back().content = first->content.starts_with('!') ? "?" : "!";
    const std::vector<std::int32_t> other_ids = chat_ids(chat_prompt(others));
    return static_cast<std::size_t>(std::ranges::mismatch(ids, other_ids).in1 - ids.begin());
  }

  // The tokens that are never dropped.
  std::size_t kept_of(const std::vector<std::int32_t>& prompt, const GenerateOptions& options) const {
    const std::size_t most = loop_->max_tokens() / 2;
    if (!options.context_keep) {
      const auto bos = language_.tokenizer.token_id(language_.bos_token);
      return bos && prompt.front() == *bos ? std::min<std::size_t>(1, most) : 0;
    }
    if (*options.context_keep > most) {
      throw Error(ErrorCode::kInvalidArgument, "context_keep is " + std::to_string(*options.context_keep) +
                                                   ", and of the model's context of " +
                                                   std::to_string(loop_->max_tokens()) +
                                                   " tokens at most half can be kept");
    }
    return *options.context_keep;
  }

  // A prompt that is too long without what the options let it lose.
  void shorten(std::vector<std::int32_t>& prompt, const GenerateOptions& options, std::size_t keep) const {
    const std::size_t context = loop_->max_tokens();
    std::size_t room = context - std::min(options.max_new_tokens, context / 2);
    if (options.context_shift)
      room = prompt.size() < context ? prompt.size() : context - dropped_at(context, keep);
    if (prompt.size() <= room) return;
    const auto first = prompt.begin() + static_cast<std::ptrdiff_t>(keep);
    prompt.erase(first, first + static_cast<std::ptrdiff_t>(prompt.size() - room));
  }

  std::optional<JsonConstraint> constraint_of(const GenerateOptions& options,
                                              const std::vector<std::int32_t>& ends) const {
    if (options.json_schema.empty()) return std::nullopt;
    std::call_once(vocabulary_once_,
                   [&] { vocabulary_ = std::make_shared<const TokenVocabulary>(language_.tokenizer); });
    constexpr const char* kOrigin = "json_schema";
    const base::json::value schema = base::parse_json(options.json_schema, kOrigin);
    return JsonConstraint(compile_for(*vocabulary_, schema, kOrigin), vocabulary_, ends);
  }

  GenerateResult run(std::vector<std::int32_t> prompt, const GenerateOptions& options,
                     std::vector<std::int32_t> ends) const {
    check_options(options);
    const SamplingOptions sampling = sampling_options(options);
    check(sampling);
    const std::size_t context = loop_->max_tokens();
    std::optional<GenerationRequest::Setting::Shift> shift;
    if ((options.truncate || options.context_shift) && !prompt.empty()) {
      const std::size_t keep = kept_of(prompt, options);
      shorten(prompt, options, keep);
      if (options.context_shift) shift = {.context = context, .keep = keep};
    }
    GenerateOptions own = options;
    own.prompt_lookup_num_tokens = std::min(own.prompt_lookup_num_tokens, kMostDrafts);
    if (own.ignore_eos) ends.clear();
    std::optional<JsonConstraint> constraint = constraint_of(own, ends);
    const std::size_t room = context > prompt.size() ? context - prompt.size() : 0;
    GenerationRequest::Setting setting{
        .prompt = std::move(prompt),
        .options = &own,
        .tokenizer = &language_.tokenizer,
        .eos_ids = std::move(ends),
        .max_new_tokens = shift ? own.max_new_tokens : std::min(own.max_new_tokens, room),
        .vocab_size = model_->vocab_size(),
        .constraint = std::move(constraint),
        .shift = shift};
    std::shared_ptr<GenerationRequest> request;
    if (own.num_beams > 1) {
      // Ids beyond the vocabulary end nothing, and would count as ends that candidates are kept for.
      std::vector<std::int32_t> known;
      std::ranges::copy_if(setting.eos_ids, std::back_inserter(known), [&](std::int32_t id) {
        return id >= 0 && static_cast<std::size_t>(id) < model_->vocab_size();
      });
      BeamSearchOptions beams{.num_beams = own.num_beams,
                              .max_new_tokens = setting.max_new_tokens,
                              .length_penalty = own.length_penalty,
                              .early_stopping = parse_early_stopping(own.early_stopping),
                              .eos_token_ids = std::move(known),
                              .num_return_sequences = own.num_return_sequences};
      request = std::make_shared<BeamRequest>(std::move(setting), sampling, std::move(beams));
    } else {
      request = std::make_shared<SamplingRequest>(std::move(setting), sampling);
    }
    loop_->submit(request);
    return request->wait();
  }

  const kernels::Kernels& kernels_;
  base::ThreadPool pool_;
  ModelLanguage language_;
  Conversation conversation_;
  std::unique_ptr<const models::CausalLm> model_;
  Work work_;
  mutable std::once_flag vocabulary_once_;
  mutable std::shared_ptr<const TokenVocabulary> vocabulary_;  // once a schema came
  mutable std::optional<BatchLoop> loop_;                      // has a thread that uses what stands above
};

}  // namespace

std::shared_ptr<const LanguageModel> load_local_model(const std::filesystem::path& model,
                                                      const GeneratorOptions& options) {
  if (options.threads < 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "threads: should be >= 0 (got " + std::to_string(options.threads) + "); 0 means all cores");
  }
  return std::make_shared<const LocalModel>(
      model, options, options.isa.empty() ? base::best_isa() : base::parse_isa(options.isa));
}

}  // namespace kvasir::generation
