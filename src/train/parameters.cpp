#include "train/parameters.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kvasir/error.h"
#include "models/stored_names.h"
#include "models/weight_visitor.h"

namespace kvasir::train {

float* Parameter::gradient_to_add() {
  if (gradient.size() == 0) gradient = tensor::Buffer<float>(value.size());
  if (!std::exchange(has_gradient, true)) std::ranges::fill(gradient.span(), 0.0F);
  return gradient.data();
}

namespace {

// Where the number in this row and column lies.
std::size_t place(const Parameter& parameter, std::size_t row, std::size_t column) noexcept {
  if (parameter.layout == Parameter::Layout::kRows) return row * parameter.columns + column;
  constexpr std::size_t kPanel = kernels::kPanelColumns;
  return row / kPanel * kPanel * parameter.columns + column * kPanel + row % kPanel;
}

}  // namespace

void Parameter::read(const NamedTensor& tensor, std::span<const float> from, float* out) const {
  for (std::size_t row = tensor.row; row < tensor.row + tensor.rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) *out++ = from[place(*this, row, column)];
  }
}

void Parameter::write(const NamedTensor& tensor, const float* rows_in, std::span<float> to) const {
  for (std::size_t row = tensor.row; row < tensor.row + tensor.rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) to[place(*this, row, column)] = *rows_in++;
  }
}

// Makes a parameter of each weight.
class Parameters::Collector final : public models::WeightVisitor {
 public:
  Collector(Parameters& parameters, std::string prefix)
      : parameters_(parameters), prefix_(std::move(prefix)) {}

  void embedding(const std::string& name, models::Embedding& table,
                 const models::MatrixShape& shape) override {
    const std::size_t rows = shape.rows.size, columns = shape.columns.size;
    auto owned = std::make_shared<tensor::Buffer<float>>(rows * columns);
    for (std::size_t row = 0; row < rows; ++row) {
      table.read_row(kernels::fp32_kernels_for(base::best_isa()), row,
                     owned->span().subspan(row * columns, columns));
    }
    table.table = {.dtype = tensor::DType::kF32,
                   .shape = {static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)},
                   .data = reinterpret_cast<const std::byte*>(owned->data())};
    table.scales = {};
    Parameter& parameter = add(rows, columns, owned->span());
    parameter.decays = decays(name);
    parameter.tensors.push_back(tensor(name + models::kWeight, table.table.shape, 0, rows));
    parameters_.by_weight_[&table] = {.weight = &parameter};
    table.storage = std::move(owned);
  }

  void layer_norm(const std::string& name, models::LayerNorm& norm, const models::Dim&,
                  models::Bias bias) override {
    Pair pair{.weight = &vector(name + models::kWeight, norm.weight.span())};
    if (bias == models::Bias::kYes) pair.bias = &vector(name + models::kBias, norm.bias.span());
    parameters_.by_weight_[&norm] = pair;
  }

  void rms_norm(const std::string& name, models::RmsNorm& norm, const models::Dim&) override {
    parameters_.by_weight_[&norm] = {.weight = &vector(name + models::kWeight, norm.weight.span())};
  }

  void linear(models::LinearParts parts, models::Linear& linear, const models::Dim& columns,
              models::Bias bias) override {
    std::vector<std::int64_t> tail{static_cast<std::int64_t>(columns.size)};
    matrix(parts, linear, tail, bias);
  }

  void convolution(const std::string& name, models::Linear& linear,
                   const models::ConvolutionShape& shape) override {
    const models::LinearPart part{.name = name, .rows = shape.rows};
    matrix({&part, 1}, linear,
           {static_cast<std::int64_t>(shape.columns.size), static_cast<std::int64_t>(shape.taps.size)},
           models::Bias::kYes);
  }

 private:
  // The reference leaves out what has bias in its name (Trainer.get_decay_parameter_names), so MPNet's
  // relative_attention_bias.weight too.
  static bool decays(const std::string& name) { return name.find("bias") == std::string::npos; }

  Parameter& add(std::size_t rows, std::size_t columns, std::span<float> value) {
    Parameter& parameter = parameters_.parameters_.emplace_back();
    parameter.rows = rows;
    parameter.columns = columns;
    parameter.value = value;
    return parameter;
  }

  NamedTensor tensor(const std::string& name, tensor::Shape shape, std::size_t row, std::size_t rows) const {
    return {.name = prefix_ + name, .shape = std::move(shape), .row = row, .rows = rows};
  }

  Parameter& vector(const std::string& name, std::span<float> value) {
    Parameter& parameter = add(value.size(), 1, value);
    parameter.tensors.push_back(tensor(name, {static_cast<std::int64_t>(value.size())}, 0, value.size()));
    return parameter;
  }

  // tail: the sizes of a row.
  void matrix(models::LinearParts parts, models::Linear& linear, const std::vector<std::int64_t>& tail,
              models::Bias bias) {
    auto* packed = std::get_if<kernels::PackedMatrix>(&linear.weight);
    if (packed == nullptr) {
      throw Error(ErrorCode::kUnsupported, parts.front().name + " is not in fp32, so it cannot be trained");
    }
    Pair pair{.weight = &add(packed->n, packed->k, packed->data.span())};
    pair.weight->layout = Parameter::Layout::kPacked;
    pair.weight->decays = decays(parts.front().name);
    if (bias == models::Bias::kYes) pair.bias = &add(packed->n, 1, linear.bias.span());
    std::size_t row = 0;
    for (const models::LinearPart& part : parts) {
      const std::size_t rows = part.rows.size;
      tensor::Shape shape{static_cast<std::int64_t>(rows)};
      if (pair.bias != nullptr)
        pair.bias->tensors.push_back(tensor(part.name + models::kBias, shape, row, rows));
      shape.insert(shape.end(), tail.begin(), tail.end());
      pair.weight->tensors.push_back(tensor(part.name + models::kWeight, std::move(shape), row, rows));
      row += rows;
    }
    parameters_.by_weight_[&linear] = pair;
  }

  Parameters& parameters_;
  std::string prefix_;
};

Parameters::Parameters(models::Encoder& encoder, models::Head& head, const std::string& prefix) {
  Collector of_encoder(*this, prefix), of_head(*this, "");
  encoder.visit(of_encoder);
  const std::size_t encoders = parameters_.size();
  head.visit(of_head);
  for (std::size_t i = encoders; i < parameters_.size(); ++i) parameters_[i].is_head = true;
}

void Parameters::add(const std::string& name, models::Linear& linear) {
  Collector collector(*this, "");
  const models::LinearPart part{.name = name, .rows = {"", linear.out()}};
  const std::size_t before = parameters_.size();
  collector.linear({&part, 1}, linear, {"", linear.in()}, models::bias_if(linear.bias.size() > 0));
  for (std::size_t i = before; i < parameters_.size(); ++i) parameters_[i].is_adapter = true;
}

Parameters::Pair Parameters::of(const void* weight) const {
  const auto found = by_weight_.find(weight);
  return found == by_weight_.end() ? Pair() : found->second;
}

void Parameters::clear_gradients() noexcept {
  for (Parameter& parameter : parameters_) parameter.has_gradient = false;
}

}  // namespace kvasir::train
