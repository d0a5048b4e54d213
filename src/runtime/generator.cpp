#include "kvasir/generator.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/cpu.h"
#include "base/json.h"
#include "models/inventory.h"
#include "runtime/generation_request.h"

namespace kvasir {

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
  if (name != "auto") {
    throw Error(ErrorCode::kInvalidArgument, "unknown kv_type \"" + name + "\"; use auto, f32 or f16");
  }
  for (const models::Inventory::Entry& entry : inventory.entries) {
    if (entry.kind == models::Inventory::Kind::kMatrix && entry.view.dtype == tensor::DType::kF32) {
      return kernels::KvType::kF32;
    }
  }
  return kernels::KvType::kF16;
}

// eos_token_id of generation_config.json, else of config.json: a number, or a list of them.
std::vector<std::int32_t> read_eos_ids(const std::filesystem::path& folder, std::size_t vocab_size) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    if (!std::filesystem::exists(folder / name)) continue;
    const base::json::value document = base::parse_json_file(folder / name);
    const base::JsonObject json(document, (folder / name).string());
    if (!json.has("eos_token_id")) continue;
    std::vector<std::int32_t> ids;
    const auto add = [&](const base::json::value& value) {
      const std::int64_t* id = value.if_int64();
      if (id == nullptr) json.fail("key eos_token_id is neither a token id nor a list of them");
      if (*id >= 0 && static_cast<std::size_t>(*id) < vocab_size)
        ids.push_back(static_cast<std::int32_t>(*id));
    };
    const base::json::value& value = json.at("eos_token_id");
    if (const base::json::array* list = value.if_array()) {
      for (const base::json::value& each : *list) add(each);
    } else {
      add(value);
    }
    return ids;
  }
  return {};
}

runtime::SamplingOptions sampling_options(const GenerateOptions& o) {
  return {.temperature = o.temperature,
          .top_k = o.top_k,
          .top_p = o.top_p,
          .min_p = o.min_p,
          .repetition_penalty = o.repetition_penalty,
          .presence_penalty = o.presence_penalty,
          .frequency_penalty = o.frequency_penalty,
          .logit_bias = o.logit_bias,
          .seed = o.seed};
}

runtime::EarlyStopping parse_early_stopping(const std::string& name) {
  if (name == "false") return runtime::EarlyStopping::kNo;
  if (name == "true") return runtime::EarlyStopping::kYes;
  if (name == "never") return runtime::EarlyStopping::kNever;
  throw Error(ErrorCode::kInvalidArgument, "early_stopping \"" + name + "\" is not false, true or never");
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

void check_options(const GenerateOptions& o) {
  if (o.max_new_tokens == 0) refuse("max_new_tokens is 0; it should be at least 1");
  if (o.num_beams == 0 || o.num_return_sequences == 0)
    refuse("num_beams and num_return_sequences are at least 1");
  parse_early_stopping(o.early_stopping);
  if (o.num_beams == 1) {
    if (o.num_return_sequences > 1 && o.temperature == 0) {
      refuse("num_return_sequences > 1 needs num_beams or a temperature: the most probable text is only one");
    }
    return;
  }
  if (o.temperature != 0) refuse("num_beams goes without temperature: beams are the most probable texts");
  if (o.num_return_sequences > o.num_beams) refuse("num_return_sequences is more than num_beams");
  if (o.prompt_lookup_num_tokens > 0) refuse("prompt_lookup_num_tokens goes without num_beams");
  if (o.on_text) refuse("beams cannot be streamed: which text is the best shows at the end");
}

}  // namespace

struct Generator::Impl {
  const kernels::Kernels& kernels;
  base::ThreadPool pool;
  text::Tokenizer tokenizer;
  std::unique_ptr<const models::CausalLm> model;
  std::vector<std::int32_t> eos_ids;
  std::optional<runtime::BatchLoop> loop;  // has a thread that uses what stands above

  GenerateResult run(std::vector<std::int32_t> prompt, const GenerateOptions& options);
};

