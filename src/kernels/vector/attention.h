// Attention of one head, for the instruction set S.
//
// Keys are taken in blocks. For each: K and V are packed into panels once (in pages they lie so already);
// then, for each tile of query rows, scores = q Kᵀ, their exponentials, and their product with V. From the
// second block on, each row keeps a running maximum and sum, and its result so far is scaled down when the
// maximum rises (Milakov & Gimelshein 2018, Dao et al. 2022). The result of a row depends on its own numbers
// only, not on its tile. Keys outside a row's window have weight 0.
#pragma once

#include <cassert>
#include <cstddef>

#include "kernels/fp32.h"
#include "kernels/vector/elementwise.h"
#include "kernels/vector/kv_products.h"
#include "kernels/vector/lanes.h"
#include "kernels/vector/pack.h"
#include "kernels/vector/tile.h"

namespace kvasir::kernels {

// The operands of attention's products as floats; avx512bf16/bf16.cpp has them in half the size.
template <class S>
struct Fp32Operands {
  static constexpr bool kReadsPages = true, kRoughWeights = false;
  using Tile = Fp32<S>;

  // A panel of up to 16 keys [head_dim][16].
  static void pack_keys(const float* k, std::size_t stride, std::size_t keys, std::size_t head_dim,
                        float* panel) noexcept {
    pack_panel<S>(k, stride, keys, head_dim, panel);
  }
  // One vector of columns of a panel [keys][16]; columns outside the mask become 0.
  static void pack_values(const float* v, std::size_t stride, std::size_t keys, typename S::Mask columns,
                          float* panel) noexcept {
    for (std::size_t j = 0; j < keys; ++j) {
      S::store(panel + j * kPanelColumns, S::load(v + j * stride, columns));
    }
  }
  template <class Lanes>
  static void put(float* p, typename S::Vec x, Lanes lanes) noexcept {
    store<S>(p, x, lanes);
  }
  // Sets to 0 what follows `count` elements of a row, up to the next whole step.
  static void pad(float*, std::size_t) noexcept {}
};

template <class S, class Operands = Fp32Operands<S>>
struct Attention {
  using Vec = typename S::Vec;
  using Tile = typename Operands::Tile;
  using Row = typename Tile::Row;
  using Column = typename Tile::Column;
  static constexpr std::size_t kRowsPerFloat = sizeof(float) / sizeof(Row);  // elements, for strides

  // Keys per block. With head_dim 64: K and V panels 256 KiB, half of the smallest L2; the scores of 12 rows
  // 25 KiB of the 32 of L1. Sequences of up to 512 tokens, all that BERT can do, are one block.
  static constexpr std::size_t kKeyBlock = 512;
  // Panels per tile: as many as the registers hold for full tiles.
  static constexpr std::size_t kPanels = tile_panels<Tile>(S::kTileRows);
  static constexpr std::size_t kRows = S::kTileRows;

