// Compares the weights that a config asks for with what is stored, before anything is allocated.
#pragma once

#include <string>
#include <vector>

#include "models/weight_source.h"
#include "models/weight_visitor.h"

namespace kvasir::models {

class WeightChecker {
 public:
  explicit WeightChecker(WeightSource& source) : source_(source) {}

  // Throws kFormat for a tensor of another shape (naming the config's keys), kUnsupported for integers.
  template <class Model>
  void check(const Model& model) {
    TensorVisitor visitor([&](const std::string& name, Dims dims) { check_tensor(name, dims); });
    model.visit(visitor);
  }
  bool complete() const noexcept { return missing_.empty(); }
  // Throws kFormat, naming the first, if tensors of the weights checked so far are missing. `advice` replaces
  // the usual explanation.
  void finish(const std::string& advice = {}) const;

 private:
  void check_tensor(const std::string& name, Dims dims);
  void check_scales(const StoredTensor& weight, const std::string& name, const Dim& rows);

  WeightSource& source_;
  std::vector<std::string> missing_;
};

}  // namespace kvasir::models
