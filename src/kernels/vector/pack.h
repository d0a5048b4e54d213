// Panels of 16 columns from the rows of a matrix.
#pragma once

#include <immintrin.h>

#include <cassert>
#include <cstddef>

#include "kernels/fp32.h"

namespace kvasir::kernels {

// out[j · out_stride + i] = in[i · in_stride + j] for i, j < 8. Both vector sets have 256-bit shuffles.
template <class S>
inline void transpose8(const float* in, std::size_t in_stride, float* out, std::size_t out_stride) noexcept {
  __m256 row[8];
  for (std::size_t i = 0; i < 8; ++i) row[i] = _mm256_loadu_ps(in + i * in_stride);
  __m256 pair[8];  // of rows, interleaved
  for (std::size_t i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
  }
  __m256 quad[8];  // of rows: columns 0 1 2 3 in the lower half, 4 5 6 7 in the upper
  for (std::size_t i = 0; i < 8; i += 4) {
    quad[i] = _mm256_shuffle_ps(pair[i], pair[i + 2], _MM_SHUFFLE(1, 0, 1, 0));
    quad[i + 1] = _mm256_shuffle_ps(pair[i], pair[i + 2], _MM_SHUFFLE(3, 2, 3, 2));
    quad[i + 2] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], _MM_SHUFFLE(1, 0, 1, 0));
    quad[i + 3] = _mm256_shuffle_ps(pair[i + 1], pair[i + 3], _MM_SHUFFLE(3, 2, 3, 2));
  }
  for (std::size_t j = 0; j < 4; ++j) {
    _mm256_storeu_ps(out + j * out_stride, _mm256_permute2f128_ps(quad[j], quad[j + 4], 0x20));
    _mm256_storeu_ps(out + (j + 4) * out_stride, _mm256_permute2f128_ps(quad[j], quad[j + 4], 0x31));
  }
}

// One panel [k][16] of `columns` <= 16 rows of k floats, rows `stride` apart; the rest is zero.
template <class S>
inline void pack_panel(const float* rows, std::size_t stride, std::size_t columns, std::size_t k,
                       float* panel) noexcept {
  const std::size_t whole = columns / 8 * 8;
  const std::size_t squares = k / 8 * 8;
  for (std::size_t kk = 0; kk < squares; kk += 8) {
    for (std::size_t j = 0; j < whole; j += 8) {
      transpose8<S>(rows + j * stride + kk, stride, panel + kk * kPanelColumns + j, kPanelColumns);
    }
  }
  for (std::size_t j = 0; j < kPanelColumns; ++j) {
    for (std::size_t kk = j < whole ? squares : 0; kk < k; ++kk) {
      panel[kk * kPanelColumns + j] = j < columns ? rows[j * stride + kk] : 0;
    }
  }
}

template <class S>
void pack_rows(const float* w, RowRange range, PackedMatrix& packed) noexcept {
  assert(w != nullptr && range.begin % kPanelColumns == 0);
  assert(range.end == packed.n || (range.end < packed.n && range.end % kPanelColumns == 0));
  const std::size_t k = packed.k;
  for (std::size_t row = range.begin; row < range.end; row += kPanelColumns) {
    const std::size_t columns = range.end - row < kPanelColumns ? range.end - row : kPanelColumns;
    pack_panel<S>(w + (row - range.begin) * k, k, columns, k, packed.data.data() + row * k);
  }
}

}  // namespace kvasir::kernels
