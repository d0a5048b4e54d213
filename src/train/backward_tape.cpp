#include "train/backward_tape.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "models/rotary.h"
#include "train/lora.h"
#include "train/random.h"

namespace kvasir::train {

namespace {

constexpr std::size_t kLine = tensor::kAlignment / sizeof(float);
// Activations are allocated in chunks of at least 64 MiB.
constexpr std::size_t kChunkFloats = std::size_t{16} << 20;
// Rows that are added up together, then the sums: fixed, so that the bits do not depend on threads.
constexpr std::size_t kSumRows = 128;
// Rows of a task of the cheap steps.
constexpr std::size_t kTaskRows = 32;
constexpr std::size_t kTaskFloats = std::size_t{1} << 14;

std::size_t divide_up(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}

// Floats from the first of `rows` rows to the last, of `width` and `stride`.
std::size_t extent(std::size_t rows, std::size_t width, std::size_t stride) {
  return rows == 0 ? 0 : (rows - 1) * stride + width;
}

void for_rows(base::ThreadPool& pool, std::size_t rows, const auto& body) {
  pool.parallel_for(divide_up(rows, kTaskRows), [&](std::size_t task, int) noexcept {
    body(task * kTaskRows, std::min(rows, (task + 1) * kTaskRows));
  });
}
void for_floats(base::ThreadPool& pool, std::size_t size, const auto& body) {
  pool.parallel_for(divide_up(size, kTaskFloats), [&](std::size_t task, int) noexcept {
    body(task * kTaskFloats, std::min(size, (task + 1) * kTaskFloats) - task * kTaskFloats);
  });
}

}  // namespace

void BackwardTape::begin(const Pass& pass) {
  for (auto& [base, region] : regions_) release(region);
  regions_.clear();
  reads_.clear();
  steps_.clear();
  chunk_ = used_ = sites_ = 0;
  batch_ = &pass.batch;
  key_ = pass.key;
  drops_ = pass.drops;
  examples_.assign(pass.examples.begin(), pass.examples.end());
  sequence_of_.resize(pass.batch.tokens());
  for (std::size_t s = 0; s < pass.batch.sequences(); ++s) {
    if (examples_.size() <= s) examples_.push_back(s);
    std::fill(sequence_of_.begin() + pass.batch.cu_seqlens[s],
              sequence_of_.begin() + pass.batch.cu_seqlens[s + 1], static_cast<std::uint32_t>(s));
  }
}

float* BackwardTape::allocate(std::size_t size) {
  size = divide_up(std::max<std::size_t>(size, 1), kLine) * kLine;
  while (chunk_ < chunks_.size() && used_ + size > chunks_[chunk_].size()) ++chunk_, used_ = 0;
  if (chunk_ == chunks_.size()) {
    chunks_.emplace_back(std::max(size, kChunkFloats));
    bytes_ += chunks_.back().size() * sizeof(float);
  }
  float* p = chunks_[chunk_].data() + used_;
  used_ += size;
  return p;
}

float* BackwardTape::floats(std::size_t size) {
  float* p = allocate(size);
  const auto region = regions_.emplace(p, Region()).first;
  region->second.size = size;
  record([this, region] { release(region->second); });
  return p;
}

void BackwardTape::release(Region& region) {
  if (region.gradient.size() > 0) free_.push_back(std::move(region.gradient));
  region.gradient = {};
  region.is_set = false;
}

BackwardTape::Regions::iterator BackwardTape::region_of(const float* p) {
  return std::prev(regions_.upper_bound(p));
}

std::size_t BackwardTape::keep(const float* p, std::size_t size) {
  reads_.push_back({.p = p, .size = size});
  region_of(p)->second.reads.push_back(reads_.size() - 1);
  return reads_.size() - 1;
}

void BackwardTape::overwrites(const float* p, std::size_t size) {
  std::vector<std::size_t>& reads = region_of(p)->second.reads;
  std::erase_if(reads, [&](std::size_t i) {
    Read& read = reads_[i];
    if (read.p + read.size <= p || p + size <= read.p) return false;
    float* copy = allocate(read.size);
    for_floats(options_.pool, read.size, [&](std::size_t begin, std::size_t count) {
      std::copy_n(read.p + begin, count, copy + begin);
    });
    read.p = copy;
    return true;
  });
}

float* BackwardTape::gradient_of(const float* p) {
  const auto region = region_of(p);
  return region->second.is_set ? region->second.gradient.data() + (p - region->first) : nullptr;
}

float* BackwardTape::gradient_or_zeros(const float* p) {
  const auto region = region_of(p);
  return target(region->first, 0).p + (p - region->first);
}

BackwardTape::Target BackwardTape::target(const float* p, std::size_t size) {
  const auto at = region_of(p);
  Region& region = at->second;
  if (region.gradient.size() == 0) {
    // The smallest that is large enough.
    auto best = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->size() >= region.size && (best == free_.end() || it->size() < best->size())) best = it;
    }
    if (best == free_.end()) {
      region.gradient = tensor::Buffer<float>(region.size);
      bytes_ += region.size * sizeof(float);
    } else {
      region.gradient = std::move(*best);
      free_.erase(best);
    }
  }
  float* gradient = region.gradient.data();
  const bool was_set = std::exchange(region.is_set, true);
  if (!was_set && size < region.size) {
    for_floats(options_.pool, region.size,
               [&](std::size_t begin, std::size_t count) { std::fill_n(gradient + begin, count, 0.0F); });
  }
  return {.p = gradient + (p - at->first), .accumulates = was_set || size < region.size};
}

