// The kernels of training: against finite differences in double precision, and against their scalar twins.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernel_data.h"
#include "kernels/kernels.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

const BackwardKernels& isa() {
  return backward_kernels_for(tests::test_isa());
}
const BackwardKernels& scalar() {
  return backward_kernels_for(base::Isa::kScalar);
}

std::vector<float> random_floats(std::size_t count, unsigned seed) {
  tests::Matrix matrix({1, std::max<std::size_t>(count, 1), 0, 0}, seed);
  return {matrix.data(), matrix.data() + count};
}

// The gradient of Σ weights · f(x) by each x, by central differences.
std::vector<double> differences(const std::vector<float>& x, const std::vector<float>& weights,
                                const std::function<std::vector<double>(const std::vector<double>&)>& f) {
  constexpr double kStep = 1e-5;
  std::vector<double> at(x.begin(), x.end()), result;
  const auto sum = [&] {
    const std::vector<double> y = f(at);
    double total = 0;
    for (std::size_t i = 0; i < y.size(); ++i) total += y[i] * static_cast<double>(weights[i]);
    return total;
  };
  for (double& value : at) {
    const double old = value;
    value = old + kStep;
    const double above = sum();
    value = old - kStep;
    result.push_back((above - sum()) / (2 * kStep));
    value = old;
  }
  return result;
}

void expect_near(const std::vector<float>& actual, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = 1;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(actual[i]), expected[i], tolerance * largest) << "at " << i;
  }
}

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kRelu:
      return std::max(0.0, x);
    case Activation::kNone:
      break;
  }
  return x;
}

class ActivationBackward : public testing::TestWithParam<Activation> {};
INSTANTIATE_TEST_SUITE_P(All, ActivationBackward,
                         testing::Values(Activation::kNone, Activation::kGelu, Activation::kGeluTanh,
                                         Activation::kRelu, Activation::kSilu));

TEST_P(ActivationBackward, EqualsDifferencesEverywhere) {
  std::vector<float> x;
  for (int i = -1200; i <= 1200; ++i) x.push_back(static_cast<float>(i) * 0.01F + 0.003F);
  const std::vector<float> dy(x.size(), 1);
  std::vector<float> dx(x.size());
  isa().activation(
      {.activation = GetParam(), .x = x.data(), .dy = dy.data(), .dx = dx.data(), .count = x.size()});
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto at = static_cast<double>(x[i]);
    const double exact = (activated(GetParam(), at + 1e-5) - activated(GetParam(), at - 1e-5)) / 2e-5;
    ASSERT_NEAR(static_cast<double>(dx[i]), exact, 2e-6) << at;
  }
}

TEST_P(ActivationBackward, GatedEqualsDifferences) {
  constexpr std::size_t kCount = 37;
  const std::vector<float> x = random_floats(kCount, 1), gate = random_floats(kCount, 2),
                           dy = random_floats(kCount, 3);
  std::vector<float> dx(kCount), dgate(kCount);
  isa().gated({.activation = GetParam(),
               .x = x.data(),
               .gate = gate.data(),
               .dy = dy.data(),
               .dx = dx.data(),
               .dgate = dgate.data(),
               .count = kCount});
  const auto product = [&](const std::vector<double>& a, const std::vector<double>& b) {
    std::vector<double> y;
    for (std::size_t i = 0; i < kCount; ++i) y.push_back(activated(GetParam(), a[i]) * b[i]);
    return y;
  };
  const std::vector<double> xs(x.begin(), x.end()), gates(gate.begin(), gate.end());
  expect_near(dx, differences(x, dy, [&](const auto& at) { return product(at, gates); }), 1e-5);
  expect_near(dgate, differences(gate, dy, [&](const auto& at) { return product(xs, at); }), 1e-5);
}

enum class Norm { kLayerNorm, kNoNorm, kRmsNorm };
class NormBackward : public testing::TestWithParam<Norm> {
 protected:
  static constexpr double kEpsilon = 1e-3;

  static void run(const BackwardKernels& kernels, const NormBackwardCall& call) {
    if (GetParam() == Norm::kLayerNorm) kernels.layer_norm(call);
    if (GetParam() == Norm::kNoNorm) kernels.no_norm(call);
    if (GetParam() == Norm::kRmsNorm) kernels.rms_norm(call);
  }

