#include "models/weight_source.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "kvasir/error.h"
#include "models/gguf/names.h"
#include "tensor/strided.h"

namespace kvasir::models {

namespace {

constexpr std::size_t kNamesInWarning = 5;

std::string some_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesInWarning); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kNamesInWarning) text += ", …";
  return text;
}

// "bert/encoder/layer_._0/output/dense/kernel:0" -> "bert.encoder.layer.0.output.dense.weight"
std::string name_from_tensorflow(std::string_view name) {
  name = name.substr(0, name.rfind(':'));
  constexpr std::string_view kHead = "cls/squad/output_";  // of Google's run_squad.py
  if (name == std::string(kHead) + "weights") return "qa_outputs.weight";
  if (name == std::string(kHead) + "bias") return "qa_outputs.bias";
  std::string result;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    std::string part(name.substr(begin, end - begin));
    // A number within a list: "layer_._0" of Keras, "layer_0" of Google.
    if (const std::size_t at = part.find("_._"); at != std::string::npos) {
      part.replace(at, 3, ".");
    } else if (part.starts_with("layer_") && part.find_first_not_of("0123456789", 6) == std::string::npos) {
      part.replace(5, 1, ".");
    }
    result += (result.empty() ? "" : ".") + part;
    begin = end + 1;
  }
  for (const std::string_view suffix : {".kernel", ".embeddings"}) {
    if (!result.ends_with(suffix)) continue;
    return result.replace(result.size() - suffix.size(), suffix.size(), ".weight");
  }
  // Google's tables of embeddings have no name of their own below the layer's.
  if (result.ends_with("_embeddings")) result += ".weight";
  return result;
}

}  // namespace

std::string canonical_name(std::string_view stored, std::string_view base_prefix) {
  std::string name(stored.find('/') == std::string_view::npos ? stored : name_from_tensorflow(stored));
  while (!base_prefix.empty() && name.starts_with(base_prefix)) name.erase(0, base_prefix.size());
  for (const auto& [old_suffix, suffix] :
       {std::pair<std::string_view, std::string_view>{".gamma", ".weight"}, {".beta", ".bias"}}) {
    if (name.ends_with(old_suffix)) {
      return name.replace(name.size() - old_suffix.size(), old_suffix.size(), suffix);
    }
  }
  return name;
}

bool is_transposed(std::string_view name) noexcept {
  return name.substr(0, name.rfind(':')).ends_with("/kernel");
}

bool is_ignored(std::string_view canonical_name) noexcept {
  return canonical_name.ends_with("position_ids") || canonical_name.starts_with("pooler.") ||
         canonical_name.starts_with("cls.") || canonical_name.ends_with(".adam_m") ||
         canonical_name.ends_with(".adam_v") || canonical_name.ends_with("rotary_emb.inv_freq");
}

WeightSource::WeightSource(const std::filesystem::path& folder, std::string_view base_prefix)
    : prefix_(base_prefix) {
  storage_->checkpoint = std::make_unique<const formats::Checkpoint>(folder);
  const formats::Checkpoint& checkpoint = *storage_->checkpoint;
  origin_ = checkpoint.origin();
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    add({.name = name, .view = tensor.view, .file = tensor.file, .mapped = tensor.mapped}, name);
  }
}

WeightSource::WeightSource(std::shared_ptr<const formats::GgufFile> gguf, const base::JsonObject& config,
                           std::string_view base_prefix)
    : prefix_(base_prefix) {
  storage_->gguf = std::move(gguf);
  origin_ = storage_->gguf->origin();
  layout_ = std::make_shared<const GgufLayout>(gguf_layout(config));
  const GgufLayout& layout = *layout_;
  for (const auto& [name, tensor] : storage_->gguf->tensors()) {
    if (name == "rope_freqs.weight") continue;  // a setting, which config_from_gguf has read
    const std::string translated = huggingface_name(layout, name).value_or(name);
    const std::size_t rows = tensor.view.shape.empty() ? 0 : static_cast<std::size_t>(tensor.view.shape[0]);
    add({.name = name,
         .view = tensor.view,
         .file = tensor.file,
         .mapped = tensor.mapped,
         .order = rows_from_gguf(layout, translated, rows)},
        translated);
  }
}

void WeightSource::add(StoredTensor tensor, const std::string& huggingface_name) {
  const std::string canonical = canonical_name(huggingface_name, prefix_);
  const std::string name = tensor.name;
  const auto [place, fresh] = tensors_.emplace(canonical, std::move(tensor));
  if (!fresh) {
    if (is_ignored(canonical)) return;
    throw Error(ErrorCode::kFormat, place->second.file + ": tensors " + place->second.name + " and " + name +
                                        " are two names of one weight; remove one");
  }
  if (is_transposed(name) && place->second.view.shape.size() == 2) transpose(place->second);
}

void WeightSource::transpose(StoredTensor& tensor) {
  const tensor::Shape shape{tensor.view.shape[1], tensor.view.shape[0]};
  tensor::Buffer<std::byte> copy(tensor.view.bytes());
  tensor::copy_elements(
      {.dtype = tensor.view.dtype, .shape = shape, .strides = {1, shape[0]}, .data = tensor.view.data},
      copy.data());
  tensor.view.shape = shape;
  tensor.view.data = copy.data();
  tensor.mapped = nullptr;
  storage_->copies.push_back(std::move(copy));
}

const StoredTensor* WeightSource::find(const std::string& name) {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return nullptr;
  used_.insert(name);
  return &found->second;
}

std::string WeightSource::name_in_file(const std::string& canonical) const {
  return layout_ == nullptr ? canonical : gguf_name(*layout_, canonical).value_or(canonical);
}

void WeightSource::warn_about_unused() const {
  std::vector<std::string> unused;
  for (const auto& [canonical, stored] : tensors_) {
    if (!used_.contains(canonical) && !is_ignored(canonical)) unused.push_back(stored.name);
  }
  if (unused.empty()) return;
  base::log(LogLevel::kWarning,
            origin() + ": " + std::to_string(unused.size()) +
                " tensors are not part of the model and were left out: " + some_of(unused));
}

}  // namespace kvasir::models