void BackwardTape::take(const float* p, std::size_t size) {
  Region& region = region_of(p)->second;
  if (size >= region.size) {
    region.is_set = false;
  } else if (float* gradient = gradient_of(p); gradient != nullptr) {
    std::fill_n(gradient, size, 0.0F);
  }
}

void BackwardTape::take_rows(const float* p, std::size_t rows, std::size_t width, std::size_t stride) {
  if (width == stride) return take(p, rows * width);
  float* gradient = gradient_of(p);
  for (std::size_t row = 0; row < rows; ++row) std::fill_n(gradient + row * stride, width, 0.0F);
}

void BackwardTape::backward(const float* outputs, std::span<const float> gradient) {
  const Target to = target(outputs, gradient.size());
  std::ranges::copy(gradient, to.p);
  for (; !steps_.empty(); steps_.pop_back()) steps_.back()();
}

void BackwardTape::pass_on(const MatrixRows& dy, const float* x, std::size_t ldx) {
  const Target dx = target(x, extent(dy.rows, dy.columns, ldx));
  for_rows(options_.pool, dy.rows, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const float* from = dy.x + row * dy.ldx;
      float* to = dx.p + row * ldx;
      if (dx.accumulates) {
        options_.kernels.backward.add_scaled(from, 1, to, dy.columns);
      } else {
        std::copy_n(from, dy.columns, to);
      }
    }
  });
}

void BackwardTape::linear(const models::Linear& linear, const models::LinearCall& call) {
  const std::size_t ldx = call.x_stride == 0 ? linear.in() : call.x_stride;
  const std::size_t ldy = call.y_stride == 0 ? linear.out() : call.y_stride;
  const std::size_t x = keep(call.x, extent(call.rows, linear.in(), ldx));
  overwrites(call.y, extent(call.rows, linear.out(), ldy));
  record([this, &linear, call, ldx, ldy, x] {
    const float* dy = gradient_of(call.y);
    if (dy == nullptr) return;
    const std::size_t rows = call.rows, out = linear.out();
    if (call.residual != nullptr && call.residual != call.y) {
      pass_on({.x = dy, .ldx = ldy, .rows = rows, .columns = out}, call.residual, out);
    }
    const Parameters::Pair parameters = options_.parameters.of(&linear);
    const kernels::RowSumsCall rows_of_dy{.x = dy, .ldx = ldy, .rows = rows, .columns = out};
    if (parameters.bias != nullptr && parameters.bias->trains) {
      kernels::RowSumsCall sums = rows_of_dy;
      sums.sums = parameters.bias->gradient_to_add();
      add_rows(sums);
    }
    if (parameters.weight != nullptr && parameters.weight->trains) {
      add_weight_gradient(*parameters.weight, linear, rows_of_dy, value(x), ldx);
    }
    multiply_back(linear, dy, ldy, rows, call);
    // What y held before is a summand of the residual, if y is that, and otherwise gone.
    if (call.residual != call.y) take_rows(call.y, rows, out, ldy);
  });
}

