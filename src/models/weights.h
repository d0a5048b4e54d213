// Loading weights: the visitors that check, count and load a family's weight struct. A family lists its
// weights once,
//
//   template <class Weights, class Visitor>
//   void visit(Weights& w, const BertConfig& c, Visitor&& v) {
//     v("embeddings.word_embeddings", w.word_embeddings, MatrixShape{vocabulary, hidden});
//     v("embeddings.LayerNorm", w.embedding_norm, hidden);
//     v({"…query", "…key", "…value"}, layer.qkv, MatrixShape{hidden, hidden});     // each of the three
//   }
//
// without the family's prefix ("bert."). Matrices may be stored as bytes, with a scale for each row:
// NAME.weight is I8 then, and NAME.weight_scale F32 [rows] stands beside it (docs/int8.md).
#pragma once

#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/blocks.h"
#include "models/config.h"
#include "models/inventory.h"
#include "models/registry.h"
#include "models/weight_source.h"

namespace kvasir::models {

// Whether a family's weight has a bias. A Linear without has an empty one, a LayerNorm without zeros.
enum class Bias { kNo, kYes };

// A convolution over tokens, stored as [outputs, inputs, taps]. It is loaded as the Linear that it is over
// rows of [inputs, taps]: the neighbours' values of each input side by side.
struct ConvolutionShape {
  Dim rows, columns, taps;
};

// One of the matrices of a Linear that have different numbers of rows, such as Llama's queries, keys and
// values. order: in which its rows are wanted; null: as Hugging Face has them.
struct LinearPart {
  std::string name;
  Dim rows;
  const RowOrder* order = nullptr;
};
using LinearParts = std::initializer_list<LinearPart>;

// A visitor of weights that sees their tensors one by one: each(name, dims).
template <class Each>
class TensorVisitor {
 public:
  explicit TensorVisitor(Each each) : each_(std::move(each)) {}

  void operator()(const std::string& name, const Embedding&, const MatrixShape& shape) const {
    each_(name + ".weight", {shape.rows, shape.columns});
  }
  void operator()(const std::string& name, const LayerNorm&, const Dim& width, Bias bias = Bias::kYes) const {
    each_(name + ".weight", {width});
    if (bias == Bias::kYes) each_(name + ".bias", {width});
  }
  void operator()(std::initializer_list<std::string> names, const Linear&, const MatrixShape& shape,
                  Bias bias = Bias::kYes) const {
    for (const std::string& name : names) {
      each_(name + ".weight", {shape.rows, shape.columns});
      if (bias == Bias::kYes) each_(name + ".bias", {shape.rows});
    }
  }
  void operator()(LinearParts parts, const Linear&, const Dim& columns, Bias bias = Bias::kYes) const {
    for (const LinearPart& part : parts) {
      each_(part.name + ".weight", {part.rows, columns});
      if (bias == Bias::kYes) each_(part.name + ".bias", {part.rows});
    }
  }
  void operator()(const std::string& name, const Linear&, const ConvolutionShape& shape) const {
    each_(name + ".weight", {shape.rows, shape.columns, shape.taps});
    each_(name + ".bias", {shape.rows});
  }

 private:
  Each each_;
};
using Dims = std::initializer_list<Dim>;

// Number of parameters of a model; what two weights share counts once.
template <class Weights, class Config>
std::size_t count_parameters(const Weights& weights, const Config& config) {
  std::size_t count = 0;
  std::set<std::string> seen;
  const auto add = [&](const std::string& name, Dims dims) {
    if (!seen.insert(name).second) return;
    std::size_t product = 1;
    for (const Dim& dim : dims) product *= dim.size;
    count += product;
  };
  visit(weights, config, TensorVisitor<decltype(add)>(add));
  return count;
}

// Compares what a config asks for with what is stored, before anything is allocated.
class WeightChecker {
 public:
  explicit WeightChecker(WeightSource& source) : source_(source) {}
  // Throws kFormat for another shape (naming the config's keys), kUnsupported for integers.
  void check(const std::string& name, Dims dims);
  // Throws kFormat if tensors were missing, naming the first.
  void finish() const;

 private:
  void check_scales(const StoredTensor& weight, const std::string& name, const Dim& rows);

  WeightSource& source_;
  std::vector<std::string> missing_;
};

// The visitor that fills weights: allocates when it visits, converts and packs in run().
class WeightLoader {
 public:
  WeightLoader(WeightSource& source, const LoadContext& load)
      : source_(source), kernels_(load.kernels), precision_(load.precision), keeps_half_(load.keeps_half) {}

  void operator()(const std::string& name, Embedding& embedding, const MatrixShape& shape);
  void operator()(const std::string& name, LayerNorm& norm, const Dim& width, Bias bias = Bias::kYes);
  void operator()(std::initializer_list<std::string> names, Linear& linear, const MatrixShape& shape,
                  Bias bias = Bias::kYes);
  void operator()(LinearParts parts, Linear& linear, const Dim& columns, Bias bias = Bias::kYes);
  void operator()(const std::string& name, Linear& linear, const ConvolutionShape& shape);

  // Throws kFormat naming a tensor that holds NaN or infinity, or bytes that no product can take. Pages of
  // the file that were packed are released as it goes, so that weights are in memory once.
  void run(base::ThreadPool& pool);

 private:
  // Matrices one below the other.
  struct Part {
    const StoredTensor* tensor;
    std::size_t rows;
    const StoredTensor* scales;  // if they are bytes, else null
    RowOrder order;              // of the file's rows

