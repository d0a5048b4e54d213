// Exponentials of one vector.
#pragma once

#include <cstddef>

namespace kvasir::kernels {

// c[0] + c[1] x + … by Horner's rule.
template <class S, std::size_t N>
inline typename S::Vec polynomial(typename S::Vec x, const float (&c)[N]) noexcept {
  typename S::Vec y = S::set(c[N - 1]);
  for (std::size_t i = N - 1; i > 0; --i) y = S::fma(y, x, S::set(c[i - 1]));
  return y;
}

// e^x, relative error under 2e-7; 0 below -87.3 (where floats become subnormal), e^88 above 88; NaN stays.
template <class S>
inline typename S::Vec exp(typename S::Vec x) noexcept {
  using Vec = typename S::Vec;
  constexpr float kLow = -87.3F;
  const Vec clamped = S::min(S::set(88.0F), S::max(S::set(kLow), x));
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first short enough that its product with n is
  // exact.
  const Vec n = S::round(S::mul(clamped, S::set(1.44269504F)));
  Vec r = S::fma(n, S::set(-0.693359375F), clamped);
  r = S::fma(n, S::set(2.12194440e-4F), r);
  // (e^r - 1 - r) / r², minimax with relative error 3.1e-9 in e^r (Lawson's iteration in double precision).
  const Vec q =
      polynomial<S>(r, {0.49999993373F, 0.16666519523F, 0.04166840109F, 0.00836885115F, 0.00138143206F});
  const Vec y = S::add(S::fma(S::mul(r, r), q, r), S::set(1.0F));
  return S::zero_below(S::scale(y, n), x, S::set(kLow));
}

// 2^x for -126 <= x <= 127, relative error under 2e-7, exact for integers.
template <class S>
inline typename S::Vec exp2(typename S::Vec x) noexcept {
  const typename S::Vec n = S::round(x);
  // Minimax on [-1/2, 1/2] with 2^0 = 1: relative error 9.1e-8.
  const typename S::Vec y = polynomial<S>(
      S::sub(x, n), {1.0F, 0.69314697760F, 0.24022242083F, 0.05550733744F, 0.00967151279F, 0.00132647273F});
  return S::scale(y, n);
}

// The same with a relative error under 8e-5, for weights that become bfloat16 (steps of 4e-3).
template <class S>
inline typename S::Vec rough_exp2(typename S::Vec x) noexcept {
  const typename S::Vec n = S::round(x);
  const typename S::Vec y =
      polynomial<S>(S::sub(x, n), {0.99992805720F, 0.69326102734F, 0.24261116982F, 0.05517134070F});
  return S::scale(y, n);
}

}  // namespace kvasir::kernels
