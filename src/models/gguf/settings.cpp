#include "models/gguf/settings.h"

#include <algorithm>
#include <cmath>

#include "kvasir/error.h"
#include "models/gguf/family.h"
#include "models/gguf/names.h"

namespace kvasir::models {

namespace {

using Kind = GgufSetting::Kind;

// Of all families, under tokenizer.ggml instead of the architecture. Those of a file that is written come
// from the tokenizer.
constexpr GgufSetting kTokens[] = {
    {.gguf = "bos_token_id", .config = "bos_token_id", .optional = true, .min = 0, .max = kMaxVocabulary},
    {.gguf = "eos_token_id", .config = "eos_token_id", .optional = true, .min = 0, .max = kMaxVocabulary},
    {.gguf = "padding_token_id", .config = "pad_token_id", .optional = true, .min = 0, .max = kMaxVocabulary},
};

base::json::value json_of(const GgufAssumption& assumption) {
  return std::visit([](auto value) { return base::json::value(value); }, assumption.value);
}

}  // namespace

GgufReader::GgufReader(const formats::GgufFile& file, const GgufFamily& family)
    : file_(file),
      metadata_(file.metadata()),
      family_(family),
      prefix_(std::string(family.architecture) + ".") {}

const formats::CheckpointTensor* GgufReader::find_tensor(const std::string& name) const {
  const auto found = file_.tensors().find(name);
  return found == file_.tensors().end() ? nullptr : &found->second;
}

void GgufReader::only(std::string_view name, std::int64_t value, const std::string& what) const {
  const std::string full = key(name);
  if (!metadata_.has(full)) return;
  if (const std::int64_t found = metadata_.integer(full, 0, kMaxVocabulary); found != value) {
    unsupported(name, "is " + std::to_string(found) + ": " + what + " is not supported");
  }
}

void GgufReader::unsupported(std::string_view name, const std::string& message) const {
  throw Error(ErrorCode::kUnsupported, metadata_.origin() + ": metadata key " + key(name) + " " + message);
}

void GgufReader::read(std::string_view prefix, std::span<const GgufSetting> settings) {
  for (const GgufSetting& setting : settings) {
    const std::string name = std::string(prefix).append(setting.gguf);
    if (setting.optional && !metadata_.has(name)) continue;
    if (setting.kind == Kind::kNumber) {
      const double number = metadata_.number(name);
      if (!std::isfinite(number)) metadata_.fail(name, "is no finite number");
      set(setting.config, number);
    } else {
      set(setting.config, metadata_.integer(name, setting.min, static_cast<std::int64_t>(setting.max)));
    }
  }
}

// The rows of the table of embeddings; a file of a vocabulary has only that.
std::int64_t GgufReader::vocabulary() const {
  const formats::CheckpointTensor* table = find_tensor("token_embd.weight");
  if (table != nullptr && !table->view.shape.empty()) return table->view.shape.front();
  if (metadata_.has("tokenizer.ggml.tokens")) {
    return static_cast<std::int64_t>(metadata_.strings("tokenizer.ggml.tokens").size());
  }
  return metadata_.integer(key("vocab_size"), 1, kMaxVocabulary);
}

base::json::object GgufReader::run() {
  set("model_type", base::json::value(family_.model_types.front()));
  read(prefix_, family_.settings);
  for (const GgufAssumption& assumption : family_.assumptions) {
    if (assumption.said) set(assumption.config, json_of(assumption));
  }
  family_.read(*this);
  set("vocab_size", vocabulary());
  set("tie_word_embeddings", !has_tensor("output.weight"));
  read("tokenizer.ggml.", kTokens);
  return std::move(config_);
}

GgufWriter::GgufWriter(const base::JsonObject& config, const GgufLayout& layout)
    : config_(config), layout_(layout) {}

void GgufWriter::add(std::string_view name, std::string value) {
  entries_.push_back({layout_.architecture() + "." + std::string(name), std::move(value)});
}
void GgufWriter::add_number(std::string_view name, double value) {
  entries_.push_back({layout_.architecture() + "." + std::string(name), static_cast<float>(value)});
}
void GgufWriter::add_size(std::string_view name, std::size_t value) {
  entries_.push_back({layout_.architecture() + "." + std::string(name), static_cast<std::uint32_t>(value)});
}

void GgufWriter::unsupported(const base::JsonObject& json, const std::string& what) {
  throw Error(ErrorCode::kUnsupported, json.origin() + ": " + what + " cannot be said in GGUF");
}

void GgufWriter::only(const base::JsonObject& json, const char* key, const base::json::value& value) {
  if (!json.has(key) || json.at(key) == value) return;
  unsupported(json, std::string(key) + " = " + base::json::serialize(json.at(key)));
}

void GgufWriter::write(const GgufSetting& setting) {
  const char* name = setting.key_in(config_);
  if (setting.optional && !config_.has(name)) return;
  const bool given = config_.has(name) || setting.fallback == 0;
  if (setting.kind == Kind::kNumber) {
    add_number(setting.gguf, given ? config_.number(name) : setting.fallback);
  } else {
    add_size(setting.gguf, given ? static_cast<std::size_t>(config_.integer(
                                       name, setting.min, static_cast<std::int64_t>(setting.max)))
                                 : static_cast<std::size_t>(setting.fallback));
  }
}

std::vector<formats::GgufEntry> GgufWriter::run() {
  for (const GgufAssumption& assumption : layout_.family->assumptions) {
    only(config_, assumption.config, json_of(assumption));
  }
  for (const GgufSetting& setting : layout_.family->settings) write(setting);
  layout_.family->write(*this);
  add_size("attention.head_count_kv", layout_.kv_heads);
  add_size("vocab_size", static_cast<std::size_t>(config_.integer("vocab_size", 1, kMaxVocabulary)));
  return std::move(entries_);
}

std::size_t config_size(const GgufFamily& family, const base::JsonObject& config, std::string_view gguf) {
  const auto setting = std::ranges::find(family.settings, gguf, &GgufSetting::gguf);
  return static_cast<std::size_t>(
      config.integer(setting->key_in(config), setting->min, static_cast<std::int64_t>(setting->max)));
}

std::optional<base::JsonObject> rope_scaling(const base::JsonObject& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (config.has(key)) return config.object(key);
  }
  return std::nullopt;
}

std::string rope_type(const base::JsonObject& config) {
  const std::optional<base::JsonObject> scaling = rope_scaling(config);
  return scaling ? scaling->string_or("rope_type", scaling->string_or("type", "default")) : "default";
}

}  // namespace kvasir::models