    std::size_t stored_row(std::size_t row) const noexcept { return order.empty() ? row : order[row]; }
  };
  struct Stack {
    std::vector<Part> parts;
    std::size_t columns = 0;

    std::size_t rows() const noexcept;
    bool are_bytes() const noexcept;
  };
  // Where the rows of a stack go, after they were checked: to one of these, or nowhere.
  struct Target {
    kernels::PackedMatrix* packed = nullptr;
    kernels::Bf16Matrix* bf16 = nullptr;
    kernels::Int8Matrix* int8 = nullptr;
    kernels::BlockMatrix* blocks = nullptr;
    kernels::HalfMatrix* half = nullptr;
    float* copy = nullptr;
  };
  enum class Fault { kNone, kNotFinite, kPairRule };
  struct Job {
    std::size_t stack = 0;
    kernels::RowRange rows{};
    Target target;
    Fault fault = Fault::kNone;  // result, of this tensor
    const StoredTensor* culprit = nullptr;
  };
  // Memory of one thread for a group of rows.
  struct Scratch {
    float* floats;
    std::int8_t* bytes;
    float* scales;
  };

  void add_jobs(Stack stack, const Target& target);
  Stack stack_of(std::span<const LinearPart> parts, const char* suffix, std::size_t columns);
  // What a Linear of these weights is computed in: never kAuto.
  Precision precision_of(const Stack& stack) const noexcept;
  // Whether weights are multiplied with as they are stored: precision kAuto, and there are products for it.
  bool keeps(tensor::DType dtype) const noexcept;
  void add_stored(Stack stack, Linear& linear);
  void add_linear(std::span<const LinearPart> parts, Linear& linear, const Dim& columns, Bias bias);
  // One vector of the parts' vectors NAME + suffix, one after the other.
  tensor::Buffer<float> add_vectors(std::span<const LinearPart> parts, const char* suffix);
  void run_job(Job& job, const Scratch& scratch) const noexcept;
  bool take_floats(Job& job, kernels::RowRange rows, const Scratch& scratch) const noexcept;
  bool take_stored(Job& job, kernels::RowRange rows, const Scratch& scratch) const noexcept;
  bool take_bytes(Job& job, kernels::RowRange rows, const Scratch& scratch) const noexcept;
  const float* floats(const Stack& stack, kernels::RowRange rows, float* scratch) const noexcept;
  const StoredTensor* culprit(const Stack& stack, kernels::RowRange rows, const float* values) const noexcept;
  void read_rows(const Stack& stack, const Part& part, kernels::RowRange rows, float* out) const noexcept;
  void release(const Stack& stack, kernels::RowRange rows) const noexcept;
  template <class Body>
  static void for_parts(const Stack& stack, kernels::RowRange rows, const Body& body);

  WeightSource& source_;
  const kernels::Kernels& kernels_;
  Precision precision_;
  bool keeps_half_;
  std::vector<Stack> stacks_;
  std::vector<Job> jobs_;
};

// The visitor that lists what was loaded.
class InventoryTaker {
 public:
  InventoryTaker(WeightSource& source, Inventory& inventory) : source_(source), inventory_(inventory) {}

  void operator()(const std::string& name, const Embedding&, const MatrixShape&) {
    add(Inventory::Kind::kTable, name + ".weight");
  }
  void operator()(const std::string& name, const LayerNorm&, const Dim&, Bias bias = Bias::kYes) {
    add(Inventory::Kind::kOther, name + ".weight");
    if (bias == Bias::kYes) add(Inventory::Kind::kOther, name + ".bias");
  }
  void operator()(std::initializer_list<std::string> names, const Linear& linear, const MatrixShape&,
                  Bias bias = Bias::kYes) {
    for (const std::string& name : names) {
      add(Inventory::Kind::kMatrix, name + ".weight", &linear);
      if (bias == Bias::kYes) add(Inventory::Kind::kOther, name + ".bias");
    }
  }
  void operator()(LinearParts parts, const Linear& linear, const Dim&, Bias bias = Bias::kYes) {
    for (const LinearPart& part : parts) {
      add(Inventory::Kind::kMatrix, part.name + ".weight", &linear);
      if (bias == Bias::kYes) add(Inventory::Kind::kOther, part.name + ".bias");
    }
  }
  void operator()(const std::string& name, const Linear&, const ConvolutionShape&) {
    add(Inventory::Kind::kOther, name + ".weight");
    add(Inventory::Kind::kOther, name + ".bias");
  }

 private:
  void add(Inventory::Kind kind, const std::string& name, const Linear* linear = nullptr);

  WeightSource& source_;
  Inventory& inventory_;
};

// Checks, then loads. Throws kFormat and kUnsupported as the parts above.
template <class Weights, class Config>
void load_weights(Weights& weights, const Config& config, WeightSource& source, const LoadContext& load) {
  WeightChecker checker(source);
  const auto check = [&](const std::string& name, Dims dims) { checker.check(name, dims); };
  visit(weights, config, TensorVisitor<decltype(check)>(check));
  checker.finish();
  WeightLoader loader(source, load);
  visit(weights, config, loader);
  loader.run(load.pool);
  if (load.inventory != nullptr) visit(weights, config, InventoryTaker(source, *load.inventory));
  source.warn_about_unused();
}

}  // namespace kvasir::models
