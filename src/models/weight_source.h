// The tensors of a model's files under canonical names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "tensor/buffer.h"
#include "tensor/view.h"

namespace kvasir::models {

// Rows in another order: row i of the result is row order[i] of the source. Empty: as they are.
using RowOrder = std::vector<std::uint32_t>;

// A tensor of a file, under the name that it has there.
struct StoredTensor {
  std::string name;
  tensor::TensorView view;
  std::string file = {};                     // its path, for errors
  const base::MappedFile* mapped = nullptr;  // the view lies in it; null: in a copy
  RowOrder order = {};                       // in which its rows are those of Hugging Face's tensor

  std::string where() const { return file + ": tensor " + name; }
};

struct LoadContext;
struct GgufLayout;

class WeightSource {
 public:
  // Opens what the context says: the folder's weights, or those of its GGUF file under Hugging Face's names.
  WeightSource(const LoadContext& load, std::string_view base_prefix);
  // Opens the folder's weights. Throws as formats::Checkpoint; kFormat if two tensors have the same canonical
  // name. base_prefix: "bert.", which checkpoints may have or not.
  WeightSource(const std::filesystem::path& folder, std::string_view base_prefix);

  // By canonical name; null if there is none. What was asked for counts as used.
  const StoredTensor* find(const std::string& name);
  // Of a tensor that is known to be of no use: no warning.
  void leave_out(const std::string& name) { used_.insert(name); }
  const std::string& prefix() const noexcept { return prefix_; }
  // For errors: the files, what says which sizes tensors should have, and how a tensor that is missing is
  // called there.
  const std::string& origin() const noexcept { return origin_; }
  const char* config_name() const noexcept { return gguf_ == nullptr ? "config.json" : "the metadata"; }
  std::string name_in_file(const std::string& canonical) const;
  // Logs one warning that names the tensors that nobody asked for.
  void warn_about_unused() const;

 private:
  void open_folder(const std::filesystem::path& folder);
  void open_gguf(const base::JsonObject& config);
  void add(StoredTensor tensor, const std::string& huggingface_name);
  void transpose(StoredTensor& tensor);

  std::unique_ptr<const formats::Checkpoint> checkpoint_;  // one of the two
  std::shared_ptr<const formats::GgufFile> gguf_;
  std::shared_ptr<const GgufLayout> layout_;  // of the latter
  std::string prefix_, origin_;
  std::vector<tensor::Buffer<std::byte>> copies_;
  std::map<std::string, StoredTensor> tensors_;
  std::set<std::string> used_;
};

// The canonical form of a tensor's name: that of transformers today, without the base prefix. LayerNorm.gamma
// and .beta become weight and bias, and TensorFlow's names PyTorch's:
//   bert/encoder/layer_0/attention/self/query/kernel, bert/encoder/layer_._0/…/kernel:0,
//   cls/squad/output_bias
std::string canonical_name(std::string_view name, std::string_view base_prefix);
// TensorFlow keeps the kernels of dense layers as [inputs, outputs]: the other way round.
bool is_transposed(std::string_view name) noexcept;
// Leftovers of pre-training and of old versions that a QA model has no use for.
bool is_ignored(std::string_view canonical_name) noexcept;

}  // namespace kvasir::models