  static std::vector<double> norm(const std::vector<double>& x, const std::vector<double>& weight,
                                  const std::vector<double>& bias) {
    const std::size_t columns = weight.size();
    std::vector<double> y(x.size());
    for (std::size_t row = 0; row < x.size(); row += columns) {
      double mean = 0, squares = 0;
      for (std::size_t j = 0; j < columns; ++j) mean += x[row + j] / static_cast<double>(columns);
      if (GetParam() != Norm::kLayerNorm) mean = 0;
      for (std::size_t j = 0; j < columns; ++j) squares += (x[row + j] - mean) * (x[row + j] - mean);
      const double root = std::sqrt(squares / static_cast<double>(columns) + kEpsilon);
      for (std::size_t j = 0; j < columns; ++j) {
        const double normed = GetParam() == Norm::kNoNorm ? x[row + j] : (x[row + j] - mean) / root;
        y[row + j] = normed * weight[j] + (GetParam() == Norm::kRmsNorm ? 0 : bias[j]);
      }
    }
    return y;
  }
};
INSTANTIATE_TEST_SUITE_P(All, NormBackward, testing::Values(Norm::kLayerNorm, Norm::kNoNorm, Norm::kRmsNorm));

TEST_P(NormBackward, EqualsDifferences) {
  for (const std::size_t columns : {1U, 3U, 8U, 16U, 37U, 64U}) {
    constexpr std::size_t kRows = 3;
    const std::vector<float> x = random_floats(kRows * columns, 1), dy = random_floats(kRows * columns, 2);
    const std::vector<float> weight = random_floats(columns, 3), bias = random_floats(columns, 4);
    const std::vector<double> xs(x.begin(), x.end()), weights(weight.begin(), weight.end()),
        biases(bias.begin(), bias.end());
    for (const bool accumulates : {false, true}) {
      std::vector<float> dx(x.size(), accumulates ? 1.0F : NAN), dweight(columns, 0.5F),
          dbias(columns, 0.25F);
      run(isa(), {.x = x.data(),
                  .dy = dy.data(),
                  .weight = weight.data(),
                  .dx = dx.data(),
                  .accumulates = accumulates,
                  .dweight = dweight.data(),
                  .dbias = GetParam() == Norm::kRmsNorm ? nullptr : dbias.data(),
                  .rows = kRows,
                  .columns = columns,
                  .epsilon = static_cast<float>(kEpsilon)});
      for (float& d : dx) d -= accumulates ? 1 : 0;
      for (float& d : dweight) d -= 0.5F;
      for (float& d : dbias) d -= 0.25F;
      expect_near(dx, differences(x, dy, [&](const auto& at) { return norm(at, weights, biases); }), 2e-5);
      expect_near(dweight, differences(weight, dy, [&](const auto& at) { return norm(xs, at, biases); }),
                  1e-5);
      if (GetParam() == Norm::kRmsNorm) continue;
      expect_near(dbias, differences(bias, dy, [&](const auto& at) { return norm(xs, weights, at); }), 1e-5);
    }
  }
}

// dx may be dy.
TEST_P(NormBackward, WorksInPlace) {
  constexpr std::size_t kColumns = 37;
  const std::vector<float> x = random_floats(kColumns, 1), weight = random_floats(kColumns, 3);
  const std::vector<float> dy = random_floats(kColumns, 2);
  std::vector<float> apart(kColumns), in_place = dy;
  std::vector<float> sums[4] = {std::vector<float>(kColumns), std::vector<float>(kColumns),
                                std::vector<float>(kColumns), std::vector<float>(kColumns)};
  NormBackwardCall call{.x = x.data(),
                        .dy = dy.data(),
                        .weight = weight.data(),
                        .dx = apart.data(),
                        .dweight = sums[0].data(),
                        .dbias = sums[1].data(),
                        .rows = 1,
                        .columns = kColumns,
                        .epsilon = 1e-5F};
  run(isa(), call);
  call.dy = call.dx = in_place.data();
  call.dweight = sums[2].data();
  call.dbias = sums[3].data();
  run(isa(), call);
  EXPECT_EQ(apart, in_place);
  EXPECT_EQ(sums[0], sums[2]);
  EXPECT_EQ(sums[1], sums[3]);
}

TEST(SoftmaxBackward, EqualsDifferences) {
  for (const std::size_t count : {1U, 2U, 7U, 8U, 16U, 33U, 100U}) {
    const std::vector<float> s = random_floats(count, 5), dy = random_floats(count, 6);
    std::vector<float> p = s, dp = dy;
    fp32_kernels_for(tests::test_isa()).softmax(p.data(), count);
    isa().softmax({.p = p.data(), .dp = dp.data(), .count = count});
    expect_near(dp,
                differences(s, dy,
                            [](const std::vector<double>& at) {
                              std::vector<double> y;
                              double sum = 0;
                              for (const double value : at) sum += std::exp(value);
                              for (const double value : at) y.push_back(std::exp(value) / sum);
                              return y;
                            }),
                1e-6);
  }
}