void BackwardTape::scale(float factor, std::span<float> x) {
  overwrites(x.data(), x.size());
  const auto multiply = [factor, size = x.size()](float* p) {
    for (std::size_t i = 0; i < size; ++i) p[i] *= factor;
  };
  multiply(x.data());
  record([this, multiply, x] {
    if (float* gradient = gradient_of(x.data()); gradient != nullptr) multiply(gradient);
  });
}

// y += scale · dropout(x) Aᵀ Bᵀ, for the columns of y that the adapter is for.
void BackwardTape::adapt(const models::Linear& linear, models::ForwardContext& context,
                         const models::LinearCall& call) {
  if (options_.lora == nullptr) return;
  const std::size_t ldy = call.y_stride == 0 ? linear.out() : call.y_stride;
  for (const LoraAdapter* adapter : options_.lora->of(linear)) {
    const std::size_t rank = adapter->a.out();
    const float* x = call.x;
    std::size_t ldx = call.x_stride;
    if (options_.lora->dropout() > 0) {
      const std::size_t in = linear.in(), stride = ldx == 0 ? in : ldx;
      float* dropped = floats(call.rows * in);
      copy_rows(x, stride, call.rows, {dropped, call.rows * in});
      models::drop_out(context, {.p = options_.lora->dropout()}, in, {dropped, call.rows * in});
      x = dropped;
      ldx = 0;
    }
    float* low = floats(call.rows * rank);
    models::forward(adapter->a, context, {.x = x, .y = low, .rows = call.rows, .x_stride = ldx});
    scale(options_.lora->scale(), {low, call.rows * rank});
    float* y = call.y + adapter->first_row;
    models::forward(adapter->b, context,
                    {.x = low, .y = y, .rows = call.rows, .residual = y, .y_stride = ldy});
  }
}

// y := the rows of x, side by side.
void BackwardTape::copy_rows(const float* x, std::size_t ldx, std::size_t rows, std::span<float> y) {
  const std::size_t width = y.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) std::copy_n(x + row * ldx, width, y.data() + row * width);
  record([this, x, ldx, rows, y, width] {
    const float* dy = gradient_of(y.data());
    if (dy == nullptr) return;
    pass_on({.x = dy, .ldx = width, .rows = rows, .columns = width}, x, ldx);
    take(y.data(), y.size());
  });
}

// dx += dy W.
void BackwardTape::multiply_back(const models::Linear& linear, const float* dy, std::size_t ldy,
                                 std::size_t rows, const models::LinearCall& call) {
  const std::size_t ldx = call.x_stride == 0 ? linear.in() : call.x_stride;
  const auto& weight = std::get<kernels::PackedMatrix>(linear.weight);
  transpose_packed(options_.kernels.backward, options_.pool, weight, transposed_weight_);
  const Target dx = target(call.x, extent(rows, linear.in(), ldx));
  kernels::gemm(options_.kernels.fp32, options_.pool,
                {.a = dy,
                 .lda = ldy,
                 .b = &transposed_weight_,
                 .residual = dx.accumulates ? dx.p : nullptr,
                 .ldr = ldx,
                 .c = dx.p,
                 .ldc = ldx,
                 .m = rows});
}

