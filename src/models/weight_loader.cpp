#include "models/weight_loader.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kvasir/error.h"
#include "models/inventory.h"
#include "models/stored_names.h"
#include "tensor/quants.h"

namespace kvasir::models {

namespace {

// Elements of one loading job: 1 MiB of floats, so that what is read is still in cache when it is packed.
constexpr std::size_t kJobElements = std::size_t{1} << 18;
// Rows that are converted, checked and packed at once: one panel.
constexpr std::size_t kGroupRows = kernels::kPanelColumns;

}  // namespace

std::size_t WeightLoader::Stack::rows() const noexcept {
  std::size_t sum = 0;
  for (const Part& part : parts) sum += part.rows;
  return sum;
}

bool WeightLoader::Stack::are_bytes() const noexcept {
  return std::ranges::find(parts, nullptr, &Part::scales) == parts.end();
}

namespace {

// The order of the file's rows that gives `wanted` of Hugging Face's, whose order in the file is `stored`.
RowOrder combine(const RowOrder& wanted, const RowOrder& stored) {
  if (wanted.empty()) return stored;
  if (stored.empty()) return wanted;
  RowOrder order(wanted.size());
  bool is_plain = true;
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = stored[wanted[i]];
    is_plain = is_plain && order[i] == i;
  }
  return is_plain ? RowOrder() : order;
}

}  // namespace

WeightLoader::Stack WeightLoader::stack_of(LinearParts parts, const char* suffix, std::size_t columns) {
  Stack stack{.parts = {}, .columns = columns};
  for (const LinearPart& part : parts) {
    const std::string name = part.name + suffix;
    const StoredTensor* tensor = source_.find(name);
    const bool bytes = tensor->view.dtype == tensor::DType::kI8;
    stack.parts.push_back(
        {.tensor = tensor,
         .rows = part.rows.size,
         .scales = bytes ? source_.find(name + kScaleSuffix) : nullptr,
         .order = combine(part.order == nullptr ? RowOrder() : *part.order, tensor->order)});
  }
  return stack;
}

bool WeightLoader::keeps(tensor::DType dtype) const noexcept {
  if (options_.precision != Precision::kAuto) return false;
  const bool is_half = dtype == tensor::DType::kF16 || dtype == tensor::DType::kBF16;
  return is_half ? options_.keeps_half : kernels::is_quant_product(dtype);
}

Precision WeightLoader::precision_of(const Stack& stack) const noexcept {
  if (options_.precision == Precision::kAuto) {
    return stack.are_bytes() ? Precision::kInt8 : Precision::kFp32;
  }
  if (stack.rows() < kMinRoundedOutputs) return Precision::kFp32;
  if (options_.precision == Precision::kBf16 && options_.kernels.bf16 == nullptr) return Precision::kFp32;
  return options_.precision;
}

void WeightLoader::embedding(const std::string& name, Embedding& table, const MatrixShape& shape) {
  const LinearPart part{.name = name, .rows = shape.rows};
  Stack stack = stack_of({&part, 1}, kWeight, shape.columns.size);
  table.table = stack.parts.front().tensor->view;
  table.storage = source_.storage();
  if (stack.are_bytes()) {
    table.scales = add_vectors({&part, 1}, kWeightScale);
    return;  // bytes have no invalid values
  }
  add_jobs(std::move(stack), {});
}

void WeightLoader::layer_norm(const std::string& name, LayerNorm& norm, const Dim& width, Bias bias) {
  const LinearPart part{.name = name, .rows = width};
  norm.weight = add_vectors({&part, 1}, kWeight);
  if (bias == Bias::kYes) {
    norm.bias = add_vectors({&part, 1}, kBias);
  } else {
    norm.bias = tensor::Buffer<float>(width.size);
    std::ranges::fill(norm.bias.span(), 0.0F);
  }
}

void WeightLoader::rms_norm(const std::string& name, RmsNorm& norm, const Dim& width) {
  const LinearPart part{.name = name, .rows = width};
  norm.weight = add_vectors({&part, 1}, kWeight);
}

void WeightLoader::convolution(const std::string& name, Linear& matrix, const ConvolutionShape& shape) {
  const LinearPart part{.name = name, .rows = shape.rows};
  linear({&part, 1}, matrix, {shape.columns.key, shape.columns.size * shape.taps.size}, Bias::kYes);
}

