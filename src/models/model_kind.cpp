#include "models/model_kind.h"

#include "kvasir/error.h"
#include "models/config.h"
#include "models/head.h"
#include "models/registry.h"
#include "models/sentence_modules.h"

namespace kvasir::models {

namespace {

std::string first_architecture(const base::JsonObject& config) {
  if (!config.has("architectures")) return {};
  const base::json::array* list = config.at("architectures").if_array();
  if (list == nullptr || list->empty() || !list->front().is_string()) return {};
  return std::string(list->front().get_string());
}

ModelKind kind_of(const std::string& architecture, const ConfigReader& config) {
  if (architecture.ends_with("ForQuestionAnswering")) return ModelKind::kReader;
  if (architecture.ends_with("ForSequenceClassification")) {
    return num_labels(config) == 1 ? ModelKind::kCrossEncoder : ModelKind::kClassifier;
  }
  return ModelKind::kEncoder;
}

// Whether the registry knows the family; else its message.
std::string refusal(const ConfigReader& config) {
  try {
    encoder_family(config);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace

ModelDescription describe_model(const formats::ModelFolder& folder) {
  if (folder.gguf_path()) return {.kind = ModelKind::kLanguageModel};
  const bool has_modules = has_sentence_modules(folder.path());
  const std::filesystem::path encoder = encoder_folder(folder.path());
  if (encoder != folder.path()) {  // a folder below: modules.json is not there
    ModelDescription description = describe_model(encoder);
    description.kind = ModelKind::kSentenceModel;
    return description;
  }
  const ConfigReader config(folder.config());
  ModelDescription description{.family = config.json().string_or("model_type", ""),
                               .architecture = first_architecture(config.json())};
  if (is_decoder_type(description.family)) {
    description.kind = ModelKind::kLanguageModel;
    return description;
  }
  description.unsupported = refusal(config);
  if (has_modules) {
    description.kind = ModelKind::kSentenceModel;
  } else if (description.unsupported.empty()) {
    description.kind = kind_of(description.architecture, config);
  }
  return description;
}

const char* kind_name(ModelKind kind) noexcept {
  switch (kind) {
    case ModelKind::kReader:
      return "a question-answering reader";
    case ModelKind::kSentenceModel:
      return "a sentence model";
    case ModelKind::kCrossEncoder:
      return "a cross-encoder";
    case ModelKind::kClassifier:
      return "a classifier";
    case ModelKind::kEncoder:
      return "a pre-trained encoder without a head";
    case ModelKind::kLanguageModel:
      return "a language model";
    case ModelKind::kUnknown:
      break;
  }
  return "a model of a kind that is not known here";
}

const char* commands_of(ModelKind kind) noexcept {
  switch (kind) {
    case ModelKind::kReader:
      return "kvasir ask";
    case ModelKind::kSentenceModel:
    case ModelKind::kEncoder:
      return "kvasir embed";
    case ModelKind::kCrossEncoder:
    case ModelKind::kClassifier:
      return "kvasir rerank";
    case ModelKind::kLanguageModel:
      return "kvasir generate";
    case ModelKind::kUnknown:
      break;
  }
  return "";
}

std::string advice(const ModelDescription& description) {
  std::string text = std::string("it is ") + kind_name(description.kind);
  if (!description.architecture.empty()) text += " (" + description.architecture + ")";
  const std::string commands = commands_of(description.kind);
  return commands.empty() ? text : text + "; " + commands + " takes it";
}

}  // namespace kvasir::models
