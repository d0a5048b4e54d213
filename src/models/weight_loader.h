// Loads weights. Matrices may be stored as numbers of any type, or as bytes with a scale for each row: then
// NAME.weight is I8, and there is also a NAME.weight_scale F32 [rows] (docs/int8.md).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/precision.h"
#include "models/weight_source.h"
#include "models/weight_visitor.h"

namespace kvasir::models {

// The visitor that fills weights: allocates when it visits, converts and packs in run().
class WeightLoader final : public WeightVisitor {
 public:
  struct Options {
    const kernels::Kernels& kernels;  // weights are packed for these
    Precision precision = Precision::kAuto;
    // Whether weights of 16 bits stay in 16 bits under kAuto. Decoders read all weights for each token, so
    // half the size is twice as fast; encoders read them for many tokens at once, and fp32 avoids widening
    // them each time.
    bool keeps_half = false;
  };
  WeightLoader(WeightSource& source, const Options& options) : source_(source), options_(options) {}

  void embedding(const std::string& name, Embedding& table, const MatrixShape& shape) override;
  void layer_norm(const std::string& name, LayerNorm& norm, const Dim& width, Bias bias) override;
  void rms_norm(const std::string& name, RmsNorm& norm, const Dim& width) override;
  void linear(LinearParts parts, Linear& linear, const Dim& columns, Bias bias) override;
  void convolution(const std::string& name, Linear& linear, const ConvolutionShape& shape) override;

  // Throws kFormat naming a tensor that holds NaN or infinity, or bytes that products cannot use. Pages of
  // the file are released as soon as they are packed, so that weights are in memory only once.
  void run(base::ThreadPool& pool);

 private:
  // Matrices stacked one below the other.
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
  // Where the rows of a stack go after they have been checked: to one of these, or nowhere.
  struct Target {
    kernels::PackedMatrix* packed = nullptr;
    kernels::Bf16Matrix* bf16 = nullptr;
    kernels::Int8Matrix* int8 = nullptr;
    kernels::QuantMatrix* quants = nullptr;
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
  Stack stack_of(LinearParts parts, const char* suffix, std::size_t columns);
  // The precision that a Linear of these weights is computed in; never kAuto.
  Precision precision_of(const Stack& stack) const noexcept;
  // Whether products use the weights as they are stored: precision is kAuto, and there are products for the
  // type.
  bool keeps(tensor::DType dtype) const noexcept;
  void add_stored(Stack stack, Linear& linear);
  // One vector of the parts' vectors NAME + suffix, one after the other.
  tensor::Buffer<float> add_vectors(LinearParts parts, const char* suffix);
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
  Options options_;
  std::vector<Stack> stacks_;
  std::vector<Job> jobs_;
};

}  // namespace kvasir::models