TEST(Transpose, EveryShape) {
  for (const std::size_t rows : {1U, 7U, 8U, 9U, 16U, 31U, 40U}) {
    for (const std::size_t columns : {1U, 5U, 8U, 16U, 23U, 48U}) {
      const std::size_t ldx = columns + 3, ldy = rows + 1;
      const std::vector<float> x = random_floats(rows * ldx, 7);
      std::vector<float> y(columns * ldy, tests::kGuard);
      isa().transpose(
          {.x = x.data(), .ldx = ldx, .rows = rows, .columns = columns, .y = y.data(), .ldy = ldy});
      for (std::size_t c = 0; c < columns; ++c) {
        for (std::size_t r = 0; r < rows; ++r) ASSERT_EQ(y[c * ldy + r], x[r * ldx + c]);
        ASSERT_EQ(y[c * ldy + rows], tests::kGuard);
      }
    }
  }
}

TEST(Sums, EqualTheScalarTwin) {
  for (const std::size_t columns : {1U, 8U, 16U, 45U}) {
    const std::vector<float> x = random_floats(9 * columns, 8);
    std::vector<float> sums(columns, 1), expected(columns, 1), scaled(columns, 2),
        expected_scaled(columns, 2);
    const RowSumsCall call{.x = x.data(), .ldx = columns, .rows = 9, .columns = columns};
    RowSumsCall own = call, other = call;
    own.sums = sums.data();
    other.sums = expected.data();
    isa().add_rows(own);
    scalar().add_rows(other);
    EXPECT_EQ(sums, expected);
    isa().add_scaled(x.data(), 1, scaled.data(), columns);
    scalar().add_scaled(x.data(), 1, expected_scaled.data(), columns);
    EXPECT_EQ(scaled, expected_scaled);
    EXPECT_NEAR(isa().sum_of_squares(x.data(), x.size()), scalar().sum_of_squares(x.data(), x.size()), 1e-4);
  }
}

// The same elements everywhere; about the share that is asked for, other ones under another key.
TEST(Dropout, DropsTheSameOnEachInstructionSet) {
  constexpr std::size_t kCount = 20'003;
  const std::vector<float> x = random_floats(kCount, 9);
  DropoutCall call{.count = kCount, .key = {123, 456}, .threshold = 0x1999999AU, .scale = 1 / 0.9F};
  std::vector<float> own = x, other = x, third = x;
  call.x = own.data();
  isa().dropout(call);
  call.x = other.data();
  scalar().dropout(call);
  EXPECT_EQ(own, other);
  call.key[1] = 457;
  call.x = third.data();
  isa().dropout(call);
  std::size_t dropped = 0, both = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    dropped += own[i] == 0 ? 1 : 0;
    both += own[i] == 0 && third[i] == 0 ? 1 : 0;
    ASSERT_TRUE(own[i] == 0 || own[i] == x[i] * call.scale);
  }
  EXPECT_NEAR(static_cast<double>(dropped) / kCount, 0.1, 0.01);
  EXPECT_NEAR(static_cast<double>(both) / kCount, 0.01, 0.004);
}

// Five steps against the formula in double.
TEST(AdamW, EqualsTheFormula) {
  constexpr std::size_t kCount = 45;
  constexpr double kRate = 1e-2, kDecay = 0.1, kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;
  std::vector<float> p = random_floats(kCount, 10), m(kCount), v(kCount);
  std::vector<double> exact(p.begin(), p.end()), exact_m(kCount), exact_v(kCount);
  for (int t = 1; t <= 5; ++t) {
    const std::vector<float> gradient = random_floats(kCount, 20 + static_cast<unsigned>(t));
    const double correction1 = 1 - std::pow(kBeta1, t), correction2 = 1 - std::pow(kBeta2, t);
    isa().adamw({.p = p.data(),
                 .m = m.data(),
                 .v = v.data(),
                 .gradient = gradient.data(),
                 .count = kCount,
                 .gradient_scale = 0.5F,
                 .decay = static_cast<float>(1 - kRate * kDecay),
                 .step_size = static_cast<float>(kRate / correction1),
                 .inverse_root2 = static_cast<float>(1 / std::sqrt(correction2)),
                 .epsilon = static_cast<float>(kEpsilon)});
    for (std::size_t i = 0; i < kCount; ++i) {
      const double g = 0.5 * static_cast<double>(gradient[i]);
      exact_m[i] = kBeta1 * exact_m[i] + (1 - kBeta1) * g;
      exact_v[i] = kBeta2 * exact_v[i] + (1 - kBeta2) * g * g;
      exact[i] =
          exact[i] * (1 - kRate * kDecay) -
          kRate / correction1 * exact_m[i] / (std::sqrt(exact_v[i]) / std::sqrt(correction2) + kEpsilon);
    }
  }
  expect_near(p, exact, 1e-5);
}

}  // namespace
}  // namespace kvasir::kernels
