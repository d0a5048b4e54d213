#include "kvasir/generator.h"

#include <cmath>

#include "generation/generator_impl.h"

namespace kvasir {

Generator Generator::load(const std::filesystem::path& model, const GeneratorOptions& options) {
  if (auto remote = generation::find_remote_model(model.string(), options))
    return Generator(std::move(remote));
  return Generator(generation::load_local_model(model, options));
}

GenerateResult Generator::generate(std::string_view prompt, const GenerateOptions& options) const {
  return impl_->generate(prompt, options);
}

GenerateResult Generator::generate(const std::vector<std::int32_t>& prompt_ids,
                                   const GenerateOptions& options) const {
  return impl_->generate_ids(prompt_ids, options);
}

GenerateResult Generator::chat(const std::vector<ChatMessage>& messages,
                               const GenerateOptions& options) const {
  return impl_->chat(messages, options);
}

bool Generator::can_chat() const noexcept {
  return impl_->can_chat();
}

std::string Generator::chat_prompt(const std::vector<ChatMessage>& messages) const {
  return impl_->chat_prompt(messages);
}

std::size_t Generator::count_tokens(std::string_view text) const {
  return impl_->count_tokens(text);
}

void Generator::logits(const std::vector<std::int32_t>& ids,
                       const std::function<void(std::size_t, const std::vector<float>&)>& consume) const {
  impl_->logits(ids, consume);
}

const std::string& Generator::family() const noexcept {
  return impl_->family();
}

std::size_t Generator::context_length() const noexcept {
  return impl_->context_length();
}

std::size_t Generator::vocab_size() const noexcept {
  return impl_->vocab_size();
}

std::size_t Generator::parameters() const noexcept {
  return impl_->parameters();
}
std::size_t Generator::weight_bytes() const noexcept {
  return impl_->weight_bytes();
}
double Generator::multiply_adds(std::size_t tokens) const noexcept {
  return impl_->multiply_adds(tokens);
}

int Generator::threads() const noexcept {
  return impl_->threads();
}

}  // namespace kvasir