// dW += dyᵀ x, in the layout of W: the product xᵀ dy, whose panels lie one behind the other.
void BackwardTape::add_weight_gradient(Parameter& parameter, const models::Linear& linear,
                                       const kernels::RowSumsCall& dy, const float* x, std::size_t ldx) {
  const std::size_t rows = dy.rows, in = linear.in(), out = linear.out();
  pack_columns(options_.pool, {.x = dy.x, .ldx = dy.ldx, .rows = rows, .columns = out}, packed_dy_);
  const std::size_t ldt = padded_stride(rows);
  float* transposed = at_least(transposed_x_, in * ldt);
  for_rows(options_.pool, rows, [&](std::size_t begin, std::size_t end) {
    options_.kernels.backward.transpose({.x = x + begin * ldx,
                                         .ldx = ldx,
                                         .rows = end - begin,
                                         .columns = in,
                                         .y = transposed + begin,
                                         .ldy = ldt});
  });
  const bool adds = std::exchange(parameter.has_gradient, true);
  const std::size_t size = parameter.value.size();
  if (parameter.gradient.size() == 0) parameter.gradient = tensor::Buffer<float>(size);
  float* gradient = parameter.gradient.data();
  float* c = adds ? at_least(product_, size) : gradient;
  // Columns of the last panel beyond `out` are not written.
  if (out % kernels::kPanelColumns != 0) {
    const std::size_t last = out / kernels::kPanelColumns * kernels::kPanelColumns * in;
    std::fill(c + last, c + size, 0.0F);
  }
  kernels::gemm(options_.kernels.fp32, options_.pool,
                {.a = transposed,
                 .lda = ldt,
                 .b = &packed_dy_,
                 .c = c,
                 .ldc = kernels::kPanelColumns,
                 .c_block = kernels::kPanelColumns,
                 .c_block_stride = in * kernels::kPanelColumns,
                 .m = in});
  if (!adds) return;
  for_floats(options_.pool, size, [&](std::size_t begin, std::size_t count) {
    options_.kernels.backward.add_scaled(c + begin, 1, gradient + begin, count);
  });
}

void BackwardTape::add_rows(const kernels::RowSumsCall& call) {
  const std::size_t pieces = divide_up(call.rows, kSumRows);
  float* partial = at_least(partial_, pieces * call.columns);
  options_.pool.parallel_for(pieces, [&](std::size_t piece, int) noexcept {
    const std::size_t begin = piece * kSumRows;
    float* sums = partial + piece * call.columns;
    std::fill_n(sums, call.columns, 0.0F);
    options_.kernels.backward.add_rows({.x = call.x + begin * call.ldx,
                                        .ldx = call.ldx,
                                        .rows = std::min(kSumRows, call.rows - begin),
                                        .columns = call.columns,
                                        .sums = sums});
  });
  options_.kernels.backward.add_rows(
      {.x = partial, .ldx = call.columns, .rows = pieces, .columns = call.columns, .sums = call.sums});
}

void BackwardTape::layer_norm(const models::LayerNorm& norm, const models::NormRows& call) {
  this->norm(Norm::kLayerNorm, &norm, norm.weight.span(), call);
}
void BackwardTape::no_norm(const models::LayerNorm& norm, const models::NormRows& call) {
  this->norm(Norm::kNoNorm, &norm, norm.weight.span(), call);
}
void BackwardTape::rms_norm(const models::RmsNorm& norm, const models::NormRows& call) {
  this->norm(Norm::kRmsNorm, &norm, norm.weight.span(), call);
}

