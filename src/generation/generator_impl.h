// The interface behind a Generator: a language model in this process (local_model.cpp) or on a server
// (remote_model.cpp). Its functions correspond to those of Generator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/generator.h"

namespace kvasir::generation {

class LanguageModel {
 public:
  LanguageModel() = default;
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;
  virtual ~LanguageModel() = default;

  virtual GenerateResult generate(std::string_view prompt, const GenerateOptions& options) const = 0;
  virtual GenerateResult generate_ids(const std::vector<std::int32_t>& prompt_ids,
                                      const GenerateOptions& options) const = 0;
  virtual GenerateResult chat(const std::vector<ChatMessage>& messages,
                              const GenerateOptions& options) const = 0;
  virtual bool can_chat() const noexcept = 0;
  virtual std::string chat_prompt(const std::vector<ChatMessage>& messages) const = 0;
  virtual std::size_t count_tokens(std::string_view text) const = 0;
  using Consume = std::function<void(std::size_t position, const std::vector<float>& logits)>;
  virtual void logits(const std::vector<std::int32_t>& ids, const Consume& consume) const = 0;

  virtual const std::string& family() const noexcept = 0;
  virtual std::size_t context_length() const noexcept = 0;
  virtual std::size_t vocab_size() const noexcept = 0;
  virtual std::size_t parameters() const noexcept = 0;
  virtual std::size_t weight_bytes() const noexcept { return 0; }
  virtual double multiply_adds(std::size_t /*tokens*/) const noexcept { return 0; }
  virtual int threads() const noexcept = 0;
};

std::shared_ptr<const LanguageModel> load_local_model(const std::filesystem::path& model,
                                                      const GeneratorOptions& options);
// Null if `name` is not the name of a model on a server, openai://HOST:PORT/NAME.
std::shared_ptr<const LanguageModel> find_remote_model(const std::string& name,
                                                       const GeneratorOptions& options);

}  // namespace kvasir::generation
