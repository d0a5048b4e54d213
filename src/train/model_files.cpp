#include "train/model_files.h"

#include <algorithm>
#include <string_view>

#include "base/atomic_file.h"
#include "base/json.h"
#include "kvasir/error.h"
#include "train/tensor_files.h"

namespace kvasir::train {

namespace {

constexpr const char* kMean = ".exp_avg";
constexpr const char* kSquares = ".exp_avg_sq";
constexpr const char* kAverage = ".ema";

// The files that tokenizers and generation settings of all kinds have (transformers' VOCAB_FILES_NAMES).
constexpr const char* kTokenizerFiles[] = {"tokenizer.json",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.txt",
                                           "vocab.json",
                                           "merges.txt",
                                           "spiece.model",
                                           "spm.model",
                                           "tokenizer.model",
                                           "bpe.model",
                                           "sentencepiece.bpe.model",
                                           "normalizer.json"};

struct ClassName {
  std::string_view model_type, name;
};
constexpr ClassName kClasses[] = {{"bert", "BertForQuestionAnswering"},
                                  {"distilbert", "DistilBertForQuestionAnswering"},
                                  {"roberta", "RobertaForQuestionAnswering"},
                                  {"xlm-roberta", "XLMRobertaForQuestionAnswering"},
                                  {"electra", "ElectraForQuestionAnswering"},
                                  {"albert", "AlbertForQuestionAnswering"},
                                  {"mpnet", "MPNetForQuestionAnswering"},
                                  {"mobilebert", "MobileBertForQuestionAnswering"},
                                  {"modernbert", "ModernBertForQuestionAnswering"},
                                  {"deberta-v2", "DebertaV2ForQuestionAnswering"}};

void write_config(const std::filesystem::path& folder, const formats::ModelFolder& source) {
  base::json::object config = source.config().raw();
  const std::string type = source.config().string("model_type");
  for (const ClassName& each : kClasses) {
    if (each.model_type == type) config["architectures"] = base::json::array{each.name};
  }
  config.erase("torch_dtype");
  config.erase("quantization_config");
  config.erase("_name_or_path");
  config["dtype"] = "float32";
  base::AtomicFile file(folder / "config.json");
  file.write(base::json::serialize(config) + "\n");
  file.commit();
}

constexpr const char* kAdvice = "the checkpoint is of another model";

void fill(TensorSource& source, const Parameter& parameter, const char* suffix, tensor::Buffer<float>& to) {
  if (to.size() == 0) to = tensor::Buffer<float>(parameter.value.size());
  std::ranges::fill(to.span(), 0.0F);  // also what lies between rows
  for (const NamedTensor& tensor : parameter.tensors) {
    source.fill(tensor.name + suffix, parameter, tensor, to.span());
  }
}

void fill_averages(TensorSource& source, const Parameters& parameters,
                   std::span<tensor::Buffer<float>> averages) {
  for (std::size_t i = 0; i < averages.size(); ++i) {
    if (averages[i].size() > 0) fill(source, parameters.all()[i], kAverage, averages[i]);
  }
}

}  // namespace

void write_model(const std::filesystem::path& folder, const formats::ModelFolder& source,
                 const Parameters& parameters, std::span<const tensor::Buffer<float>> values) {
  TensorList tensors;
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    if (parameter.is_adapter) continue;
    const bool is_averaged = !values.empty() && values[i].size() > 0;
    const std::span<const float> from = is_averaged ? values[i].span() : parameter.value;
    for (const NamedTensor& tensor : parameter.tensors) tensors.add(tensor.name, parameter, tensor, from);
  }
  tensors.write(folder / "model.safetensors");
  for (const char* name : kTokenizerFiles) {
    if (!source.has(name)) continue;
    std::error_code error;
    std::filesystem::copy_file(source / name, folder / name,
                               std::filesystem::copy_options::overwrite_existing, error);
    if (error) throw Error(ErrorCode::kIo, (folder / name).string() + ": " + error.message());
  }
  write_config(folder, source);
}

void write_optimizer(const std::filesystem::path& path, const Parameters& parameters,
                     std::span<const tensor::Buffer<float>> averages) {
  TensorList tensors;
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    for (const NamedTensor& tensor : parameter.tensors) {
      if (parameter.m.size() > 0) {
        tensors.add(tensor.name + kMean, parameter, tensor, parameter.m.span());
        tensors.add(tensor.name + kSquares, parameter, tensor, parameter.v.span());
      }
      if (!averages.empty() && averages[i].size() > 0) {
        tensors.add(tensor.name + kAverage, parameter, tensor, averages[i].span());
      }
    }
  }
  tensors.write(path);
}

void read_weights(const std::filesystem::path& path, Parameters& parameters) {
  TensorSource source(path, kAdvice);
  for (Parameter& parameter : parameters.all()) {
    if (parameter.is_adapter) continue;
    for (const NamedTensor& tensor : parameter.tensors)
      source.fill(tensor.name, parameter, tensor, parameter.value);
  }
}

void read_averages(const std::filesystem::path& path, const Parameters& parameters,
                   std::span<tensor::Buffer<float>> averages) {
  TensorSource source(path, kAdvice);
  fill_averages(source, parameters, averages);
}

void read_optimizer(const std::filesystem::path& path, Parameters& parameters,
                    std::span<tensor::Buffer<float>> averages) {
  TensorSource source(path, kAdvice);
  for (Parameter& parameter : parameters.all()) {
    // A weight that never had a gradient has no moments either.
    if (!parameter.trains || !source.has(parameter.tensors.front().name + kMean)) continue;
    fill(source, parameter, kMean, parameter.m);
    fill(source, parameter, kSquares, parameter.v);
  }
  fill_averages(source, parameters, averages);
}

}  // namespace kvasir::train