void WeightLoader::linear(LinearParts parts, Linear& linear, const Dim& columns, Bias bias) {
  Stack stack = stack_of(parts, kWeight, columns.size);
  const std::size_t rows = stack.rows();
  const Precision precision = precision_of(stack);
  if (bias == Bias::kYes) linear.bias = add_vectors(parts, kBias);
  if (std::ranges::all_of(stack.parts, [&](const Part& part) { return keeps(part.tensor->view.dtype); })) {
    add_stored(std::move(stack), linear);
  } else if (precision == Precision::kInt8) {
    auto& int8 = linear.weight.emplace<kernels::Int8Matrix>(kernels::allocate_int8(rows, columns.size));
    add_jobs(std::move(stack), {.int8 = &int8});
  } else if (precision == Precision::kBf16) {
    auto& bf16 = linear.weight.emplace<kernels::Bf16Matrix>(kernels::allocate_bf16(rows, columns.size));
    add_jobs(std::move(stack), {.bf16 = &bf16});
  } else {
    auto& fp32 = linear.weight.emplace<kernels::PackedMatrix>(kernels::allocate_packed(rows, columns.size));
    add_jobs(std::move(stack), {.packed = &fp32});
  }
}

void WeightLoader::add_stored(Stack stack, Linear& linear) {
  auto& stored = linear.weight.emplace<Linear::Stored>();
  stored.n = stack.rows();
  stored.k = stack.columns;
  stored.parts.reserve(stack.parts.size());  // jobs point to them
  for (Part& part : stack.parts) {
    const tensor::DType dtype = part.tensor->view.dtype;
    auto& matrix = stored.parts.emplace_back();
    Target target;
    if (kernels::is_quant_product(dtype)) {
      target.quants =
          &matrix.emplace<kernels::QuantMatrix>(kernels::allocate_quants(dtype, part.rows, stack.columns));
    } else {
      target.half =
          &matrix.emplace<kernels::HalfMatrix>(kernels::allocate_half(dtype, part.rows, stack.columns));
    }
    Stack own{.parts = {}, .columns = stack.columns};
    own.parts.push_back(std::move(part));
    add_jobs(std::move(own), target);
  }
}

tensor::Buffer<float> WeightLoader::add_vectors(LinearParts parts, const char* suffix) {
  Stack stack = stack_of(parts, suffix, 1);
  tensor::Buffer<float> vector(stack.rows());
  add_jobs(std::move(stack), {.copy = vector.data()});
  return vector;
}

void WeightLoader::add_jobs(Stack stack, const Target& target) {
  const std::size_t rows = stack.rows();
  const std::size_t groups = std::max<std::size_t>(1, kJobElements / (stack.columns * kGroupRows));
  const std::size_t step = groups * kGroupRows;
  for (std::size_t row = 0; row < rows; row += step) {
    jobs_.push_back({.stack = stacks_.size(),
                     .rows = {.begin = row, .end = std::min(rows, row + step)},
                     .target = target,
                     .fault = Fault::kNone,
                     .culprit = nullptr});
  }
  stacks_.push_back(std::move(stack));
}

void WeightLoader::run(base::ThreadPool& pool) {
  std::size_t widest = 0;
  for (const Stack& stack : stacks_) widest = std::max(widest, stack.columns);
  const auto threads = static_cast<std::size_t>(pool.size());
  const std::size_t size = widest * kGroupRows;
  tensor::Buffer<float> floats(size * threads), scales(kGroupRows * threads);
  tensor::Buffer<std::int8_t> bytes(size * threads);
  pool.parallel_for(jobs_.size(), [&](std::size_t i, int worker) noexcept {
    const auto w = static_cast<std::size_t>(worker);
    run_job(jobs_[i], {.floats = floats.data() + w * size,
                       .bytes = bytes.data() + w * size,
                       .scales = scales.data() + w * kGroupRows});
  });
  for (const Job& job : jobs_) {
    if (job.fault == Fault::kNone) continue;
    const std::string what = job.fault == Fault::kNotFinite
                                 ? " holds NaN or infinity; the file is damaged, or training diverged"
                                 : " has bytes that add up to more than 128 with their neighbours, so that "
                                   "products would overflow; quantise the model with kvasir quantize";
    throw Error(ErrorCode::kFormat, job.culprit->where() + what);
  }
}

