// Activations of one vector.
#pragma once

#include "kernels/int8.h"
#include "kernels/vector/math.h"

namespace kvasir::kernels {

// log2(2 Q(t)) / t on [0, 5.9] with Q(t) = erfc(t / √2) / 2, minimax for the absolute error of t Q(t): 2e-8
// (Lawson's iteration).
inline constexpr float kGeluTerms[] = {
    -1.1511081457F,    -0.4591898620F,   -0.0525300577F,    7.0729209110e-3F, -1.0035477318e-4F,
    -2.3213913664e-4F, 6.2825572968e-5F, -8.6495620053e-6F, 6.4431134206e-7F, -2.0518927002e-8F};

// x Φ(x) with Φ the normal distribution, as max(x, 0) - t Q(t), t = |x|, Q(t) = erfc(t / √2) / 2. No
// cancellation occurs in this form. Absolute error under 6e-8, relative under 2e-7 for x > 0.
template <class S>
inline typename S::Vec gelu(typename S::Vec x) noexcept {
  using Vec = typename S::Vec;
  // Beyond 5.9, t Q(t) < 1.1e-8 is below what a float near x resolves.
  const Vec t = S::min(S::set(5.9F), S::abs(x));
  const Vec p = polynomial<S>(t, kGeluTerms);
  const Vec q = exp2<S>(S::mul(p, t));  // 2 Q(t)
  return S::fma(S::mul(t, S::set(-0.5F)), q, S::max(S::zero(), x));
}

// The same within 1.4e-4: max(x, 0) - t Q(t) with Q(t) as a polynomial on [0, 4], minimax for t Q(t)
// (Lawson's iteration); beyond, t Q(t) < 1.3e-4. It takes half as many steps.
template <class S>
inline typename S::Vec rough_gelu(typename S::Vec x) noexcept {
  const typename S::Vec t = S::min(S::set(kRoughGeluEnd), S::abs(x));
  return S::negated_fma(t, polynomial<S>(t, kRoughGeluTerms), S::max(S::zero(), x));
}

// x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))) as x / (1 + e^-2u).
template <class S>
inline typename S::Vec gelu_tanh(typename S::Vec x) noexcept {
  using Vec = typename S::Vec;
  constexpr float kFactor = -1.5957691216F;  // -2 √(2/π)
  x = S::max(S::set(-10.0F), x);             // where the result is -2e-37; e^-2u stays finite
  const Vec u = S::mul(x, S::fma(S::mul(x, x), S::set(0.044715F * kFactor), S::set(kFactor)));
  return S::div(x, S::add(S::set(1.0F), exp<S>(u)));
}

// x / (1 + e^-x)
template <class S>
inline typename S::Vec silu(typename S::Vec x) noexcept {
  x = S::max(S::set(-88.0F), x);  // where the result is -5e-37; e^-x stays finite
  return S::div(x, S::add(S::set(1.0F), exp<S>(S::sub(S::zero(), x))));
}

// Calls use(f) with the function f(Vec) -> Vec of an activation; for kGelu and kRough, with rough_gelu.
template <class S, bool kRough = false, class Use>
inline void with_activation(Activation activation, const Use& use) noexcept {
  using Vec = typename S::Vec;
  switch (activation) {
    case Activation::kNone:
      return use([](Vec x) { return x; });
    case Activation::kGelu:
      return use([](Vec x) { return kRough ? rough_gelu<S>(x) : gelu<S>(x); });
    case Activation::kGeluTanh:
      return use([](Vec x) { return gelu_tanh<S>(x); });
    case Activation::kRelu:
      return use([](Vec x) { return S::max(S::zero(), x); });
    case Activation::kSilu:
      return use([](Vec x) { return silu<S>(x); });
  }
}

}  // namespace kvasir::kernels
