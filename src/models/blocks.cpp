#include "models/blocks.h"

#include <algorithm>
#include <cstring>

namespace kvasir::models {

namespace {

// Rows of one task of the cheap row-wise passes: some microseconds of work each.
constexpr std::size_t kRowsPerTask = 16;

// body(first row, one past the last row, worker) over blocks of kRowsPerTask rows.
template <class Body>
void for_row_blocks(base::ThreadPool& pool, std::size_t rows, const Body& body) {
  const std::size_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  pool.parallel_for(tasks, [&](std::size_t task, int worker) noexcept {
    const std::size_t begin = task * kRowsPerTask;
    body(begin, std::min(begin + kRowsPerTask, rows), static_cast<std::size_t>(worker));
  });
}

}  // namespace

void forward(const Linear& linear, ForwardContext& context, const LinearCall& call) {
  kernels::gemm(context.kernels, context.pool,
                {.a = call.x,
                 .lda = linear.in(),
                 .b = &linear.weight,
                 .bias = linear.bias.data(),
                 .activation = call.activation,
                 .residual = call.residual,
                 .ldr = linear.out(),
                 .c = call.y,
                 .ldc = linear.out(),
                 .m = call.rows});
}

void forward(const LayerNorm& norm, ForwardContext& context, const LayerNormRows& call) {
  const std::size_t width = norm.width();
  for_row_blocks(context.pool, call.rows, [&](std::size_t begin, std::size_t end, std::size_t) noexcept {
    context.kernels.layer_norm({.x = call.x + begin * width,
                                .weight = norm.weight.data(),
                                .bias = norm.bias.data(),
                                .y = call.x + begin * width,
                                .rows = end - begin,
                                .columns = width,
                                .epsilon = call.epsilon});
  });
}

void Embedding::read_row(const kernels::Kernels& kernels, std::size_t row,
                         std::span<float> out) const noexcept {
  if (table.dtype == tensor::DType::kF16) {
    kernels.convert_half(table.data + row * out.size() * sizeof(std::uint16_t), out.data(), out.size());
  } else {
    table.read_floats(row * out.size(), out);
  }
}

void embed(const InputEmbeddings& embeddings, const tensor::RaggedBatch& batch, ForwardContext& context,
           float* x) {
  const std::size_t width = embeddings.norm->width();
  float* scratch = context.workspace.floats(kScratch, static_cast<std::size_t>(context.pool.size()) * width);
  const kernels::Kernels& k = context.kernels;
  for_row_blocks(
      context.pool, batch.tokens(), [&](std::size_t begin, std::size_t end, std::size_t worker) noexcept {
        const std::span<float> term(scratch + worker * width, width);
        const auto add = [&](const Embedding& table, std::size_t row, float* out) {
          table.read_row(k, row, term);
          for (std::size_t i = 0; i < width; ++i) out[i] += term[i];
        };
        // The sequence that holds token `begin`.
        auto sequence = std::ranges::upper_bound(batch.cu_seqlens, static_cast<std::int32_t>(begin)) - 1;
        for (std::size_t token = begin; token < end; ++token) {
          while (static_cast<std::size_t>(sequence[1]) <= token) ++sequence;
          float* out = x + token * width;
          embeddings.word->read_row(k, static_cast<std::size_t>(batch.input_ids[token]), {out, width});
          if (embeddings.token_type != nullptr) {
            const std::int32_t type = batch.token_type_ids.empty() ? 0 : batch.token_type_ids[token];
            add(*embeddings.token_type, static_cast<std::size_t>(type), out);
          }
          add(*embeddings.position, token - static_cast<std::size_t>(*sequence), out);
        }
        k.layer_norm({.x = x + begin * width,
                      .weight = embeddings.norm->weight.data(),
                      .bias = embeddings.norm->bias.data(),
                      .y = x + begin * width,
                      .rows = end - begin,
                      .columns = width,
                      .epsilon = embeddings.epsilon});
      });
}

void qa_head(const Linear& qa_outputs, ForwardContext& context, const float* x, QaLogits out) {
  const std::size_t tokens = out.start.size();
  float* logits = context.workspace.floats(kHeadOut, tokens * 2);
  forward(qa_outputs, context, {.x = x, .y = logits, .rows = tokens});
  for (std::size_t token = 0; token < tokens; ++token) {
    out.start[token] = logits[2 * token];
    out.end[token] = logits[2 * token + 1];
  }
}

}  // namespace kvasir::models
