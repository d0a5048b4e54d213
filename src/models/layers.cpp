#include "models/layers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>

namespace kvasir::models {

namespace {

// Rows of one task of the cheap row-wise passes: some microseconds of work each.
constexpr std::size_t kRowsPerTask = 16;
// With fewer rows per thread, reading all weights is not worth it.
constexpr std::size_t kMinChunkRows = 16;

// body(first row, one past the last row, worker) over chunks of kRowsPerTask rows.
template <class Body>
void for_row_chunks(base::ThreadPool& pool, std::size_t rows, const Body& body) {
  const std::size_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  pool.parallel_for(tasks, [&](std::size_t task, int worker) noexcept {
    const std::size_t begin = task * kRowsPerTask;
    body(begin, std::min(begin + kRowsPerTask, rows), static_cast<std::size_t>(worker));
  });
}

// A kernel that maps rows to rows, over all of them.
void normalize(void (*kernel)(const kernels::LayerNormCall&) noexcept, const LayerNorm& norm,
               ForwardContext& context, const NormRows& call) {
  const std::size_t width = norm.width();
  float* y = call.y == nullptr ? call.x : call.y;
  for_row_chunks(context.pool, call.rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    kernel({.x = call.x + begin * width,
            .weight = norm.weight.data(),
            .bias = norm.bias.data(),
            .y = y + begin * width,
            .rows = end - begin,
            .columns = width,
            .epsilon = call.epsilon});
  });
}

// Positions of the tokens of a batch, one after the other.
class PositionCounter {
 public:
  PositionCounter(const tensor::RaggedBatch& batch, std::int32_t pad_id, std::size_t first)
      : batch_(batch),
        pad_id_(pad_id),
        token_(first),
        sequence_(std::ranges::upper_bound(batch.cu_seqlens, static_cast<std::int32_t>(first)) - 1) {
    for (auto token = static_cast<std::size_t>(*sequence_); token < first; ++token) count(token);
  }

  // The position of the next token.
  std::size_t next() {
    while (static_cast<std::size_t>(sequence_[1]) <= token_) {
      ++sequence_;
      counted_ = 0;
    }
    const std::size_t token = token_++;
    // pad_id -1, which no token has, counts from 0.
    return static_cast<std::size_t>(count(token) ? pad_id_ + counted_ : pad_id_);
  }

 private:
  bool count(std::size_t token) {
    const bool counts = batch_.input_ids[token] != pad_id_;
    counted_ += counts ? 1 : 0;
    return counts;
  }

  const tensor::RaggedBatch& batch_;
  std::int32_t pad_id_, counted_ = 0;
  std::size_t token_;
  std::span<const std::int32_t>::iterator sequence_;
};

}  // namespace

namespace {

// Rounds the rows of a call to bytes, in the workspace.
kernels::Int8Rows quantize(const kernels::QuantizeCall& call, ForwardContext& context) {
  std::byte* memory = context.workspace.bytes(kRounded, kernels::int8_rows_bytes(call.rows, call.columns));
  const kernels::Int8Rows all = kernels::int8_rows(memory, call.rows, call.columns);
  for_row_chunks(context.pool, call.rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    context.kernels.int8.quantize(
        {.x = call.x + begin * call.ldx, .ldx = call.ldx, .rows = end - begin, .columns = call.columns},
        {.data = all.data + begin * all.stride,
         .scales = all.scales + begin,
         .zeros = all.zeros + begin,
         .stride = all.stride});
  });
  return all;
}

// The same as bfloat16.
const std::uint16_t* round_to_bf16(const kernels::QuantizeCall& call, ForwardContext& context) {
  const std::size_t stride = kernels::bf16_stride(call.columns);
  auto* all = reinterpret_cast<std::uint16_t*>(
      context.workspace.bytes(kRounded, call.rows * stride * sizeof(std::uint16_t)));
  for_row_chunks(context.pool, call.rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    context.kernels.bf16->convert({.x = call.x + begin * call.ldx,
                                   .ldx = call.ldx,
                                   .y = all + begin * stride,
                                   .rows = end - begin,
                                   .columns = call.columns});
  });
  return all;
}

