#include "tensor/round_to_quants.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tensor/quants.h"

namespace kvasir::tensor {

namespace {

template <std::size_t N>
using Numbers = std::array<float, N>;

// To the nearest whole number, for |x| < 2^22: adding 1.5 · 2^23 leaves no bits for a fraction. Unlike
// std::nearbyint it compiles to vectors.
inline float round_near(float x) noexcept {
  constexpr float kShift = 0x1.8p23F;
  return (x + kShift) - kShift;
}

inline float to_level(float x, float least, float most) noexcept {
  return round_near(std::clamp(x, least, most));
}

std::uint16_t to_half(float x) noexcept {
  constexpr float kLargest = 65504;
  return float_to_half(std::clamp(x, -kLargest, kLargest));
}

float as_half(float x) noexcept {
  return half_to_float(to_half(x));
}

// The reciprocal of a scale; 0 for a scale of 0, with which all levels are the same value.
float inverse(float scale) noexcept {
  return std::abs(scale) > 1e-30F ? 1 / scale : 0;
}

// The best d found for x = d n, n in [-levels, levels - 1]. The level of the largest |x| is tried in steps of
// an eighth: a little beyond the last level, that one element is off, but all others are finer. (Q4_0 of
// normal numbers: 6 % less error than with the largest exactly on the last level.)
template <std::size_t N>
float fit_scale(const float* x, float levels) noexcept {
  float extreme = 0;
  for (std::size_t i = 0; i < N; ++i) extreme = std::abs(x[i]) > std::abs(extreme) ? x[i] : extreme;
  if (!(std::abs(extreme) > 1e-30F)) return 0;
  float best = -1, scale = 0;
  const auto attempt = [&](float last) {  // the level of the extreme, not a whole number
    const float by = last / extreme;
    float xn = 0, nn = 0;
    for (std::size_t i = 0; i < N; ++i) {
      const float n = to_level(x[i] * by, -levels, levels - 1);
      xn += x[i] * n;
      nn += n * n;
    }
    // The error is Σ x² minus this.
    if (nn > 0 && xn * xn > best * nn) {
      best = xn * xn / nn;
      scale = xn / nn;
    }
  };
  for (int step = -12; step <= 12; ++step) {
    attempt(-levels + static_cast<float>(step) / 8);
    if (levels < 32) attempt(levels - 1 + static_cast<float>(step) / 8);
  }
  return scale;
}

// x = d n + m, n in [0, most].
struct Affine {
  float d = 0, m = 0;
};
template <std::size_t N>
struct AffineSums {
  float x = 0, n = 0, xn = 0, nn = 0;

