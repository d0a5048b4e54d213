#include "kvasir/generator.h"

#include "generation/generator_impl.h"
#include "kvasir/hub.h"

namespace kvasir {

struct Generator::Impl {
  std::shared_ptr<const generation::LanguageModel> model;
};

Generator Generator::load(const std::filesystem::path& model, const GeneratorOptions& options) {
  auto found = generation::find_remote_model(model.string(), options);
  if (!found)
    found = generation::load_local_model(resolve_model(model, {.cache = options.hub_cache}), options);
  return Generator(std::make_shared<const Impl>(Impl{std::move(found)}));
}

GenerateResult Generator::generate(std::string_view prompt, const GenerateOptions& options) const {
  return impl_->model->generate(prompt, options);
}

GenerateResult Generator::generate(const std::vector<std::int32_t>& prompt_ids,
                                   const GenerateOptions& options) const {
  return impl_->model->generate_ids(prompt_ids, options);
}

GenerateResult Generator::chat(const std::vector<ChatMessage>& messages,
                               const GenerateOptions& options) const {
  return impl_->model->chat(messages, options);
}

bool Generator::can_chat() const noexcept {
  return impl_->model->can_chat();
}

std::string Generator::chat_prompt(const std::vector<ChatMessage>& messages) const {
  return impl_->model->chat_prompt(messages);
}

std::size_t Generator::count_tokens(std::string_view text) const {
  return impl_->model->count_tokens(text);
}

void Generator::logits(const std::vector<std::int32_t>& ids,
                       const std::function<void(std::size_t, const std::vector<float>&)>& consume) const {
  impl_->model->logits(ids, consume);
}

const std::string& Generator::family() const noexcept {
  return impl_->model->family();
}

std::size_t Generator::context_length() const noexcept {
  return impl_->model->context_length();
}

std::size_t Generator::vocab_size() const noexcept {
  return impl_->model->vocab_size();
}

std::size_t Generator::parameters() const noexcept {
  return impl_->model->parameters();
}
std::size_t Generator::weight_bytes() const noexcept {
  return impl_->model->weight_bytes();
}
double Generator::multiply_adds(std::size_t tokens) const noexcept {
  return impl_->model->multiply_adds(tokens);
}

int Generator::threads() const noexcept {
  return impl_->model->threads();
}

}  // namespace kvasir
