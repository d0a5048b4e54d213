#include "models/sentence_modules.h"

#include <algorithm>
#include <limits>
#include <string_view>

#include "base/json.h"
#include "kvasir/error.h"

namespace kvasir::models {

namespace {

constexpr const char* kModules = "modules.json";
constexpr std::int64_t kMaxFeatures = std::int64_t{1} << 20;

// The class of a dotted Python name.
std::string class_of(const std::string& dotted) {
  return dotted.substr(dotted.rfind('.') + 1);  // npos + 1 = 0
}

base::json::value read(const std::filesystem::path& path) {
  return base::parse_json_file(path);
}

struct Mode {
  const char* key;   // of Pooling's config.json
  const char* name;  // in pooling_mode, which newer ones may have in place of the keys
  Pooling pooling;
};
// In the order in which sentence-transformers lays them side by side.
constexpr Mode kModes[] = {
    {"pooling_mode_cls_token", "cls", Pooling::kCls},
    {"pooling_mode_max_tokens", "max", Pooling::kMax},
    {"pooling_mode_mean_tokens", "mean", Pooling::kMean},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::kMeanSqrtLen},
    {"pooling_mode_weightedmean_tokens", "weightedmean", Pooling::kWeightedMean},
    {"pooling_mode_lasttoken", "lasttoken", Pooling::kLastToken},
};

void read_pooling(const std::filesystem::path& folder, SentenceModules& modules) {
  const std::string path = (folder / "config.json").string();
  const base::json::value document = read(path);
  const base::JsonObject config(document, path);
  const std::string only = config.string_or("pooling_mode", "");
  for (const Mode& mode : kModes) {
    const bool by_default = mode.pooling == Pooling::kMean;
    const bool chosen = only.empty() ? config.boolean_or(mode.key, by_default) : only == mode.name;
    if (chosen) modules.head.pooling.push_back(mode.pooling);
  }
  if (modules.head.pooling.empty()) {
    config.fail(only.empty() ? "no pooling_mode is true" : "pooling_mode " + only + " is not known");
  }
  modules.head.width =
      static_cast<std::size_t>(config.integer_or("word_embedding_dimension", 0, 0, kMaxFeatures));
  modules.include_prompt = config.boolean_or("include_prompt", true);
}

// torch.nn.modules.activation.Tanh and its kin.
HeadActivation activation_of(const base::JsonObject& config) {
  constexpr std::pair<std::string_view, HeadActivation> kKnown[] = {
      {"Tanh", HeadActivation::kTanh}, {"Identity", HeadActivation::kIdentity},
      {"ReLU", HeadActivation::kRelu}, {"GELU", HeadActivation::kGelu},
      {"SiLU", HeadActivation::kSilu}, {"Sigmoid", HeadActivation::kSigmoid}};
  const std::string dotted = config.string_or("activation_function", "torch.nn.modules.activation.Tanh");
  const std::string name = class_of(dotted);
  std::string known;
  for (const auto& [each, activation] : kKnown) {
    if (name == each) return activation;
    known += (known.empty() ? "" : ", ") + std::string(each);
  }
  throw Error(ErrorCode::kUnsupported,
              config.origin() + ": activation_function " + dotted + " is not supported; known: " + known);
}

DenseModule read_dense(const std::filesystem::path& folder) {
  const std::string path = (folder / "config.json").string();
  const base::json::value document = read(path);
  const base::JsonObject config(document, path);
  return {.folder = folder,
          .in_features = static_cast<std::size_t>(config.integer("in_features", 1, kMaxFeatures)),
          .out_features = static_cast<std::size_t>(config.integer("out_features", 1, kMaxFeatures)),
          .bias = config.boolean_or("bias", true),
          .activation = activation_of(config)};
}

// sentence_bert_config.json, or as it was called for other families.
void read_transformer(const std::filesystem::path& folder, SentenceModules& modules) {
  modules.transformer = folder;
  for (const char* family :
       {"bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"}) {
    const std::filesystem::path path = folder / ("sentence_" + std::string(family) + "_config.json");
    if (!std::filesystem::exists(path)) continue;
    const base::json::value document = read(path);
    const base::JsonObject config(document, path.string());
    if (config.has("max_seq_length")) {
      modules.max_seq_length = static_cast<std::size_t>(
          config.integer("max_seq_length", 1, std::numeric_limits<std::int32_t>::max()));
    }
    modules.do_lower_case = config.boolean_or("do_lower_case", false);
    return;
  }
}

Similarity parse_similarity(const base::JsonObject& config) {
  const std::string name = config.string_or("similarity_fn_name", "cosine");
  for (const Similarity each :
       {Similarity::kCosine, Similarity::kDot, Similarity::kEuclidean, Similarity::kManhattan}) {
    if (name == similarity_name(each)) return each;
  }
  if (name == "dot_product") return Similarity::kDot;
  throw Error(ErrorCode::kUnsupported, config.origin() + ": similarity_fn_name " + name +
                                           " is not supported; known: cosine, dot, euclidean, manhattan");
}

void read_settings(const std::filesystem::path& folder, SentenceModules& modules) {
  const std::filesystem::path path = folder / "config_sentence_transformers.json";
  if (!std::filesystem::exists(path)) return;
  const base::json::value document = read(path);
  const base::JsonObject config(document, path.string());
  if (config.has("prompts")) {
    const base::JsonObject prompts = config.object("prompts");
    for (const auto& [name, value] : prompts.raw()) modules.prompts[name] = prompts.string(name);
  }
  if (config.has("default_prompt_name")) {
    const std::string name = config.string("default_prompt_name");
    if (!modules.prompts.contains(name)) config.fail("default_prompt_name " + name + " is none of prompts");
    modules.default_prompt_name = name;
  }
  modules.similarity = parse_similarity(config);
}

[[noreturn]] void refuse(const std::string& origin, const std::string& type) {
  throw Error(
      ErrorCode::kUnsupported,
      origin + ": module " + type + " is not supported; known: Transformer, Pooling, Dense, Normalize");
}

// modules.json names no folders outside.
std::filesystem::path folder_of(const std::filesystem::path& folder, const base::JsonObject& module) {
  const std::filesystem::path path = module.string_or("path", "");
  const bool climbs = std::ranges::find(path, "..") != path.end();
  if (path.is_absolute() || climbs) module.fail("key path leads out of the folder");
  return path.empty() ? folder : folder / path;
}

}  // namespace