// The same to signed bytes with a scale for each 32.
kernels::QuantRows to_quant_rows(const kernels::QuantizeCall& call, ForwardContext& context) {
  std::byte* memory = context.workspace.bytes(kRounded, kernels::quant_rows_bytes(call.rows, call.columns));
  const kernels::QuantRows all = kernels::quant_rows(memory, call.rows, call.columns);
  for_row_chunks(context.pool, call.rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    context.kernels.quants.quantize(
        {.x = call.x + begin * call.ldx, .ldx = call.ldx, .rows = end - begin, .columns = call.columns},
        {.data = all.data + begin * all.stride,
         .quants = all.quants + begin * all.quant_stride,
         .stride = all.stride,
         .quant_stride = all.quant_stride});
  });
  return all;
}

// Fills in what does not depend on the precision of a product.
template <class GemmCall>
GemmCall with_output(GemmCall gemm, const Linear& linear, const LinearCall& call) {
  gemm.bias = linear.bias.data();
  gemm.activation = call.activation;
  gemm.residual = call.residual;
  gemm.c = call.y;
  gemm.ldc = call.y_stride == 0 ? linear.out() : call.y_stride;
  gemm.ldr = call.residual == call.y ? gemm.ldc : linear.out();
  gemm.c_block = call.y_block;
  gemm.c_block_stride = call.y_block_stride;
  gemm.m = call.rows;
  return gemm;
}

template <class GemmCall>
GemmCall with_column(GemmCall gemm, std::size_t column) {
  gemm.c += column;
  if (gemm.bias != nullptr) gemm.bias += column;
  if (gemm.residual != nullptr) gemm.residual += column;
  return gemm;
}

void multiply(const Linear::Stored& stored, const kernels::QuantizeCall& x, ForwardContext& context,
              const Linear& linear, const LinearCall& call) {
  std::optional<kernels::QuantRows> rows;
  std::size_t column = 0;
  for (const auto& part : stored.parts) {
    if (const auto* quants = std::get_if<kernels::QuantMatrix>(&part)) {
      if (!rows) rows = to_quant_rows(x, context);
      const kernels::QuantGemmCall gemm{.a = *rows, .b = quants};
      kernels::gemm(context.kernels.quants, context.pool,
                    with_column(with_output(gemm, linear, call), column));
      column += quants->n;
    } else {
      const auto& half = std::get<kernels::HalfMatrix>(part);
      const kernels::HalfGemmCall gemm{.a = x.x, .lda = x.ldx, .b = &half};
      kernels::gemm(context.kernels.half, context.pool, with_column(with_output(gemm, linear, call), column));
      column += half.n;
    }
  }
}

}  // namespace

namespace {

// The product without its activation and dropout, then these and the residual, each a step of the tape.
void forward_on_tape(const Linear& linear, ForwardContext& context, const LinearCall& call) {
  LinearCall product = call;
  product.activation = kernels::Activation::kNone;
  product.dropout = 0;
  const std::size_t size = call.rows * linear.out();
  const bool is_plain = call.activation == kernels::Activation::kNone && call.dropout == 0;
  if (!is_plain) {
    product.residual = nullptr;
    if (call.residual == call.y) product.y = context.tape->floats(size);
  }
  context.tape->linear(linear, product);
  ForwardContext untaped = context.without_tape();
  forward(linear, untaped, product);
  context.tape->adapt(linear, context, product);
  if (is_plain) return;
  activate(call.activation, context, linear.out(), {product.y, size});
  drop_out(context, {.p = call.dropout}, linear.out(), {product.y, size});
  if (call.residual == nullptr) return;
  add(context, product.y == call.y ? call.residual : product.y, {call.y, size});
}

}  // namespace