void WeightLoader::run_job(Job& job, const Scratch& scratch) const noexcept {
  const Stack& stack = stacks_[job.stack];
  const bool as_stored = job.target.quants != nullptr || job.target.half != nullptr;
  const bool as_bytes = job.target.int8 != nullptr && stack.are_bytes();
  for (std::size_t row = job.rows.begin; row < job.rows.end; row += kGroupRows) {
    const kernels::RowRange group{.begin = row, .end = std::min(job.rows.end, row + kGroupRows)};
    const bool taken = as_stored  ? take_stored(job, group, scratch)
                       : as_bytes ? take_bytes(job, group, scratch)
                                  : take_floats(job, group, scratch);
    if (!taken) return;
  }
  release(stack, job.rows);
}

// Rows that are stored as numbers, or as bytes that are not wanted. False: job has a fault.
bool WeightLoader::take_floats(Job& job, kernels::RowRange rows, const Scratch& scratch) const noexcept {
  const Stack& stack = stacks_[job.stack];
  const std::size_t count = rows.end - rows.begin;
  const float* values = floats(stack, rows, scratch.floats);
  if (!options_.kernels.fp32.all_finite(values, count * stack.columns)) {
    job.fault = Fault::kNotFinite;
    job.culprit = culprit(stack, rows, values);
    return false;
  }
  const Target& target = job.target;
  if (target.packed != nullptr) options_.kernels.fp32.pack_rows(values, rows, *target.packed);
  if (target.bf16 != nullptr) kernels::pack_bf16_rows(values, rows, *target.bf16);
  if (target.copy != nullptr)
    std::copy_n(values, count * stack.columns, target.copy + rows.begin * stack.columns);
  if (target.int8 != nullptr) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = i * stack.columns;
      scratch.scales[i] = kernels::quantize_weights({values + at, stack.columns}, scratch.bytes + at);
    }
    kernels::pack_int8_rows(scratch.bytes, scratch.scales, rows, *target.int8);
  }
  return true;
}

// Calls body(part, rows within the part) for each part that has some of the rows.
template <class Body>
void WeightLoader::for_parts(const Stack& stack, kernels::RowRange rows, const Body& body) {
  std::size_t first = 0;  // of the part
  for (const Part& part : stack.parts) {
    const std::size_t begin = std::max(rows.begin, first), end = std::min(rows.end, first + part.rows);
    if (begin < end) body(part, kernels::RowRange{.begin = begin - first, .end = end - first});
    first += part.rows;
  }
}

// Packs rows that keep their bits.
bool WeightLoader::take_stored(Job& job, kernels::RowRange rows, const Scratch& scratch) const noexcept {
  const Stack& stack = stacks_[job.stack];
  const Part& part = stack.parts.front();
  const tensor::TensorView& view = part.tensor->view;
  const std::size_t row_bytes = tensor::dtype_bytes(view.dtype, stack.columns);
  const std::byte* from = view.data + rows.begin * row_bytes;
  if (!part.order.empty()) {  // fewer bytes than the floats that the scratch memory is for
    auto* gathered = reinterpret_cast<std::byte*>(scratch.floats);
    for (std::size_t row = rows.begin; row < rows.end; ++row) {
      std::copy_n(view.data + part.order[row] * row_bytes, row_bytes,
                  gathered + (row - rows.begin) * row_bytes);
    }
    from = gathered;
  }
  const std::size_t count = (rows.end - rows.begin) * stack.columns;
  const bool finite = job.target.half != nullptr ? kernels::half_all_finite(view.dtype, from, count)
                                                 : tensor::are_finite(view.dtype, from, count);
  if (!finite) {
    job.fault = Fault::kNotFinite;
    job.culprit = part.tensor;
    return false;
  }
  if (job.target.quants != nullptr) kernels::pack_quant_rows(from, rows, *job.target.quants);
  if (job.target.half != nullptr) kernels::pack_half_rows(from, rows, *job.target.half);
  return true;
}

