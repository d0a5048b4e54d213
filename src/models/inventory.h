// The tensors that a model was loaded from, for code that writes the model in another form.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/weight_source.h"
#include "models/weight_visitor.h"
#include "tensor/view.h"

namespace kvasir::models {

// Matrices with fewer outputs, which heads have, gain nothing from bf16 or int8, and are the first to show
// rounding errors.
inline constexpr std::size_t kMinRoundedOutputs = 16;
// Whether the matrix is large enough to be computed in int8.
bool can_be_int8(const Linear& linear) noexcept;

struct Inventory {
  enum class Kind {
    kMatrix,  // of a Linear
    kTable,   // embeddings
    kOther,   // vectors, and convolutions
  };
  struct Entry {
    Kind kind = Kind::kOther;
    std::string name;                // in the file, or its current form if that is an outdated one
    tensor::TensorView view;         // valid as long as the model is
    const Linear* linear = nullptr;  // kMatrix: all or a part of its weight, in the order of entries
    std::optional<tensor::TensorView> scales = {};  // of a tensor of bytes, [rows]
  };
  std::vector<Entry> entries;
};

// The visitor that fills it, once the weights are loaded.
class InventoryTaker final : public ConstWeightVisitor {
 public:
  InventoryTaker(WeightSource& source, Inventory& inventory) : source_(source), inventory_(inventory) {}

  void embedding(const std::string& name, const Embedding& table, const MatrixShape& shape) override;
  void layer_norm(const std::string& name, const LayerNorm& norm, const Dim& width, Bias bias) override;
  void rms_norm(const std::string& name, const RmsNorm& norm, const Dim& width) override;
  void linear(LinearParts parts, const Linear& linear, const Dim& columns, Bias bias) override;
  void convolution(const std::string& name, const Linear& linear, const ConvolutionShape& shape) override;

 private:
  void add(Inventory::Kind kind, const std::string& name, const Linear* linear = nullptr);

  WeightSource& source_;
  Inventory& inventory_;
};

}  // namespace kvasir::models