  static constexpr std::size_t round_up(std::size_t x) noexcept {
    return (x + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
  }

  // Scratch memory, in floats. Parts are multiples of 16 floats, so that each begins on a cache line.
  struct Layout {
    std::size_t head_dim, block;            // rounded up to whole panels
    std::size_t score_stride;               // one panel more than `block`: rows 2 KiB apart share cache sets
    std::size_t k, v, q, scores, products;  // where the parts begin
    std::size_t sums, maxima, outputs;      // of all query rows, for more than one block
    std::size_t size;

    Layout(std::size_t rows, std::size_t keys, std::size_t dim) noexcept {
      head_dim = round_up(dim);
      block = round_up(keys < kKeyBlock ? keys : kKeyBlock);
      score_stride = block + kPanelColumns;
      k = 0;
      v = k + block * head_dim;
      q = v + block * head_dim;
      scores = q + kRows * head_dim;
      products = scores + kRows * score_stride;
      sums = products + kRows * head_dim;
      maxima = sums + round_up(rows);
      outputs = maxima + round_up(rows);
      size = outputs + (keys > kKeyBlock ? rows * head_dim : 0);
    }
  };

  static std::size_t scratch(std::size_t rows, std::size_t keys, std::size_t head_dim) noexcept {
    return Layout(rows, keys, head_dim).size;
  }

  static constexpr std::size_t steps(std::size_t k) noexcept { return (k + Tile::kGroup - 1) / Tile::kGroup; }
  // Elements of a panel of 16 columns and k rows.
  static constexpr std::size_t panel_size(std::size_t k) noexcept {
    return steps(k) * Tile::kGroup * kPanelColumns;
  }

  // out[rows, panels · 16] = a[rows, k] · panels.
  static void multiply_panels(TileCall<Tile> call, std::size_t rows, std::size_t panels) noexcept {
    std::size_t p = 0;
    for (; p + kPanels <= panels; p += kPanels) {
      tile_rows<Tile, kRows, kPanels>(rows, call);
      call.b += kPanels * call.panel_stride;
      call.out += kPanels * kPanelColumns;
    }
    for (; p < panels; ++p) {
      tile_rows<Tile, kRows, 1>(rows, call);
      call.b += call.panel_stride;
      call.out += kPanelColumns;
    }
  }

  // keys <= kKeyBlock rows from key `first` on: K as panels of 16 keys [head_dim][16], V as panels of 16
  // columns [keys][16]. (Unpacked rows lie a whole hidden state apart, and share few cache sets.)
  static void pack_block(const AttentionCall& call, const Layout& layout, std::size_t first, std::size_t keys,
                         float* scratch) noexcept {
    const float* k = call.k + first * call.kv_stride;
    auto* key_panels = reinterpret_cast<Column*>(scratch + layout.k);
    for (std::size_t j = 0; j < keys; j += kPanelColumns) {
      const std::size_t columns = keys - j < kPanelColumns ? keys - j : kPanelColumns;
      Operands::pack_keys(k + j * call.kv_stride, call.kv_stride, columns, call.head_dim,
                          key_panels + j / kPanelColumns * panel_size(call.head_dim));
    }
    const float* v = call.v + first * call.kv_stride;
    for (std::size_t d = 0; d < layout.head_dim; d += S::kLanes) {
      const std::size_t lanes = call.head_dim < d ? 0 : call.head_dim - d;
      const typename S::Mask mask = S::first(lanes < S::kLanes ? lanes : S::kLanes);
      Column* panel = reinterpret_cast<Column*>(scratch + layout.v) + d / kPanelColumns * panel_size(keys) +
                      d % kPanelColumns * Tile::kGroup;
      Operands::pack_values(v + d, call.kv_stride, keys, mask, panel);
    }
  }

  // Weights are powers of two instead of e: log2(e) goes into the scale of q, and 2^x needs no reduction by a
  // multiple of ln 2. Differences are at most 0; anything smaller becomes 2^-126.
  static constexpr float kLog2E = 1.44269504F;
  static Vec power(Vec difference) noexcept {
    const Vec x = S::max(S::set(-126.0F), difference);
    return Operands::kRoughWeights ? rough_exp2<S>(x) : exp2<S>(x);
  }
  static float power(float difference) noexcept {
    float out[S::kLanes];
    S::store(out, power(S::set(difference)));
    return out[0];
  }
  // Turns the scores of one row into the weights that the second product takes; returns their sum. `out` may
  // begin at or before x, because writing stays behind reading.
  static float powers(const float* x, std::size_t count, float max, Row* out) noexcept {
    const Vec shift = S::set(max);
    return Elementwise<S>::sum(count, [&](Vec sum, std::size_t i, auto m) {
      const Vec e = select<S>(m, power(S::sub(load<S>(x + i, m), shift)), S::zero());
      Operands::put(out + i, e, m);
      return S::add(sum, e);
    });
  }

  // Rows [row, row + rows) of q, scaled, side by side.
  static void load_queries(const AttentionCall& call, const Layout& layout, std::size_t row, std::size_t rows,
                           Row* q) noexcept {
    const Vec scale = S::set(call.scale * kLog2E);
    for (std::size_t r = 0; r < rows; ++r) {
      const float* from = call.q_row(row + r);
      for_vectors<S>(call.head_dim, [&](std::size_t d, auto m) {
        Operands::put(q + r * layout.head_dim * kRowsPerFloat + d, S::mul(load<S>(from + d, m), scale), m);
      });
      Operands::pad(q + r * layout.head_dim * kRowsPerFloat, call.head_dim);
    }
  }

  // out := (before · decay + now) · scale over one row; before may be null.
  struct Blend {
    const float* before;
    const float* now;
    float decay, scale;
  };
  static void blend(const Blend& b, std::size_t count, float* out) noexcept {
    const Vec decay = S::set(b.decay), scale = S::set(b.scale);
    for_vectors<S>(count, [&](std::size_t d, auto m) {
      Vec x = load<S>(b.now + d, m);
      if (b.before != nullptr) x = S::fma(load<S>(b.before + d, m), decay, x);
      store<S>(out + d, S::mul(x, scale), m);
    });
  }

  struct Block {
    std::size_t first, keys;
    bool last;
  };

  // The keys of the block that row `row` of the call sees, counted from the block's first: [begin, end).
  struct Range {
    std::size_t begin, end;
  };
  static Range seen(const AttentionCall& call, const Block& block, std::size_t row) noexcept {
    const std::size_t at = row / call.group + call.query_offset;
    const std::size_t begin = at > call.window + block.first ? at - call.window - block.first : 0;
    const std::size_t last = at + (call.causal ? 0 : call.window) + 1;  // of all keys, one past the last
    const std::size_t end = last > block.first ? last - block.first : 0;
    return {.begin = begin, .end = end < block.keys ? end : block.keys};
  }

  // Turns the scores of one row into weights, powers of two, and updates the running maximum and sum. Returns
  // the factor by which the row's result so far is to be scaled down.
  static float weigh(const AttentionCall& call, const Layout& layout, const Block& block, std::size_t row,
                     std::size_t keys, float* scores, float* scratch) noexcept {
    float& max = scratch[layout.maxima + row];
    float& sum = scratch[layout.sums + row];
    const Range range = seen(call, block, row);
    auto* weights = reinterpret_cast<Row*>(scores);
    const auto clear = [&](std::size_t begin, std::size_t end) {
      for_vectors<S>(end - begin,
                     [&](std::size_t j, auto m) { Operands::put(weights + begin + j, S::zero(), m); });
    };
    if (range.begin >= range.end) {
      clear(0, keys);
      if (block.first > 0) return 1;
      max = -3e38F;  // below any score, and finite, so that the difference of two is not NaN
      sum = 0;
      return 0;
    }
    float* x = scores + range.begin;
    const std::size_t count = range.end - range.begin;
    if (call.bias != nullptr) {
      const float* bias = call.bias_row(row) + block.first + range.begin;
      const Vec factor = S::set(kLog2E);
      for_vectors<S>(count, [&](std::size_t j, auto m) {
        store<S>(x + j, S::fma(load<S>(bias + j, m), factor, load<S>(x + j, m)), m);
      });
    }
    float new_max = Elementwise<S>::maximum(x, count);
    float decay = 0;
    if (block.first > 0) {
      if (new_max < max) new_max = max;
      decay = power(max - new_max);
    }
    const float block_sum = powers(x, count, new_max, weights + range.begin);
    // Only now, because the weights of these keys overwrite scores of others.
    clear(0, range.begin);
    clear(range.end, keys);
    sum = block.first > 0 ? sum * decay + block_sum : block_sum;
    max = new_max;
    return decay;
  }

  // A tile of query rows; none of them sees more than the first `keys` keys of the block.
  struct Rows {
    std::size_t first, count, keys;
  };

  static KvProduct paged(const AttentionCall& call, const Block& block, const Rows& rows) noexcept {
    const std::size_t page = block.first / kPageTokens;
    return {.pages = call.pages->pages + page,
            .pages_left = (call.keys + kPageTokens - 1) / kPageTokens - page,
            .offset = call.pages->offset,
            .layout = {.head_dim = call.head_dim, .type = call.pages->type},
            .tokens = rows.keys};
  }

  // scores = q Kᵀ
  static void multiply_keys(const AttentionCall& call, const Layout& layout, const Block& block,
                            const Rows& rows, float* scratch) noexcept {
    if constexpr (Operands::kReadsPages) {
      if (call.pages != nullptr) {
        KvProduct product = paged(call, block, rows);
        product.a = scratch + layout.q;
        product.lda = layout.head_dim;
        product.out = scratch + layout.scores;
        product.out_stride = layout.score_stride;
        return paged_keys<S>(product, rows.count);
      }
    }
    multiply_panels({.a = reinterpret_cast<const Row*>(scratch + layout.q),
                     .b = reinterpret_cast<const Column*>(scratch + layout.k),
                     .next = nullptr,
                     .out = scratch + layout.scores,
                     .lda = layout.head_dim * kRowsPerFloat,
                     .panel_stride = panel_size(call.head_dim),
                     .steps = steps(call.head_dim),
                     .out_stride = layout.score_stride},
                    rows.count, round_up(rows.keys) / kPanelColumns);
  }

  // products = weights V
  static void multiply_values(const AttentionCall& call, const Layout& layout, const Block& block,
                              const Rows& rows, float* scratch) noexcept {
    if constexpr (Operands::kReadsPages) {
      if (call.pages != nullptr) {
        KvProduct product = paged(call, block, rows);
        product.a = scratch + layout.scores;
        product.lda = layout.score_stride;
        product.out = scratch + layout.products;
        product.out_stride = layout.head_dim;
        return paged_values<S>(product, rows.count);
      }
    }
    multiply_panels({.a = reinterpret_cast<const Row*>(scratch + layout.scores),
                     .b = reinterpret_cast<const Column*>(scratch + layout.v),
                     .next = nullptr,
                     .out = scratch + layout.products,
                     .lda = layout.score_stride * kRowsPerFloat,
                     .panel_stride = panel_size(block.keys),
                     .steps = steps(rows.keys),
                     .out_stride = layout.head_dim},
                    rows.count, layout.head_dim / kPanelColumns);
  }

  // Query rows [row, row + count), count <= kRows, against one block.
  static void attend(const AttentionCall& call, const Layout& layout, const Block& block, std::size_t row,
                     std::size_t count, float* scratch) noexcept {
    const Rows rows{.first = row, .count = count, .keys = seen(call, block, row + count - 1).end};
    load_queries(call, layout, row, count, reinterpret_cast<Row*>(scratch + layout.q));
    multiply_keys(call, layout, block, rows, scratch);
    float decay[kRows];
    for (std::size_t r = 0; r < count; ++r) {
      float* scores = scratch + layout.scores + r * layout.score_stride;
      decay[r] = weigh(call, layout, block, row + r, rows.keys, scores, scratch);
      Operands::pad(reinterpret_cast<Row*>(scores), rows.keys);
    }
    multiply_values(call, layout, block, rows, scratch);
    for (std::size_t r = 0; r < count; ++r) {
      float* running = scratch + layout.outputs + (row + r) * layout.head_dim;
      blend({.before = block.first > 0 ? running : nullptr,
             .now = scratch + layout.products + r * layout.head_dim,
             .decay = decay[r],
             .scale = block.last ? 1 / scratch[layout.sums + row + r] : 1},
            call.head_dim, block.last ? call.out_row(row + r) : running);
    }
  }

  static void run(const AttentionCall& call, float* scratch) noexcept {
    assert(call.queries >= 1 && call.keys >= 1 && call.head_dim >= 1);
    assert(call.pages != nullptr ? Operands::kReadsPages : call.kv_stride >= call.head_dim);
    assert(call.q_stride >= call.group * call.head_dim && call.out_stride >= call.group * call.head_dim);
    const std::size_t all = call.rows(), tiles = (all + kRows - 1) / kRows;
    const Layout layout(all, call.keys, call.head_dim);
    for (std::size_t first = 0; first < call.keys; first += kKeyBlock) {
      const std::size_t left = call.keys - first;
      const Block block{
          .first = first, .keys = left < kKeyBlock ? left : kKeyBlock, .last = left <= kKeyBlock};
      if (call.pages == nullptr) pack_block(call, layout, block.first, block.keys, scratch);
      for (std::size_t t = 0; t < tiles; ++t) {
        const std::size_t row = all * t / tiles;
        attend(call, layout, block, row, all * (t + 1) / tiles - row, scratch);
      }
    }
  }
};

}  // namespace kvasir::kernels