// Rows that are stored as bytes.
bool WeightLoader::take_bytes(Job& job, kernels::RowRange rows, const Scratch& scratch) const noexcept {
  const Stack& stack = stacks_[job.stack];
  std::int8_t* out = scratch.bytes;
  float* scale = scratch.scales;
  const auto take_row = [&](const Part& part, std::size_t row) {
    const auto* bytes = reinterpret_cast<const std::int8_t*>(part.tensor->view.data);
    std::copy_n(bytes + row * stack.columns, stack.columns, out);
    part.scales->view.read_floats(row, {scale, 1});
    if (!kernels::keeps_pair_rule({out, stack.columns})) {
      job.fault = Fault::kPairRule;
      job.culprit = part.tensor;
    } else if (!options_.kernels.fp32.all_finite(scale, 1)) {
      job.fault = Fault::kNotFinite;
      job.culprit = part.scales;
    }
    out += stack.columns;
    ++scale;
  };
  for_parts(stack, rows, [&](const Part& part, kernels::RowRange within) {
    for (std::size_t row = within.begin; row < within.end && job.fault == Fault::kNone; ++row) {
      take_row(part, part.stored_row(row));
    }
  });
  if (job.fault != Fault::kNone) return false;
  kernels::pack_int8_rows(scratch.bytes, scratch.scales, rows, *job.target.int8);
  return true;
}

const StoredTensor* WeightLoader::culprit(const Stack& stack, kernels::RowRange rows,
                                          const float* values) const noexcept {
  const StoredTensor* found = nullptr;
  for_parts(stack, rows, [&](const Part& part, kernels::RowRange within) {
    const std::size_t count = (within.end - within.begin) * stack.columns;
    if (found == nullptr && !options_.kernels.fp32.all_finite(values, count)) found = part.tensor;
    values += count;
  });
  return found;
}

// Rows of a part that lie together in the file, as floats.
void WeightLoader::read_rows(const Stack& stack, const Part& part, kernels::RowRange rows,
                             float* out) const noexcept {
  const tensor::TensorView& view = part.tensor->view;
  const std::size_t first = rows.begin * stack.columns, count = (rows.end - rows.begin) * stack.columns;
  if (view.dtype == tensor::DType::kF16) {
    options_.kernels.fp32.convert_half(view.data + tensor::dtype_bytes(view.dtype, first), out, count);
    return;
  }
  view.read_floats(first, {out, count});
  if (view.dtype != tensor::DType::kI8) return;
  for (std::size_t row = rows.begin; row < rows.end; ++row, out += stack.columns) {
    float scale = 0;
    part.scales->view.read_floats(row, {&scale, 1});
    for (float& x : std::span(out, stack.columns)) x *= scale;
  }
}

// The rows as floats: where they lie, if they are floats already and lie together, else converted.
const float* WeightLoader::floats(const Stack& stack, kernels::RowRange rows, float* scratch) const noexcept {
  const float* in_place = nullptr;
  float* out = scratch;
  for_parts(stack, rows, [&](const Part& part, kernels::RowRange within) {
    const tensor::TensorView& view = part.tensor->view;
    const std::byte* data = view.data + tensor::dtype_bytes(view.dtype, within.begin * stack.columns);
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % alignof(float) == 0;
    const bool together = part.order.empty() && within.end - within.begin == rows.end - rows.begin;
    if (view.dtype == tensor::DType::kF32 && aligned && together) {
      in_place = reinterpret_cast<const float*>(data);
    } else if (part.order.empty()) {
      read_rows(stack, part, within, out);
      out += (within.end - within.begin) * stack.columns;
    } else {
      for (std::size_t row = within.begin; row < within.end; ++row, out += stack.columns) {
        read_rows(stack, part, {.begin = part.order[row], .end = part.order[row] + std::size_t{1}}, out);
      }
    }
  });
  return in_place != nullptr ? in_place : scratch;
}

// Rows that are read in another order are needed until all have been read.
void WeightLoader::release(const Stack& stack, kernels::RowRange rows) const noexcept {
  for_parts(stack, rows, [&](const Part& part, kernels::RowRange within) {
    if (part.tensor->mapped == nullptr || !part.order.empty()) return;
    const tensor::TensorView& view = part.tensor->view;
    part.tensor->mapped->release(
        {view.data + tensor::dtype_bytes(view.dtype, within.begin * stack.columns),
         tensor::dtype_bytes(view.dtype, (within.end - within.begin) * stack.columns)});
  });
}

}  // namespace kvasir::models