void BackwardTape::norm(Norm kind, const void* weights, std::span<const float> weight,
                        const models::NormRows& call) {
  const std::size_t width = weight.size(), size = call.rows * width;
  const bool in_place = call.y == nullptr || call.y == call.x;
  const float* y = in_place ? call.x : call.y;
  const std::size_t x = keep(call.x, size);
  overwrites(y, size);
  record([this, kind, weights, weight, call, x, y, width, size, in_place] {
    float* dy = gradient_of(y);
    if (dy == nullptr) return;
    const Target dx = in_place ? Target{.p = dy, .accumulates = false} : target(call.x, size);
    // Weight's sums in front, then bias's, for each piece of the rows.
    const std::size_t pieces = divide_up(call.rows, kSumRows), stride = 2 * width;
    float* partial = at_least(partial_, pieces * stride);
    const kernels::BackwardKernels& k = options_.kernels.backward;
    const auto kernel = kind == Norm::kLayerNorm ? k.layer_norm
                        : kind == Norm::kNoNorm  ? k.no_norm
                                                 : k.rms_norm;
    options_.pool.parallel_for(pieces, [&](std::size_t piece, int) noexcept {
      const std::size_t begin = piece * kSumRows;
      float* sums = partial + piece * stride;
      std::fill_n(sums, stride, 0.0F);
      kernel({.x = value(x) + begin * width,
              .dy = dy + begin * width,
              .weight = weight.data(),
              .dx = dx.p + begin * width,
              .accumulates = dx.accumulates,
              .dweight = sums,
              .dbias = kind == Norm::kRmsNorm ? nullptr : sums + width,
              .rows = std::min(kSumRows, call.rows - begin),
              .columns = width,
              .epsilon = call.epsilon});
    });
    const Parameters::Pair parameters = options_.parameters.of(weights);
    const auto add_sums = [&](Parameter* parameter, const float* sums) {
      if (parameter == nullptr || !parameter->trains) return;
      k.add_rows(
          {.x = sums, .ldx = stride, .rows = pieces, .columns = width, .sums = parameter->gradient_to_add()});
    };
    add_sums(parameters.weight, partial);
    add_sums(parameters.bias, partial + width);
    if (!in_place) take(y, size);
  });
}

void BackwardTape::activate(kernels::Activation activation, std::span<float> x) {
  const std::size_t read = keep(x.data(), x.size());
  overwrites(x.data(), x.size());
  record([this, activation, x, read] {
    float* gradient = gradient_of(x.data());
    if (gradient == nullptr) return;
    for_floats(options_.pool, x.size(), [&](std::size_t begin, std::size_t count) {
      options_.kernels.backward.activation({.activation = activation,
                                            .x = value(read) + begin,
                                            .dy = gradient + begin,
                                            .dx = gradient + begin,
                                            .count = count});
    });
  });
}

void BackwardTape::activate_gated(kernels::Activation activation, const models::GatedRows& rows) {
  const std::size_t width = rows.width, size = rows.rows * 2 * width;
  const std::size_t read = keep(rows.x, size);
  overwrites(rows.x, size);
  record([this, activation, rows, width, read] {
    float* gradient = gradient_of(rows.x);
    if (gradient == nullptr) return;
    for_rows(options_.pool, rows.rows, [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row) {
        const float* x = value(read) + row * 2 * width;
        float* dx = gradient + row * 2 * width;
        // Nothing else is made of the gates, so they have no gradient yet.
        options_.kernels.backward.gated({.activation = activation,
                                         .x = x,
                                         .gate = x + width,
                                         .dy = dx,
                                         .dx = dx,
                                         .dgate = dx + width,
                                         .count = width});
      }
    });
  });
}

void BackwardTape::tanh(std::span<float> x) {
  const std::size_t read = keep(x.data(), x.size());
  overwrites(x.data(), x.size());
  record([this, x, read] {
    float* gradient = gradient_of(x.data());
    if (gradient == nullptr) return;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float y = std::tanh(value(read)[i]);
      gradient[i] *= 1 - y * y;
    }
  });
}

void BackwardTape::add(const float* from, std::span<float> to) {
  overwrites(to.data(), to.size());
  record([this, from, to] {
    const float* dy = gradient_of(to.data());
    if (dy == nullptr) return;
    const Target dx = target(from, to.size());
    for_floats(options_.pool, to.size(), [&](std::size_t begin, std::size_t count) {
      if (dx.accumulates) {
        options_.kernels.backward.add_scaled(dy + begin, 1, dx.p + begin, count);
      } else {
        std::copy_n(dy + begin, count, dx.p + begin);
      }
    });
  });
}

