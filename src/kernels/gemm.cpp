// The driver of a product: cuts it into blocks for the pool.
#include <algorithm>
#include <cassert>

#include "kernels/bf16.h"
#include "kernels/fp32.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/quants.h"

namespace kvasir::kernels {

namespace {

std::size_t divide_up(std::size_t a, std::size_t b) {
  return (a + b - 1) / b;
}

// At most this much of A per row block: half of the smallest L2 (Zen 3), so that a block stays there while
// the panels of a chunk stream past it.
constexpr std::size_t kBlockBytes = std::size_t{256} * 1024;
constexpr std::size_t kMinBlockRows = 48;  // below, panels are fetched again too often
// Multiply-adds that are worth a task: about 10 µs, against well under 1 µs to claim one.
constexpr std::size_t kTaskMultiplyAdds = 500'000;
// Multiply-adds in the time of reading a byte of weights from memory: 50 GMAC/s against 20 GB/s per core.
constexpr std::size_t kMultiplyAddsPerByte = 2;
constexpr std::size_t kTasksPerThread = 8;  // enough that a slowed core costs at most 1/8 of the time
constexpr std::size_t kPair = 2;  // panels that the AVX-512 tile takes at once: chunks are whole pairs

// How a product is divided: row blocks times chunks of columns.
struct Grid {
  std::size_t row_blocks, pairs, chunk_pairs;

  std::size_t chunks() const noexcept { return divide_up(pairs, chunk_pairs); }
  std::size_t tasks() const noexcept { return row_blocks * chunks(); }
};

// The properties of a product that matter for dividing it.
struct Shape {
  std::size_t m, k, panels;
  std::size_t row_bytes;  // of A
  std::size_t speed;      // of its multiply-adds, in those of fp32
  std::size_t weight_bytes = 0;
};

Grid choose_grid(const Shape& shape, std::size_t threads) {
  const std::size_t rows = std::max(kMinBlockRows, kBlockBytes / shape.row_bytes);
  const std::size_t pairs = divide_up(shape.panels, kPair);
  Grid grid{.row_blocks = divide_up(shape.m, rows), .pairs = pairs, .chunk_pairs = pairs};
  if (threads == 1) return grid;
  const std::size_t work = std::max(shape.m * shape.k * pairs * kPair * kPanelColumns / shape.speed,
                                    shape.weight_bytes * kMultiplyAddsPerByte);
  const std::size_t tasks = std::clamp<std::size_t>(work / kTaskMultiplyAdds, 1, threads * kTasksPerThread);
  const std::size_t largest = std::clamp<std::size_t>(grid.row_blocks * pairs / tasks, 1, pairs);
  // Of the chunk sizes from there down to half of it, the one that keeps all threads busy to the end.
  const auto time = [&](std::size_t chunk) {
    return divide_up(grid.row_blocks * divide_up(pairs, chunk), threads) * chunk;
  };
  grid.chunk_pairs = largest;
  for (std::size_t chunk = largest; chunk >= divide_up(largest, 2); --chunk) {
    if (time(chunk) < time(grid.chunk_pairs)) grid.chunk_pairs = chunk;
  }
  return grid;
}

// Neighbouring tasks share a chunk of B, so that it comes from memory once: row blocks run fastest.
template <class Table, class Call>
void run(const Table& kernels, base::ThreadPool& pool, const Call& call, const Shape& shape) {
  const Grid grid = choose_grid(shape, static_cast<std::size_t>(pool.size()));
  pool.parallel_for(grid.tasks(), [&](std::size_t task, int) noexcept {
    const std::size_t r = task % grid.row_blocks;
    const std::size_t panel = task / grid.row_blocks * grid.chunk_pairs * kPair;
    const std::size_t panel_end = std::min(shape.panels, panel + grid.chunk_pairs * kPair);
    kernels.gemm_block(call, {.row_begin = shape.m * r / grid.row_blocks,
                              .row_end = shape.m * (r + 1) / grid.row_blocks,
                              .panel_begin = panel,
                              .panel_end = panel_end,
                              .next_panel = r + 1 == grid.row_blocks ? panel_end : shape.panels});
  });
}

}  // namespace

void gemm(const Fp32Kernels& kernels, base::ThreadPool& pool, const GemmCall& call) {
  assert(call.a != nullptr && call.b != nullptr && call.c != nullptr);
  assert(call.lda >= call.b->k && call.ldc >= (call.c_block == 0 ? call.b->n : call.c_block));
  assert(call.c_block % kPanelColumns == 0);
  if (call.m == 0) return;
  run(kernels, pool, call,
      {.m = call.m,
       .k = call.b->k,
       .panels = call.b->panels(),
       .row_bytes = call.b->k * sizeof(float),
       .speed = 1});
}

void gemm(const Bf16Kernels& kernels, base::ThreadPool& pool, const Bf16GemmCall& call) {
  assert(call.a != nullptr && call.b != nullptr && call.c != nullptr);
  assert(call.lda >= call.b->k && call.ldc >= (call.c_block == 0 ? call.b->n : call.c_block));
  assert(call.c_block % kPanelColumns == 0);
  if (call.m == 0) return;
  run(kernels, pool, call,
      {.m = call.m,
       .k = call.b->k,
       .panels = call.b->panels(),
       .row_bytes = call.lda * sizeof(std::uint16_t),
       .speed = 2});
}

void gemm(const Int8Kernels& kernels, base::ThreadPool& pool, const Int8GemmCall& call) {
  assert(call.a.data != nullptr && call.b != nullptr && call.c != nullptr);
  assert(call.a.stride >= call.b->k && call.ldc >= (call.c_block == 0 ? call.b->n : call.c_block));
  assert(call.c_block % kPanelColumns == 0);
  if (call.m == 0) return;
  run(kernels, pool, call,
      {.m = call.m, .k = call.b->k, .panels = call.b->panels(), .row_bytes = call.a.stride, .speed = 4});
}

void gemm(const HalfKernels& kernels, base::ThreadPool& pool, const HalfGemmCall& call) {
  assert(call.a != nullptr && call.b != nullptr && call.c != nullptr);
  assert(call.lda >= call.b->k && call.ldc >= (call.c_block == 0 ? call.b->n : call.c_block));
  assert(call.c_block % kPanelColumns == 0);
  if (call.m == 0) return;
  run(kernels, pool, call,
      {.m = call.m,
       .k = call.b->k,
       .panels = call.b->panels(),
       .row_bytes = call.b->k * sizeof(float),
       .speed = 1,
       .weight_bytes = call.b->bytes()});
}

void gemm(const QuantKernels& kernels, base::ThreadPool& pool, const QuantGemmCall& call) {
  assert(call.a.data != nullptr && call.b != nullptr && call.c != nullptr);
  assert(call.a.stride >= call.b->k && call.ldc >= (call.c_block == 0 ? call.b->n : call.c_block));
  assert(call.c_block % kPanelColumns == 0);
  if (call.m == 0) return;
  run(kernels, pool, call,
      {.m = call.m,
       .k = call.b->k,
       .panels = call.b->panels(),
       .row_bytes = call.a.stride,
       .speed = 3,
       .weight_bytes = call.b->bytes()});
}

}  // namespace kvasir::kernels
