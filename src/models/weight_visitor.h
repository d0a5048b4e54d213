// One list of a model's weights for everything that is done with them: checking, counting, loading, saving. A
// family lists its weights once,
//
//   template <class Weights, class Visitor>
//   void visit_weights(Weights& w, const BertConfig& c, Visitor& v) {
//     v("embeddings.word_embeddings", w.word_embeddings, MatrixShape{vocabulary, hidden});
//     v("embeddings.LayerNorm", w.embedding_norm, hidden);
//     v({"…query", "…key", "…value"}, layer.qkv, MatrixShape{hidden, hidden});     // each of the three
//   }
//
// under canonical names: those of current transformers, without the family's prefix ("bert."). Everything
// else is a visitor: class WeightVisitor for what changes the weights, ConstWeightVisitor for what does not.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "models/config.h"
#include "models/layers.h"
#include "models/row_order.h"

namespace kvasir::models {

// Whether a weight has a bias. Without one, the bias of a Linear is empty, and that of a LayerNorm is zeros.
enum class Bias { kNo, kYes };
inline Bias bias_if(bool has) noexcept {
  return has ? Bias::kYes : Bias::kNo;
}

// A convolution over tokens, stored as [outputs, inputs, taps]. It is loaded as a Linear over rows of
// [inputs, taps], which hold the values of each input at neighbouring tokens side by side.
struct ConvolutionShape {
  Dim rows, columns, taps;
};

// One of the matrices of a Linear, which lie one below the other. order: the order in which its rows are
// needed; null: that of Hugging Face.
struct LinearPart {
  std::string name;
  Dim rows;
  const RowOrder* order = nullptr;
};
using LinearParts = std::span<const LinearPart>;

template <bool kConst>
class BasicWeightVisitor {
 public:
  template <class T>
  using Ref = std::conditional_t<kConst, const T&, T&>;

  BasicWeightVisitor() = default;
  BasicWeightVisitor(const BasicWeightVisitor&) = delete;
  BasicWeightVisitor& operator=(const BasicWeightVisitor&) = delete;
  virtual ~BasicWeightVisitor() = default;

  // Called for each kind of weight. A weight NAME is the tensor NAME.weight, its bias NAME.bias.
  virtual void embedding(const std::string& name, Ref<Embedding> table, const MatrixShape& shape) = 0;
  virtual void layer_norm(const std::string& name, Ref<LayerNorm> norm, const Dim& width, Bias bias) = 0;
  virtual void rms_norm(const std::string& name, Ref<RmsNorm> norm, const Dim& width) = 0;
  virtual void linear(LinearParts parts, Ref<Linear> linear, const Dim& columns, Bias bias) = 0;
  virtual void convolution(const std::string& name, Ref<Linear> linear, const ConvolutionShape& shape) = 0;

  // The form in which families list their weights.
  void operator()(const std::string& name, Ref<Embedding> table, const MatrixShape& shape) {
    embedding(name, table, shape);
  }
  void operator()(const std::string& name, Ref<LayerNorm> norm, const Dim& width, Bias bias = Bias::kYes) {
    layer_norm(name, norm, width, bias);
  }
  void operator()(const std::string& name, Ref<RmsNorm> norm, const Dim& width) {
    rms_norm(name, norm, width);
  }
  void operator()(const std::string& name, Ref<Linear> matrix, const MatrixShape& shape,
                  Bias bias = Bias::kYes) {
    const LinearPart part{.name = name, .rows = shape.rows};
    linear({&part, 1}, matrix, shape.columns, bias);
  }
  // Several of the same shape, fused.
  void operator()(std::initializer_list<std::string> names, Ref<Linear> matrix, const MatrixShape& shape,
                  Bias bias = Bias::kYes) {
    std::vector<LinearPart> parts;
    for (const std::string& name : names) parts.push_back({.name = name, .rows = shape.rows});
    linear(parts, matrix, shape.columns, bias);
  }
  // Several with different numbers of rows, such as Llama's queries, keys and values.
  void operator()(std::initializer_list<LinearPart> parts, Ref<Linear> matrix, const Dim& columns,
                  Bias bias = Bias::kYes) {
    linear({parts.begin(), parts.size()}, matrix, columns, bias);
  }
  void operator()(const std::string& name, Ref<Linear> matrix, const ConvolutionShape& shape) {
    convolution(name, matrix, shape);
  }
};
using WeightVisitor = BasicWeightVisitor<false>;
using ConstWeightVisitor = BasicWeightVisitor<true>;

using Dims = std::initializer_list<Dim>;

// A visitor that sees the tensors of all weights alike, one by one: each(name, dims).
template <class Each>
class TensorVisitor final : public ConstWeightVisitor {
 public:
  explicit TensorVisitor(Each each) : each_(std::move(each)) {}

  void embedding(const std::string& name, const Embedding&, const MatrixShape& shape) override {
    each_(name + ".weight", Dims{shape.rows, shape.columns});
  }
  void layer_norm(const std::string& name, const LayerNorm&, const Dim& width, Bias bias) override {
    each_(name + ".weight", Dims{width});
    if (bias == Bias::kYes) each_(name + ".bias", Dims{width});
  }
  void rms_norm(const std::string& name, const RmsNorm&, const Dim& width) override {
    each_(name + ".weight", Dims{width});
  }
  void linear(LinearParts parts, const Linear&, const Dim& columns, Bias bias) override {
    for (const LinearPart& part : parts) {
      each_(part.name + ".weight", Dims{part.rows, columns});
      if (bias == Bias::kYes) each_(part.name + ".bias", Dims{part.rows});
    }
  }
  void convolution(const std::string& name, const Linear&, const ConvolutionShape& shape) override {
    each_(name + ".weight", Dims{shape.rows, shape.columns, shape.taps});
    each_(name + ".bias", Dims{shape.rows});
  }

 private:
  Each each_;
};

// Number of parameters of a model, or of a head; tensors that two weights share count once.
template <class Model>
std::size_t count_parameters(const Model& model) {
  std::size_t count = 0;
  std::set<std::string> seen;
  TensorVisitor visitor([&](const std::string& name, Dims dims) {
    if (!seen.insert(name).second) return;
    std::size_t product = 1;
    for (const Dim& dim : dims) product *= dim.size;
    count += product;
  });
  model.visit(visitor);
  return count;
}

}  // namespace kvasir::models