const char* similarity_name(Similarity similarity) noexcept {
  switch (similarity) {
    case Similarity::kCosine:
      return "cosine";
    case Similarity::kDot:
      return "dot";
    case Similarity::kEuclidean:
      return "euclidean";
    case Similarity::kManhattan:
      return "manhattan";
  }
  return "unknown";
}

std::filesystem::path encoder_folder(const std::filesystem::path& model) {
  return has_sentence_modules(model) ? read_sentence_modules(model).transformer : model;
}

bool has_sentence_modules(const std::filesystem::path& folder) {
  std::error_code ignored;
  return std::filesystem::exists(folder / kModules, ignored);
}

SentenceModules read_sentence_modules(const std::filesystem::path& folder) {
  const std::string origin = (folder / kModules).string();
  const base::json::value document = read(origin);
  const base::json::array* list = document.if_array();
  if (list == nullptr) throw Error(ErrorCode::kFormat, origin + ": is not a list of modules");
  SentenceModules modules;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const base::JsonObject module((*list)[i], origin + ": [" + std::to_string(i) + "]");
    const std::string type = module.string("type"), name = class_of(type);
    const std::filesystem::path own = folder_of(folder, module);
    // Texts become states, states one vector, and vectors others.
    if (i == 0) {
      if (name != "Transformer") refuse(origin, type);
      read_transformer(own, modules);
    } else if (i == 1) {
      if (name != "Pooling") refuse(origin, type);
      read_pooling(own, modules);
    } else if (name == "Dense") {
      modules.head.modules.emplace_back(read_dense(own));
    } else if (name == "Normalize") {
      modules.head.modules.emplace_back(NormalizeModule{});
    } else {
      refuse(origin, type);
    }
  }
  if (modules.head.pooling.empty()) {
    throw Error(ErrorCode::kFormat, origin + ": has no module Pooling, so there is no vector of a text");
  }
  read_settings(folder, modules);
  return modules;
}

bool is_module_folder(const std::filesystem::path& model, const std::filesystem::path& name) {
  const std::string origin = (model / kModules).string();
  const base::json::value document = read(origin);
  const base::json::array* list = document.if_array();
  if (list == nullptr) return false;
  return std::ranges::any_of(*list, [&](const base::json::value& module) {
    return base::JsonObject(module, origin).string_or("path", "") == name.string();
  });
}

SentenceModules mean_of_tokens(const std::filesystem::path& folder) {
  SentenceModules modules;
  modules.head.pooling = {Pooling::kMean};
  read_transformer(folder, modules);
  read_settings(folder, modules);
  return modules;
}

}  // namespace kvasir::models