Generator Generator::load(const std::filesystem::path& folder, const GeneratorOptions& options) {
  if (options.threads < 0) {
    refuse("threads: should be >= 0 (got " + std::to_string(options.threads) + "); 0 means all cores");
  }
  const base::Isa isa = options.isa.empty() ? base::best_isa() : base::parse_isa(options.isa);
  auto impl = std::shared_ptr<Impl>(
      new Impl{.kernels = kernels::kernels_for(isa),
               .pool = base::ThreadPool(options.threads == 0 ? base::usable_cores() : options.threads),
               .tokenizer = text::Tokenizer::load(folder),
               .model = nullptr,
               .eos_ids = {},
               .loop = std::nullopt});
  models::Inventory inventory;
  impl->model = models::load_causal_lm(folder, {.kernels = impl->kernels,
                                                .pool = impl->pool,
                                                .precision = models::parse_precision(options.precision),
                                                .inventory = &inventory});
  impl->eos_ids = read_eos_ids(folder, impl->model->vocab_size());
  impl->loop.emplace(
      *impl->model, impl->kernels, impl->pool,
      runtime::BatchLoopOptions{
          .kv_type = kv_type_of(options.kv_type, inventory),
          .cache = {.max_bytes = options.kv_bytes == 0 ? quarter_of_memory() : options.kv_bytes}});
  return Generator(std::move(impl));
}

GenerateResult Generator::Impl::run(std::vector<std::int32_t> prompt, const GenerateOptions& options) {
  check_options(options);
  const runtime::SamplingOptions sampling = sampling_options(options);
  runtime::check(sampling, model->vocab_size());
  const std::size_t context = loop->max_tokens();
  if (options.truncate && prompt.size() + options.max_new_tokens > context) {
    const std::size_t room = context - std::min(options.max_new_tokens, context / 2);
    if (prompt.size() > room) prompt.erase(prompt.begin(), prompt.end() - static_cast<std::ptrdiff_t>(room));
  }
  GenerateOptions own = options;
  own.prompt_lookup_num_tokens = std::min(own.prompt_lookup_num_tokens, kMostDrafts);
  const std::size_t room = context > prompt.size() ? context - prompt.size() : 0;
  runtime::GenerationRequest::Setting setting{
      .prompt = std::move(prompt),
      .options = &own,
      .tokenizer = &tokenizer,
      .eos_ids = own.ignore_eos ? std::vector<std::int32_t>() : eos_ids,
      .max_new_tokens = std::min(own.max_new_tokens, room),
      .vocab_size = model->vocab_size()};
  std::shared_ptr<runtime::GenerationRequest> request;
  if (own.num_beams > 1) {
    const runtime::BeamOptions beams{.num_beams = own.num_beams,
                                     .max_new_tokens = setting.max_new_tokens,
                                     .length_penalty = own.length_penalty,
                                     .early_stopping = parse_early_stopping(own.early_stopping),
                                     .eos_ids = setting.eos_ids};
    request = std::make_shared<runtime::BeamRequest>(std::move(setting), sampling, beams);
  } else {
    request = std::make_shared<runtime::SamplingRequest>(std::move(setting), sampling);
  }
  loop->submit(request);
  return request->wait();
}

GenerateResult Generator::generate(std::string_view prompt, const GenerateOptions& options) const {
  const text::Encoding encoding =
      impl_->tokenizer.encode(prompt, {.add_special_tokens = options.add_special_tokens});
  if (encoding.ids.empty()) refuse("the prompt is empty, and the model has no token that begins a text");
  return impl_->run(encoding.ids, options);
}

GenerateResult Generator::generate(const std::vector<std::int32_t>& prompt_ids,
                                   const GenerateOptions& options) const {
  return impl_->run(prompt_ids, options);
}

void Generator::logits(const std::vector<std::int32_t>& ids,
                       const std::function<void(std::size_t, const std::vector<float>&)>& consume) const {
  const auto request = std::make_shared<runtime::LogitsRequest>(ids, impl_->model->vocab_size());
  impl_->loop->submit(request);
  request->wait(consume);
}

const std::string& Generator::family() const noexcept {
  return impl_->model->family();
}

std::size_t Generator::context_length() const noexcept {
  return impl_->loop->max_tokens();
}

std::size_t Generator::vocab_size() const noexcept {
  return impl_->model->vocab_size();
}

std::size_t Generator::parameters() const noexcept {
  return impl_->model->parameters();
}

int Generator::threads() const noexcept {
  return impl_->pool.size();
}

}  // namespace kvasir
