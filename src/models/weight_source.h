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
#include "models/row_order.h"
#include "tensor/buffer.h"
#include "tensor/view.h"

namespace kvasir::models {

// A tensor of a file, under the name that it has there.
struct StoredTensor {
  std::string name;
  tensor::TensorView view;
  std::string file = {};                     // its path, for errors
  const base::MappedFile* mapped = nullptr;  // the file that the view points into; null: it points to a copy
  RowOrder order = {};                       // in which its rows are those of Hugging Face's tensor

  std::string where() const { return file + ": tensor " + name; }
};

struct GgufLayout;

class WeightSource {
 public:
  // Opens the folder's weights. Throws as formats::Checkpoint; kFormat if two tensors have the same canonical
  // name. base_prefix: an optional prefix of names, such as "bert.".
  WeightSource(const std::filesystem::path& folder, std::string_view base_prefix);
  // The weights of a GGUF file under Hugging Face's names. config: what the file says in the words of
  // config.json.
  WeightSource(std::shared_ptr<const formats::GgufFile> gguf, const base::JsonObject& config,
               std::string_view base_prefix);

  // By canonical name; null if there is none. Tensors that were asked for count as used.
  const StoredTensor* find(const std::string& name);
  // Suppresses the warning about a tensor that is known to be useless.
  void leave_out(const std::string& name) { used_.insert(name); }
  const std::string& prefix() const noexcept { return prefix_; }
  // The memory that the views of its tensors point into. It lives as long as this pointer is held.
  std::shared_ptr<const void> storage() const noexcept { return storage_; }
  // For errors: the files, the origin of the tensors' expected sizes, and the name that a missing tensor has
  // in the files.
  const std::string& origin() const noexcept { return origin_; }
  const char* config_name() const noexcept { return layout_ == nullptr ? "config.json" : "the metadata"; }
  std::string name_in_file(const std::string& canonical) const;
  // Logs one warning that names the tensors that were not asked for.
  void warn_about_unused() const;

 private:
  void add(StoredTensor tensor, const std::string& huggingface_name);
  void transpose(StoredTensor& tensor);

  struct Storage {
    std::unique_ptr<const formats::Checkpoint> checkpoint;  // one of the two
    std::shared_ptr<const formats::GgufFile> gguf;
    std::vector<tensor::Buffer<std::byte>> copies;
  };
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
  std::shared_ptr<const GgufLayout> layout_;  // of a GGUF file
  std::string prefix_, origin_;
  std::map<std::string, StoredTensor> tensors_;
  std::set<std::string> used_;
};

// The canonical form of a tensor's name: that of current transformers, without the base prefix.
// LayerNorm.gamma and .beta become weight and bias, and TensorFlow's names PyTorch's:
//   bert/encoder/layer_0/attention/self/query/kernel, bert/encoder/layer_._0/…/kernel:0,
//   cls/squad/output_bias
std::string canonical_name(std::string_view name, std::string_view base_prefix);
// Whether a tensor is transposed: TensorFlow stores the kernels of dense layers as [inputs, outputs].
bool is_transposed(std::string_view name) noexcept;
// Whether a tensor is a leftover of pre-training or of an old version: no warning if a model does not use it.
bool is_ignored(std::string_view canonical_name) noexcept;

}  // namespace kvasir::models
