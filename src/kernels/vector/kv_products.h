// The two products of attention with keys and values that lie in pages. They become floats as they are
// loaded, so that memory is read once, in the stored size; each element of a result is one chain of fused
// multiply-adds in the order of k, as in tile.h.
#pragma once

#include <cstddef>

#include "kernels/fp32.h"
#include "kernels/vector/kv_page.h"
#include "kernels/vector/tile.h"

namespace kvasir::kernels {

// Some rows times the keys of a block, or the weights of keys times its values.
struct KvProduct {
  const float* a = nullptr;                 // first row; rows lda floats apart
  const std::byte* const* pages = nullptr;  // from the block's first on
  std::size_t pages_left = 0;               // of the sequence, from there
  std::size_t offset = 0;                   // of the head's part in each
  KvLayout layout{};
  std::size_t tokens = 0;  // of the block
  float* out = nullptr;    // of the first row; rows out_stride apart
  std::size_t lda = 0, out_stride = 0;
};

template <class S, KvType kType>
struct KvProducts {
  using Vec = typename S::Vec;
  using Numbers = KvNumbers<S, kType>;
  static constexpr std::size_t kVectors = kPanelColumns / S::kLanes;         // of one step of a panel
  static constexpr std::size_t kStep = kPanelColumns * Numbers::kSize;       // bytes
  static constexpr std::size_t kStepsPerLine = kStep < 64 ? 64 / kStep : 1;  // of the cache
  // Prefetching is this many pages ahead. A head's parts of the pages are too short and too far apart for the
  // processor to prefetch them.
  static constexpr std::size_t kAhead = 8;

  static std::size_t count_pages(const KvProduct& call) noexcept {  // of the block
    return (call.tokens + kPageTokens - 1) / kPageTokens;
  }
  static const std::byte* keys(const KvProduct& call, std::size_t page) noexcept {
    return call.pages[page] + call.offset;
  }
  static const std::byte* values(const KvProduct& call, std::size_t page) noexcept {
    return keys(call, page) + call.layout.values();
  }
  // What is read `page` pages after the first keys of the block, or after its first values: the keys are
  // followed by the values, these by the keys of the next block, and finally by those of the next head.
  static const std::byte* keys_or_next(const KvProduct& call, std::size_t page) noexcept {
    const std::size_t count = count_pages(call);
    return page < count ? keys(call, page) : values(call, (page - count) % count);
  }
  static const std::byte* values_or_next(const KvProduct& call, std::size_t page) noexcept {
    if (page < count_pages(call)) return values(call, page);
    return page < call.pages_left
               ? keys(call, page)
               : keys(call, (page - call.pages_left) % call.pages_left) + call.layout.bytes();
  }

  template <std::size_t R, std::size_t P>
  using Sums = Vec[R][P * kVectors];
  template <std::size_t R, std::size_t P>
  static inline __attribute__((always_inline)) void clear(Sums<R, P>& sums) noexcept {
    unroll<R>([&](auto r) { unroll<P * kVectors>([&](auto v) { sums[r][v] = S::zero(); }); });
  }
  template <std::size_t R, std::size_t P>
  static inline __attribute__((always_inline)) void store(const Sums<R, P>& sums, float* out,
                                                          std::size_t stride) noexcept {
    unroll<R>([&](auto r) {
      unroll<P * kVectors>([&](auto v) { S::store(out + r * stride + v * S::kLanes, sums[r][v]); });
    });
  }

  // Adds the steps of k from `begin` to `end` of P panels, whose vector v is column(v, step); prefetches the
  // same steps of the panels at `ahead`.
  template <std::size_t R, std::size_t P, class Column>
  static inline __attribute__((always_inline)) void add(RowPointers<float, R>& rows, RowRange steps,
                                                        const std::byte* const (&ahead)[P], Sums<R, P>& sums,
                                                        const Column& column) noexcept {
    const auto one = [&](std::size_t step) __attribute__((always_inline)) {
      Vec x[P * kVectors];
      unroll<P * kVectors>([&](auto v) __attribute__((always_inline)) { x[v] = column(v, step); });
      unroll<R>([&](auto r) {
        const Vec element = S::set(*rows.at(r));
        unroll<P * kVectors>([&](auto v) { sums[r][v] = S::fma(element, x[v], sums[r][v]); });
      });
      rows.advance(1);
    };
    std::size_t step = steps.begin;
    for (; step + kStepsPerLine <= steps.end; step += kStepsPerLine) {
      unroll<P>([&](auto p) { __builtin_prefetch(ahead[p] + step * kStep); });
      for (std::size_t i = 0; i < kStepsPerLine; ++i) one(step + i);
    }
    for (; step < steps.end; ++step) one(step);
  }

  // R rows times the keys of P pages.
  template <std::size_t R, std::size_t P>
  static void keys_tile(const KvProduct& call, std::size_t page) noexcept {
    const std::byte *panels[P], *ahead[P];
    unroll<P>([&](auto p) {
      panels[p] = keys(call, page + p);
      ahead[p] = keys_or_next(call, page + p + kAhead);
    });
    Sums<R, P> sums;
    clear<R, P>(sums);
    RowPointers<float, R> rows(call.a, call.lda);
    const std::size_t head_dim = call.layout.head_dim;
    for (std::size_t d = 0; d < head_dim; d += kKvBlock) {
      Vec scales[P * kVectors];
      if constexpr (Numbers::kScaled) {
        unroll<P * kVectors>([&](auto v) {
          const std::size_t at = d / kKvBlock * kPageTokens + v % kVectors * S::kLanes;
          scales[v] =
              S::load_bfloat16(panels[v / kVectors] + call.layout.key_scales() + at * sizeof(std::uint16_t));
        });
      }
      const RowRange steps{.begin = d, .end = d + kKvBlock < head_dim ? d + kKvBlock : head_dim};
      add<R, P>(
          rows, steps, ahead, sums, [&](auto v, std::size_t step) __attribute__((always_inline)) {
            const Vec x = Numbers::load(panels[v / kVectors] + step * kStep +
                                        v % kVectors * S::kLanes * Numbers::kSize);
            if constexpr (Numbers::kScaled) return S::mul(x, scales[v]);
            return x;
          });
    }
    store<R, P>(sums, call.out + page * kPageTokens, call.out_stride);
  }