  void add(const float* values, float by, float from, float most) noexcept {
    for (std::size_t i = 0; i < N; ++i) {
      const float level = to_level((values[i] - from) * by, 0, most);
      x += values[i];
      n += level;
      xn += values[i] * level;
      nn += level * level;
    }
  }
  // The best d and m for these levels, with m at most 0 if required.
  Affine solve(bool not_above) const noexcept {
    constexpr auto kCount = static_cast<float>(N);
    const float determinant = kCount * nn - n * n;
    Affine result{0, x / kCount};  // all levels are the same
    if (determinant > 0) result = {(kCount * xn - x * n) / determinant, (x * nn - n * xn) / determinant};
    if (not_above && result.m > 0) result = {nn > 0 ? xn / nn : 0, 0};
    return result;
  }
  // The error minus Σ x².
  float error(const Affine& fit) const noexcept {
    return fit.d * (fit.d * nn + 2 * fit.m * n - 2 * xn) + fit.m * (static_cast<float>(N) * fit.m - 2 * x);
  }
};

template <std::size_t N>
Affine fit_affine(const float* x, float most, bool not_above) noexcept {
  float least = x[0], largest = x[0];
  for (std::size_t i = 1; i < N; ++i) {
    least = std::min(least, x[i]);
    largest = std::max(largest, x[i]);
  }
  if (not_above) least = std::min(least, 0.0F);
  Affine best{0, least};
  if (!(largest - least > 1e-30F)) return best;
  float best_error = INFINITY;
  const auto attempt = [&](float by, float from) {
    AffineSums<N> sums;
    sums.add(x, by, from, most);
    const Affine fit = sums.solve(not_above);
    if (const float error = sums.error(fit); error < best_error && fit.d > 0) {
      best_error = error;
      best = fit;
      return true;
    }
    return false;
  };
  // Both ends may go beyond the levels: the loops try by which part of a level in all, and at which end.
  // (Q4_K of normal numbers: steps of an eighth instead of three reduce the error by 0.1 %, and take twice as
  // long.)
  const float width = largest - least;
  for (int step = -2; step <= 10; step += 3) {
    const float levels = most + static_cast<float>(step) / 8, cut = width * (levels - most) / levels;
    for (const float share : {0.0F, 0.5F, 1.0F}) {
      if (share > 0 && step <= 0) break;
      const float from = least + cut * share;
      attempt(levels / width, not_above ? std::min(from, 0.0F) : from);
    }
  }
  while (attempt(inverse(best.d), best.m)) {
  }
  return best;
}

void set_nibbles(const float* n, std::uint8_t* q, std::size_t count) noexcept {
  for (std::size_t j = 0; j < count; ++j) {
    q[j] = static_cast<std::uint8_t>(static_cast<int>(n[j]) & 15) |
           static_cast<std::uint8_t>(static_cast<int>(n[j + count]) << 4);
  }
}

// The fifth bits of 32 levels.
void set_high_bits(const float* n, std::uint8_t (&h)[4]) noexcept {
  for (std::size_t j = 0; j < kQuantElements; ++j) {
    if (j % 8 == 0) h[j / 8] = 0;
    h[j / 8] = static_cast<std::uint8_t>(h[j / 8] | (static_cast<int>(n[j]) >> 4 & 1) << (j % 8));
  }
}

// The levels of a quant for the scale that is stored, which rounding to binary16 has changed a little.
Numbers<kQuantElements> levels_of(const float* x, const Affine& stored, float most) noexcept {
  const float by = inverse(stored.d);
  Numbers<kQuantElements> n;
  for (std::size_t j = 0; j < kQuantElements; ++j) n[j] = to_level((x[j] - stored.m) * by, 0, most);
  return n;
}

void write(const float* x, QuantQ8_0& b) noexcept {
  float largest = 0;
  for (std::size_t j = 0; j < kQuantElements; ++j) largest = std::max(largest, std::abs(x[j]));
  b.d = to_half(largest / 127);
  const float by = inverse(half_to_float(b.d));
  for (std::size_t j = 0; j < kQuantElements; ++j)
    b.q[j] = static_cast<std::int8_t>(to_level(x[j] * by, -127, 127));
}

// x = d (n - levels) is x = d n + m with m = -levels d.
Numbers<kQuantElements> symmetric(const float* x, float levels, std::uint16_t& d) noexcept {
  d = to_half(fit_scale<kQuantElements>(x, levels));
  const float stored = half_to_float(d);
  Numbers<kQuantElements> n;
  const float by = inverse(stored);
  for (std::size_t j = 0; j < kQuantElements; ++j) n[j] = to_level(x[j] * by, -levels, levels - 1) + levels;
  return n;
}
void write(const float* x, QuantQ4_0& b) noexcept {
  set_nibbles(symmetric(x, 8, b.d).data(), b.q, sizeof b.q);
}
void write(const float* x, QuantQ5_0& b) noexcept {
  const Numbers<kQuantElements> n = symmetric(x, 16, b.d);
  set_high_bits(n.data(), b.h);
  set_nibbles(n.data(), b.q, sizeof b.q);
}

Numbers<kQuantElements> affine(const float* x, float most, std::uint16_t& d, std::uint16_t& m) noexcept {
  const Affine fit = fit_affine<kQuantElements>(x, most, false);
  d = to_half(fit.d);
  m = to_half(fit.m);
  return levels_of(x, {half_to_float(d), half_to_float(m)}, most);
}
void write(const float* x, QuantQ4_1& b) noexcept {
  set_nibbles(affine(x, 15, b.d, b.m).data(), b.q, sizeof b.q);
}
void write(const float* x, QuantQ5_1& b) noexcept {
  const Numbers<kQuantElements> n = affine(x, 31, b.d, b.m);
  set_high_bits(n.data(), b.h);
  set_nibbles(n.data(), b.q, sizeof b.q);
}

// The levels of 256 elements whose parts of 32 or 16 have scales of their own, which are whole multiples of
// the quant's. `unit` is what level 1 stands for, `offset` level 0.
struct SuperQuant {
  float d = 0, dmin = 0;
  std::array<int, 16> scales{}, minimums{};
  Numbers<kSuperQuantElements> levels{};
  double error = INFINITY;
};

// Q4_K. Chooses, for one part of 32 and given d and dmin, the scale and the minimum of 6 bits with the least
// error, near those that fit best.
void choose_part(const float* x, const Affine& fit, std::size_t part, SuperQuant& quant) noexcept {
  const int scale = static_cast<int>(round_near(std::min(fit.d * inverse(quant.d), 63.0F)));
  const int minimum = static_cast<int>(round_near(std::min(-fit.m * inverse(quant.dmin), 63.0F)));
  float best = INFINITY;
  for (int s = std::max(scale - 1, 0); s <= std::min(scale + 1, 63); ++s) {
    for (int m = std::max(minimum - 1, 0); m <= std::min(minimum + 1, 63); ++m) {
      if (s != scale && m != minimum) continue;
      const float unit = quant.d * static_cast<float>(s), offset = quant.dmin * static_cast<float>(m);
      const float by = inverse(unit);
      float error = 0;
      for (std::size_t i = 0; i < kQuantElements; ++i) {
        const float n = to_level((x[i] + offset) * by, 0, 15), off = unit * n - offset - x[i];
        error += off * off;
      }
      if (error >= best) continue;
      best = error;
      quant.scales[part] = s;
      quant.minimums[part] = m;
    }
  }
  const float unit = quant.d * static_cast<float>(quant.scales[part]),
              offset = quant.dmin * static_cast<float>(quant.minimums[part]), by = inverse(unit);
  for (std::size_t i = 0; i < kQuantElements; ++i) {
    quant.levels[part * kQuantElements + i] = to_level((x[i] + offset) * by, 0, 15);
  }
  quant.error += static_cast<double>(best);
}

// The best d and dmin for scales, minimums and levels as they are: least squares of x = d (s n) - dmin m.
void refit(const float* x, SuperQuant& quant) noexcept {
  double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
  for (std::size_t part = 0; part < 8; ++part) {
    const auto s = static_cast<double>(quant.scales[part]), m = static_cast<double>(quant.minimums[part]);
    double n = 0, nn = 0, xn = 0, sum = 0;
    for (std::size_t i = part * kQuantElements; i < (part + 1) * kQuantElements; ++i) {
      const auto level = static_cast<double>(quant.levels[i]), value = static_cast<double>(x[i]);
      n += level;
      nn += level * level;
      xn += value * level;
      sum += value;
    }
    aa += s * s * nn;
    ab -= s * m * n;
    bb += m * m * kQuantElements;
    ax += s * xn;
    bx -= m * sum;
  }
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-12 * aa * bb && bb > 0) {
    const double d = (ax * bb - bx * ab) / determinant, dmin = (bx * aa - ax * ab) / determinant;
    if (d > 0 && dmin >= 0) {
      quant.d = static_cast<float>(d);
      quant.dmin = static_cast<float>(dmin);
    }
  } else if (aa > 0 && ax > 0) {
    quant.d = static_cast<float>(ax / aa);
  }
}

void set_scales(const SuperQuant& quant, std::uint8_t (&scales)[12]) noexcept {
  for (std::size_t t = 0; t < 4; ++t) {
    const int s = quant.scales[t], m = quant.minimums[t], s4 = quant.scales[t + 4],
              m4 = quant.minimums[t + 4];
    scales[t] = static_cast<std::uint8_t>(s | s4 >> 4 << 6);
    scales[t + 4] = static_cast<std::uint8_t>(m | m4 >> 4 << 6);
    scales[t + 8] = static_cast<std::uint8_t>((s4 & 15) | (m4 & 15) << 4);
  }
}

// How often the scales of the parts and of the quant are adapted to each other. A third time reduces the
// error of normal numbers by less than 0.1 %.
constexpr int kRounds = 2;

void write(const float* x, QuantQ4_K& b) noexcept {
  std::array<Affine, 8> fits;
  float scale = 0, minimum = 0;
  for (std::size_t part = 0; part < 8; ++part) {
    fits[part] = fit_affine<kQuantElements>(x + part * kQuantElements, 15, true);
    scale = std::max(scale, fits[part].d);
    minimum = std::max(minimum, -fits[part].m);
  }
  SuperQuant quant, best;
  quant.d = scale / 63;
  quant.dmin = minimum / 63;
  for (int round = 0; round < kRounds; ++round) {
    quant.d = as_half(quant.d);
    quant.dmin = as_half(quant.dmin);
    quant.error = 0;
    for (std::size_t part = 0; part < 8; ++part)
      choose_part(x + part * kQuantElements, fits[part], part, quant);
    if (quant.error < best.error) best = quant;
    refit(x, quant);
  }
  b.d = to_half(best.d);
  b.dmin = to_half(best.dmin);
  set_scales(best, b.scales);
  for (std::size_t pair = 0; pair < 4; ++pair)
    set_nibbles(best.levels.data() + 64 * pair, b.q + 32 * pair, 32);
}

constexpr std::size_t kSixteen = 16;

// Q6_K. Chooses, for one part of 16 and a given d, the scale of 8 bits with the least error, near the one
// that fits best.
void choose_part(const float* x, float fit, std::size_t part, SuperQuant& quant) noexcept {
  const auto scale = static_cast<int>(to_level(fit * inverse(quant.d), -128, 127));
  float best = INFINITY;
  for (int s = std::max(scale - 1, -128); s <= std::min(scale + 1, 127); ++s) {
    const float unit = quant.d * static_cast<float>(s), by = inverse(unit);
    Numbers<kSixteen> n;
    float error = 0;
    for (std::size_t i = 0; i < kSixteen; ++i) {
      n[i] = to_level(x[i] * by, -32, 31);
      const float off = unit * n[i] - x[i];
      error += off * off;
    }
    if (error >= best) continue;
    best = error;
    quant.scales[part] = s;
    std::ranges::copy(n, quant.levels.begin() + static_cast<std::ptrdiff_t>(part * kSixteen));
  }
  quant.error += static_cast<double>(best);
}

void refit_six(const float* x, SuperQuant& quant) noexcept {
  double xa = 0, aa = 0;
  for (std::size_t i = 0; i < kSuperQuantElements; ++i) {
    const double a = static_cast<double>(quant.scales[i / kSixteen]) * static_cast<double>(quant.levels[i]);
    xa += static_cast<double>(x[i]) * a;
    aa += a * a;
  }
  if (aa > 0) quant.d = static_cast<float>(xa / aa);
}

void write(const float* x, QuantQ6_K& b) noexcept {
  Numbers<kSixteen> fits;
  float extreme = 0;
  for (std::size_t part = 0; part < kSixteen; ++part) {
    fits[part] = fit_scale<kSixteen>(x + part * kSixteen, 32);
    if (std::abs(fits[part]) > std::abs(extreme)) extreme = fits[part];
  }
  SuperQuant quant, best;
  quant.d = extreme / -128;
  for (int round = 0; round < kRounds; ++round) {
    quant.d = as_half(quant.d);
    quant.error = 0;
    for (std::size_t part = 0; part < kSixteen; ++part) {
      choose_part(x + part * kSixteen, fits[part], part, quant);
    }
    if (quant.error < best.error) best = quant;
    refit_six(x, quant);
  }
  b = {};
  b.d = to_half(best.d);
  for (std::size_t e = 0; e < kSuperQuantElements; ++e) {
    const auto v = static_cast<unsigned>(static_cast<int>(best.levels[e]) + 32);
    const std::size_t half = e / 128, quarter = e % 128 / 32, l = e % 32;
    std::uint8_t& low = b.ql[64 * half + 32 * (quarter & 1) + l];
    std::uint8_t& high = b.qh[32 * half + l];
    low = static_cast<std::uint8_t>(low | (v & 15) << (quarter >= 2 ? 4 : 0));
    high = static_cast<std::uint8_t>(high | v >> 4 << (2 * quarter));
    b.scales[e / kSixteen] = static_cast<std::int8_t>(best.scales[e / kSixteen]);
  }
}

template <class Quant>
void write_all(std::span<const float> values, std::size_t quant_elements, std::byte* quants) noexcept {
  assert(values.size() % quant_elements == 0);
  for (std::size_t first = 0; first < values.size(); first += quant_elements, quants += sizeof(Quant)) {
    Quant quant;
    write(values.data() + first, quant);
    std::memcpy(quants, &quant, sizeof quant);
  }
}

}  // namespace

bool can_round_to_quants(DType dtype) noexcept {
  switch (dtype) {
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ6_K:
      return true;
    default:
      return false;
  }
}

void round_to_quants(DType dtype, std::span<const float> values, std::byte* quants) noexcept {
  switch (dtype) {
    case DType::kQ8_0:
      return write_all<QuantQ8_0>(values, kQuantElements, quants);
    case DType::kQ4_0:
      return write_all<QuantQ4_0>(values, kQuantElements, quants);
    case DType::kQ4_1:
      return write_all<QuantQ4_1>(values, kQuantElements, quants);
    case DType::kQ5_0:
      return write_all<QuantQ5_0>(values, kQuantElements, quants);
    case DType::kQ5_1:
      return write_all<QuantQ5_1>(values, kQuantElements, quants);
    case DType::kQ4_K:
      return write_all<QuantQ4_K>(values, kSuperQuantElements, quants);
    case DType::kQ6_K:
      return write_all<QuantQ6_K>(values, kSuperQuantElements, quants);
    default:
      assert(false);
  }
}

}  // namespace kvasir::tensor