void forward(const Linear& linear, ForwardContext& context, const LinearCall& call) {
  if (context.tape != nullptr) return forward_on_tape(linear, context, call);
  if (context.observer != nullptr) context.observer->observe(linear, call);
  const std::size_t in = linear.in();
  const kernels::QuantizeCall x{
      .x = call.x, .ldx = call.x_stride == 0 ? in : call.x_stride, .rows = call.rows, .columns = in};
  if (const auto* fp32 = std::get_if<kernels::PackedMatrix>(&linear.weight)) {
    const kernels::GemmCall gemm{.a = x.x, .lda = x.ldx, .b = fp32};
    kernels::gemm(context.kernels.fp32, context.pool, with_output(gemm, linear, call));
  } else if (const auto* bf16 = std::get_if<kernels::Bf16Matrix>(&linear.weight)) {
    const kernels::Bf16GemmCall gemm{
        .a = round_to_bf16(x, context), .lda = kernels::bf16_stride(in), .b = bf16};
    kernels::gemm(*context.kernels.bf16, context.pool, with_output(gemm, linear, call));
  } else if (const auto* stored = std::get_if<Linear::Stored>(&linear.weight)) {
    multiply(*stored, x, context, linear, call);
  } else {
    const kernels::Int8GemmCall gemm{.a = quantize(x, context),
                                     .b = std::get_if<kernels::Int8Matrix>(&linear.weight)};
    kernels::gemm(context.kernels.int8, context.pool, with_output(gemm, linear, call));
  }
}