  // R rows times P panels of values, those of all pages.
  template <std::size_t R, std::size_t P>
  static void values_tile(const KvProduct& call, std::size_t panel) noexcept {
    constexpr std::size_t kPanelBytes = kPageTokens * kStep;
    constexpr std::size_t kPerBlock = kKvBlock / kPanelColumns;  // panels that share scales
    Sums<R, P> sums;
    clear<R, P>(sums);
    RowPointers<float, R> rows(call.a, call.lda);
    for (std::size_t page = 0; page < count_pages(call); ++page) {
      const std::byte *panels[P], *ahead[P];
      alignas(64) float scales[P][kPageTokens];  // of each panel's tokens
      unroll<P>([&](auto p) {
        panels[p] = values(call, page) + (panel + p) * kPanelBytes;
        ahead[p] = values_or_next(call, page + kAhead) + (panel + p) * kPanelBytes;
        if constexpr (Numbers::kScaled) {
          const std::byte* from = keys(call, page) + call.layout.value_scales() +
                                  (panel + p) / kPerBlock * kPageTokens * sizeof(std::uint16_t);
          for (std::size_t j = 0; j < kPageTokens; j += S::kLanes) {
            S::store(scales[p] + j, S::load_bfloat16(from + j * sizeof(std::uint16_t)));
          }
        }
      });
      const std::size_t left = call.tokens - page * kPageTokens;
      const RowRange steps{.begin = 0, .end = left < kPageTokens ? left : kPageTokens};
      add<R, P>(
          rows, steps, ahead, sums, [&](auto v, std::size_t step) __attribute__((always_inline)) {
            const Vec x = Numbers::load(panels[v / kVectors] + step * kStep +
                                        v % kVectors * S::kLanes * Numbers::kSize);
            if constexpr (Numbers::kScaled) return S::mul(x, S::set(scales[v / kVectors][step]));
            return x;
          });
    }
    store<R, P>(sums, call.out + panel * kPanelColumns, call.out_stride);
  }

  // Tiles of P pages or panels from `first` to `count`, then of half as many, and so on.
  template <std::size_t R, std::size_t P, bool kKeys>
  static void tiles(const KvProduct& call, std::size_t first, std::size_t count) noexcept {
    for (; first + P <= count; first += P) {
      if constexpr (kKeys) {
        keys_tile<R, P>(call, first);
      } else {
        values_tile<R, P>(call, first);
      }
    }
    if constexpr (P > 1) tiles<R, P / 2, kKeys>(call, first, count);
  }
  // The tile for a number of rows. There is not one for every number, because each is three or four functions
  // for each type; a tile with more rows than needed computes some that are not used.
  static constexpr std::size_t fewer_rows(std::size_t rows) noexcept {
    return rows > 8 ? 8 : rows > 6 ? 6 : rows > 4 ? 4 : rows - 1;
  }
  // Four sums suffice to keep up with memory.
  static constexpr std::size_t most_panels(std::size_t rows) noexcept {
    const std::size_t panels = tile_panels<Fp32<S>>(rows);
    return panels < 4 ? panels : 4;
  }
  template <std::size_t R, bool kKeys>
  static void multiply_rows(std::size_t rows, const KvProduct& call) noexcept {
    if constexpr (R > 1) {
      if (rows <= fewer_rows(R)) return multiply_rows<fewer_rows(R), kKeys>(rows, call);
    }
    const std::size_t count =
        kKeys ? count_pages(call) : (call.layout.head_dim + kPanelColumns - 1) / kPanelColumns;
    tiles<R, most_panels(R), kKeys>(call, 0, count);
  }
};

// out[rows, tokens] = a[rows, head_dim] · keysᵀ; here and below rows <= S::kTileRows, and a and out have
// memory for kTileRows rows. Scores of a last page that is not full are whatever lies there.
template <class S>
void paged_keys(const KvProduct& call, std::size_t rows) noexcept {
  switch (call.layout.type) {
    case KvType::kF32:
      return KvProducts<S, KvType::kF32>::template multiply_rows<S::kTileRows, true>(rows, call);
    case KvType::kF16:
      return KvProducts<S, KvType::kF16>::template multiply_rows<S::kTileRows, true>(rows, call);
    case KvType::kQ8_0:
      return KvProducts<S, KvType::kQ8_0>::template multiply_rows<S::kTileRows, true>(rows, call);
  }
}
// out[rows, head_dim] = a[rows, tokens] · values, in whole panels.
template <class S>
void paged_values(const KvProduct& call, std::size_t rows) noexcept {
  switch (call.layout.type) {
    case KvType::kF32:
      return KvProducts<S, KvType::kF32>::template multiply_rows<S::kTileRows, false>(rows, call);
    case KvType::kF16:
      return KvProducts<S, KvType::kF16>::template multiply_rows<S::kTileRows, false>(rows, call);
    case KvType::kQ8_0:
      return KvProducts<S, KvType::kQ8_0>::template multiply_rows<S::kTileRows, false>(rows, call);
  }
}

}  // namespace kvasir::kernels
