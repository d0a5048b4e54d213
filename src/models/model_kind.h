// What a folder's model is for, determined from its small files, without its weights.
#pragma once

#include <string>

#include "formats/model_folder.h"

namespace kvasir::models {

enum class ModelKind {
  kReader,         // …ForQuestionAnswering
  kSentenceModel,  // modules.json of sentence-transformers
  kCrossEncoder,   // …ForSequenceClassification with one label
  kClassifier,     // the same with several
  kEncoder,        // a pre-trained encoder without one of these heads
  kLanguageModel,
  kUnknown,
};

struct ModelDescription {
  ModelKind kind = ModelKind::kUnknown;
  std::string family = {};        // model_type of config.json
  std::string architecture = {};  // the first of its architectures; may be empty
  std::string unsupported = {};   // why this library cannot run it; empty: it can
};

// Throws as formats::ModelFolder for a path without a model.
ModelDescription describe_model(const formats::ModelFolder& folder);

// Such as "a sentence model".
const char* kind_name(ModelKind kind) noexcept;
// Commands that take it: "kvasir embed". Empty: none.
const char* commands_of(ModelKind kind) noexcept;
// For errors about a model of another kind: "it is a sentence model (BertModel); kvasir embed takes it".
std::string advice(const ModelDescription& description);

}  // namespace kvasir::models