void in_row_chunks(ForwardContext& context, const RowChunks& chunks, const RowBody& body) {
  const auto threads = static_cast<std::size_t>(context.pool.size());
  if (context.workers.empty() || chunks.most == 0 || chunks.rows < threads * kMinChunkRows) {
    body(context, {.begin = 0, .end = chunks.rows});
    return;
  }
  // The same number for each thread, so that all end together.
  const std::size_t count = (chunks.rows + chunks.most * threads - 1) / (chunks.most * threads) * threads;
  std::mutex mutex;
  std::exception_ptr failure;
  context.pool.parallel_for(count, [&](std::size_t chunk, int thread) noexcept {
    ForwardContext own = context.on(context.workers[static_cast<std::size_t>(thread)]);
    try {
      body(own, {.begin = chunks.rows * chunk / count, .end = chunks.rows * (chunk + 1) / count});
    } catch (...) {
      const std::lock_guard guard(mutex);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

void forward(const LayerNorm& norm, ForwardContext& context, const NormRows& call) {
  if (context.tape != nullptr) context.tape->layer_norm(norm, call);
  normalize(context.kernels.fp32.layer_norm, norm, context, call);
}

void forward(const RmsNorm& norm, ForwardContext& context, const NormRows& call) {
  if (context.tape != nullptr) context.tape->rms_norm(norm, call);
  const std::size_t width = norm.width();
  float* y = call.y == nullptr ? call.x : call.y;
  for_row_chunks(context.pool, call.rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    context.kernels.fp32.rms_norm({.x = call.x + begin * width,
                                   .weight = norm.weight.data(),
                                   .y = y + begin * width,
                                   .rows = end - begin,
                                   .columns = width,
                                   .epsilon = call.epsilon});
  });
}

void no_norm(const LayerNorm& norm, ForwardContext& context, const NormRows& call) {
  if (context.tape != nullptr) context.tape->no_norm(norm, call);
  normalize(context.kernels.fp32.no_norm, norm, context, call);
}

void activate_gated(kernels::Activation activation, ForwardContext& context, const GatedRows& rows) {
  if (context.tape != nullptr) context.tape->activate_gated(activation, rows);
  for_row_chunks(context.pool, rows.rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    for (std::size_t row = begin; row < end; ++row) {
      float* x = rows.x + row * 2 * rows.width;
      context.kernels.fp32.activate_gated(activation, x, x + rows.width, rows.width);
    }
  });
  // The second halves, which nobody reads any more, are dropped out too.
  drop_out(context, {.p = rows.dropout}, 2 * rows.width, {rows.x, rows.rows * 2 * rows.width});
}

void Embedding::read_row(const kernels::Fp32Kernels& kernels, std::size_t row,
                         std::span<float> out) const noexcept {
  if (table.dtype == tensor::DType::kF16) {
    kernels.convert_half(table.data + row * out.size() * sizeof(std::uint16_t), out.data(), out.size());
  } else if (scales.size() > 0) {
    const auto* bytes = reinterpret_cast<const std::int8_t*>(table.data) + row * out.size();
    const float scale = scales.data()[row];
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = scale * static_cast<float>(bytes[i]);
  } else {
    table.read_floats(row * out.size(), out);
  }
}

void embed(const InputEmbeddings& embeddings, const tensor::RaggedBatch& batch, ForwardContext& context,
           float* x) {
  if (context.tape != nullptr) {  // the norm is a step of its own
    InputEmbeddings sum = embeddings;
    sum.norm = nullptr;
    const auto width = static_cast<std::size_t>(
        (embeddings.word != nullptr ? embeddings.word : embeddings.position)->table.shape[1]);
    const std::size_t tokens = batch.tokens();
    context.tape->embed(sum, x);
    ForwardContext untaped = context.without_tape();
    embed(sum, batch, untaped, x);
    if (embeddings.norm != nullptr) {
      forward(*embeddings.norm, context, {.x = x, .rows = tokens, .epsilon = embeddings.epsilon});
    }
    drop_out(context, {.p = embeddings.dropout}, width, {x, tokens * width});
    return;
  }
  const Embedding& any = embeddings.word != nullptr ? *embeddings.word : *embeddings.position;
  const auto width = static_cast<std::size_t>(any.table.shape[1]);
  float* scratch = context.workspace.floats(kScratch, static_cast<std::size_t>(context.pool.size()) * width);
  const kernels::Fp32Kernels& k = context.kernels.fp32;
  for_row_chunks(
      context.pool, batch.tokens(), [&](std::size_t begin, std::size_t end, std::size_t worker) noexcept {
        const std::span<float> term(scratch + worker * width, width);
        const auto add = [&](const Embedding& table, std::size_t row, float* out) {
          table.read_row(k, row, term);
          for (std::size_t i = 0; i < width; ++i) out[i] += term[i];
        };
        PositionCounter positions(batch, embeddings.pad_id, begin);
        for (std::size_t token = begin; token < end; ++token) {
          float* out = x + token * width;
          if (embeddings.word != nullptr) {
            embeddings.word->read_row(k, static_cast<std::size_t>(batch.input_ids[token]), {out, width});
          }
          if (embeddings.token_type != nullptr) {
            const std::int32_t type = batch.token_type_ids.empty() ? 0 : batch.token_type_ids[token];
            add(*embeddings.token_type, static_cast<std::size_t>(type), out);
          }
          const std::size_t position = positions.next();
          if (embeddings.position != nullptr) add(*embeddings.position, position, out);
        }
        if (embeddings.norm == nullptr) return;
        k.layer_norm({.x = x + begin * width,
                      .weight = embeddings.norm->weight.data(),
                      .bias = embeddings.norm->bias.data(),
                      .y = x + begin * width,
                      .rows = end - begin,
                      .columns = width,
                      .epsilon = embeddings.epsilon});
      });
}

void embed_tokens(const Embedding& table, std::span<const std::int32_t> ids, ForwardContext& context,
                  float* x) {
  const auto width = static_cast<std::size_t>(table.table.shape[1]);
  for_row_chunks(context.pool, ids.size(), [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    for (std::size_t i = begin; i < end; ++i) {
      table.read_row(context.kernels.fp32, static_cast<std::size_t>(ids[i]), {x + i * width, width});
    }
  });
}

void token_positions(const tensor::RaggedBatch& batch, std::int32_t pad_id,
                     std::span<std::int32_t> positions) {
  PositionCounter counter(batch, pad_id, 0);
  for (std::int32_t& position : positions) position = static_cast<std::int32_t>(counter.next());
}

void look_up(ForwardContext& context, const LookUp& call) {
  if (context.tape != nullptr) context.tape->look_up(call);
  const auto width = static_cast<std::size_t>(call.table->table.shape[1]);
  const std::size_t rows = call.rows.size();
  std::vector<float> row(width);
  for (std::size_t i = 0; i < rows; ++i) {
    call.table->read_row(context.kernels.fp32, static_cast<std::size_t>(call.rows[i]), row);
    for (std::size_t j = 0; j < width; ++j) call.y[call.by_columns ? j * rows + i : i * width + j] = row[j];
  }
}

void add(ForwardContext& context, const float* from, std::span<float> to) {
  if (context.tape != nullptr) context.tape->add(from, to);
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
}

void activate(kernels::Activation activation, ForwardContext& context, std::size_t width,
              std::span<float> x) {
  if (activation == kernels::Activation::kNone) return;
  if (context.tape != nullptr) context.tape->activate(activation, x);
  const std::size_t rows = x.size() / width;
  for_row_chunks(context.pool, rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    context.kernels.fp32.activate(activation, x.data() + begin * width, (end - begin) * width);
  });
}

void apply_tanh(ForwardContext& context, std::span<float> y) {
  if (context.tape != nullptr) context.tape->tanh(y);
  for (float& value : y) value = std::tanh(value);
}

void drop_out(ForwardContext& context, const Dropout& dropout, std::size_t width, std::span<float> x) {
  if (context.tape != nullptr && dropout.p > 0) context.tape->dropout(dropout.p, dropout.rows, width, x);
}

void gather_neighbors(const tensor::RaggedBatch& batch, ForwardContext& context, const NeighborRows& call) {
  if (context.tape != nullptr) context.tape->gather_neighbors(call);
  const std::size_t taps = call.offsets.size(), width = call.width;
  const std::size_t tap_stride = call.taps_together ? 1 : width, step = call.taps_together ? taps : 1;
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const std::ptrdiff_t begin = batch.cu_seqlens[s], end = batch.cu_seqlens[s + 1];
    for (std::ptrdiff_t token = begin; token < end; ++token) {
      for (std::size_t tap = 0; tap < taps; ++tap) {
        float* y = call.y + static_cast<std::size_t>(token) * taps * width + tap * tap_stride;
        const std::ptrdiff_t other = token + call.offsets[tap];
        const bool inside = other >= begin && other < end;
        const float* x = call.x + (inside ? static_cast<std::size_t>(other) * width : 0);
        for (std::size_t i = 0; i < width; ++i) y[i * step] = inside ? x[i] : 0;
      }
    }
  }
}

float* gather_rows(std::span<const std::int32_t> rows, std::size_t width, ForwardContext& context,
                   const float* x) {
  float* gathered = context.workspace.floats(kHeadOut, rows.size() * width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(x + static_cast<std::size_t>(rows[i]) * width, width, gathered + i * width);
  }
  return gathered;
}

void clear_pads(const tensor::RaggedBatch& batch, std::size_t width, ForwardContext& context, float* x) {
  if (context.tape != nullptr) context.tape->clear_pads(width, x);
  for (std::size_t s = 0; s < batch.key_lengths.size(); ++s) {
    const std::size_t first =
        static_cast<std::size_t>(batch.cu_seqlens[s]) + static_cast<std::size_t>(batch.key_lengths[s]);
    std::fill(x + first * width, x + static_cast<std::size_t>(batch.cu_seqlens[s + 1]) * width, 0.0F);
  }
}

std::span<float> keep_rows(std::span<const std::int32_t> wanted, std::size_t width, std::span<float> x) {
  if (wanted.empty()) return x;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto from = static_cast<std::size_t>(wanted[i]);
    if (from != i) std::copy_n(x.data() + from * width, width, x.data() + i * width);
  }
  return x.first(wanted.size() * width);
}

}  // namespace kvasir::models