void BackwardTape::scatter(Parameter& table, std::span<const std::int32_t> ids, const float* dy,
                           std::int32_t skipped) {
  if (!table.trains) return;
  const std::size_t width = table.columns;
  float* gradient = table.gradient_to_add();
  // Threads share out columns, so that rows are added up in their order.
  options_.pool.parallel_for(divide_up(width, kLine), [&](std::size_t line, int) noexcept {
    const std::size_t first = line * kLine, count = std::min(kLine, width - first);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] == skipped) continue;
      float* to = gradient + static_cast<std::size_t>(ids[i]) * width + first;
      const float* from = dy + i * width + first;
      for (std::size_t j = 0; j < count; ++j) to[j] += from[j];
    }
  });
}

void BackwardTape::embed(const models::InputEmbeddings& embeddings, float* x) {
  const models::Embedding& any = embeddings.word != nullptr ? *embeddings.word : *embeddings.position;
  const std::size_t size = batch_->tokens() * static_cast<std::size_t>(any.table.shape[1]);
  overwrites(x, size);
  record([this, embeddings, x, size] {
    const float* dy = gradient_of(x);
    if (dy == nullptr) return;
    const std::size_t tokens = batch_->tokens();
    if (embeddings.word != nullptr) {
      scatter(*options_.parameters.of(embeddings.word).weight, batch_->input_ids, dy, options_.pad_token_id);
    }
    if (embeddings.token_type != nullptr) {
      const std::vector<std::int32_t> zeros(batch_->token_type_ids.empty() ? tokens : 0);
      const std::span<const std::int32_t> types = zeros.empty() ? batch_->token_type_ids : zeros;
      scatter(*options_.parameters.of(embeddings.token_type).weight, types, dy, -1);
    }
    if (embeddings.position != nullptr) {
      std::vector<std::int32_t> positions(tokens);
      models::token_positions(*batch_, embeddings.pad_id, positions);
      scatter(*options_.parameters.of(embeddings.position).weight, positions, dy, embeddings.pad_id);
    }
    if (embeddings.word != nullptr) take(x, size);
  });
}

void BackwardTape::look_up(const models::LookUp& call) {
  const auto width = static_cast<std::size_t>(call.table->table.shape[1]);
  overwrites(call.y, call.rows.size() * width);
  std::vector<std::int32_t> rows(call.rows.begin(), call.rows.end());
  record([this, call, width, rows = std::move(rows)] {
    const float* dy = gradient_of(call.y);
    if (dy == nullptr) return;
    std::vector<float> by_rows;
    if (call.by_columns) {
      by_rows.resize(rows.size() * width);
      options_.kernels.backward.transpose({.x = dy,
                                           .ldx = rows.size(),
                                           .rows = width,
                                           .columns = rows.size(),
                                           .y = by_rows.data(),
                                           .ldy = width});
    }
    scatter(*options_.parameters.of(call.table).weight, rows, call.by_columns ? by_rows.data() : dy, -1);
    take(call.y, rows.size() * width);
  });
}

void BackwardTape::rotate(const models::RotateRows& call) {
  overwrites(call.x, extent(call.rows, call.x_stride, call.x_stride));
  std::vector<std::uint32_t> angle_rows(call.angle_rows.begin(), call.angle_rows.end());
  record([this, call, angle_rows = std::move(angle_rows)] {
    float* gradient = gradient_of(call.x);
    if (gradient == nullptr) return;
    // By the opposite angles.
    const std::size_t half = call.head_dim / 2;
    for_rows(options_.pool, call.rows, [&](std::size_t begin, std::size_t end) {
      std::vector<float> sines(half);
      for (std::size_t row = begin; row < end; ++row) {
        const float* cosines = call.angles + (angle_rows.empty() ? row : angle_rows[row]) * call.head_dim;
        std::transform(cosines + half, cosines + 2 * half, sines.begin(), std::negate<>());
        options_.kernels.fp32.rotate({.x = gradient + row * call.x_stride,
                                      .cos = cosines,
                                      .sin = sines.data(),
                                      .heads = call.heads,
                                      .head_dim = call.head_dim});
      }
    });
  });
}

