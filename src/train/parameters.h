// The weights of a model that is trained: where each lies, its gradient, and its name in a checkpoint.
//
// A matrix is trained in the layout in which products read it (kernels::PackedMatrix), gradient and moments
// too: AdamW goes through numbers one by one and does not care about their order. Only checkpoints see rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "models/encoder.h"
#include "models/head.h"
#include "tensor/view.h"

namespace kvasir::train {

// A tensor of a checkpoint: some rows of a parameter.
struct NamedTensor {
  std::string name;
  tensor::Shape shape;
  std::size_t row = 0, rows = 0;  // in the parameter
};

struct Parameter {
  enum class Layout { kRows, kPacked };  // kPacked: panels [columns][16], see kernels::PackedMatrix
  Layout layout = Layout::kRows;
  std::size_t rows = 0, columns = 0;
  std::vector<NamedTensor> tensors;
  bool is_head = false, is_adapter = false;
  bool decays = false;  // whether weight decay applies
  bool trains = true;   // false: frozen
  double learning_rate_factor = 1;
  std::span<float> value;
  tensor::Buffer<float> gradient;  // as value; valid if has_gradient
  bool has_gradient = false;
  tensor::Buffer<float> m, v;  // AdamW's moments, as value

  // Gradient memory that is added to: zeros at first.
  float* gradient_to_add();
  // The rows of a tensor, one after the other, out of numbers in this parameter's layout; and back.
  void read(const NamedTensor& tensor, std::span<const float> from, float* out) const;
  void write(const NamedTensor& tensor, const float* rows, std::span<float> to) const;
};

class Parameters {
 public:
  // prefix: of the encoder's tensors in checkpoints, such as "bert.". Tables of embeddings, which lie in the
  // mapped file until then, get memory of their own. Weights must be fp32.
  Parameters(models::Encoder& encoder, models::Head& head, const std::string& prefix);

  // The weight of an adapter, under this name as it stands in checkpoints.
  void add(const std::string& name, models::Linear& linear);
  std::deque<Parameter>& all() noexcept { return parameters_; }
  const std::deque<Parameter>& all() const noexcept { return parameters_; }

  // The parameters of a weight; null: it has none, or shares those of a weight before.
  struct Pair {
    Parameter* weight = nullptr;
    Parameter* bias = nullptr;
  };
  Pair of(const void* weight) const;

  void clear_gradients() noexcept;

 private:
  class Collector;

  std::deque<Parameter> parameters_;  // never moved
  std::unordered_map<const void*, Pair> by_weight_;
};

}  // namespace kvasir::train