void BackwardTape::gather_neighbors(const models::NeighborRows& call) {
  const std::size_t taps = call.offsets.size(), width = call.width, tokens = batch_->tokens();
  overwrites(call.y, tokens * taps * width);
  std::vector<int> offsets(call.offsets.begin(), call.offsets.end());
  record([this, call, taps, width, tokens, offsets = std::move(offsets)] {
    const float* dy = gradient_of(call.y);
    if (dy == nullptr) return;
    const Target dx = target(call.x, tokens * width);
    if (!dx.accumulates) std::fill_n(dx.p, tokens * width, 0.0F);
    const std::size_t tap_stride = call.taps_together ? 1 : width, step = call.taps_together ? taps : 1;
    for (std::size_t token = 0; token < tokens; ++token) {
      const std::size_t s = sequence_of_[token];
      for (std::size_t tap = 0; tap < taps; ++tap) {
        const std::ptrdiff_t other = static_cast<std::ptrdiff_t>(token) + offsets[tap];
        if (other < batch_->cu_seqlens[s] || other >= batch_->cu_seqlens[s + 1]) continue;
        float* to = dx.p + static_cast<std::size_t>(other) * width;
        const float* from = dy + token * taps * width + tap * tap_stride;
        for (std::size_t i = 0; i < width; ++i) to[i] += from[i * step];
      }
    }
    take(call.y, tokens * taps * width);
  });
}

void BackwardTape::clear_pads(std::size_t width, float* x) {
  if (batch_->key_lengths.empty()) return;
  overwrites(x, batch_->tokens() * width);
  record([this, width, x] {
    float* gradient = gradient_of(x);
    if (gradient == nullptr) return;
    for (std::size_t s = 0; s < batch_->sequences(); ++s) {
      const std::int32_t first = batch_->cu_seqlens[s] + batch_->key_lengths[s];
      std::fill(gradient + static_cast<std::size_t>(first) * width,
                gradient + static_cast<std::size_t>(batch_->cu_seqlens[s + 1]) * width, 0.0F);
    }
  });
}

void BackwardTape::drop_row(float p, std::size_t site, const RowKey& row, std::span<float> x) const noexcept {
  const std::uint64_t keyed = split_mix(split_mix(split_mix(key_.seed) ^ key_.step) ^ site);
  const std::uint64_t bits = split_mix(split_mix(keyed ^ row.example) ^ row.row);
  options_.kernels.backward.dropout(
      {.x = x.data(),
       .count = x.size(),
       .key = {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32U)},
       .threshold = static_cast<std::uint32_t>(std::ldexp(p, 32)),
       .scale = 1 / (1 - p)});
}

void BackwardTape::drop(float p, models::DropoutRows rows, std::size_t width, std::size_t site,
                        std::span<float> x) const {
  for_rows(options_.pool, x.size() / width, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      RowKey place{.example = 0, .row = row};
      if (rows == models::DropoutRows::kTokens) {
        const std::size_t s = sequence_of_[row];
        place = {.example = examples_[s], .row = row - static_cast<std::size_t>(batch_->cu_seqlens[s])};
      }
      drop_row(p, site, place, x.subspan(row * width, width));
    }
  });
}

void BackwardTape::dropout(float p, models::DropoutRows rows, std::size_t width, std::span<float> x) {
  const std::size_t site = sites_++;
  if (!drops_) return;
  overwrites(x.data(), x.size());
  drop(p, rows, width, site, x);
  record([this, p, rows, width, site, x] {
    float* gradient = gradient_of(x.data());
    if (gradient != nullptr) drop(p, rows, width, site, {gradient, x.size()});
  });
}

}  // namespace kvasir::train
