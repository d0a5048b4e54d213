// Activations, softmax, LayerNorm, checks and conversions against double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernel_data.h"
#include "kernels/kernels.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tests::Matrix;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const Fp32Kernels& isa() {
  return fp32_kernels_for(tests::test_isa());
}

// The promise of kernels.h: 4e-7 relative or 1e-7 absolute, whichever is larger.
double allowed(double exact) {
  return std::max(4e-7 * std::abs(exact), 1e-7);
}

double exact_activation(Activation activation, double x) {
  if (activation == Activation::kGelu) return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  if (activation == Activation::kGeluTanh) {
    return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  if (activation == Activation::kSilu) return x / (1 + std::exp(-x));
  return activation == Activation::kRelu ? std::max(0.0, x) : x;
}

class ActivationTest : public testing::TestWithParam<Activation> {};

TEST_P(ActivationTest, IsAccurateEverywhere) {
  std::vector<float> x;
  for (int i = -200'000; i <= 200'000; ++i) x.push_back(static_cast<float>(i) * 1e-4F);  // ±20
  for (int e = -140; e < 128; ++e) {
    for (const float sign : {-1.0F, 1.0F}) x.push_back(std::ldexp(sign * 1.37F, e));
  }
  x.push_back(0);
  x.push_back(-0.0F);
  std::vector<float> y = x;
  isa().activate(GetParam(), y.data(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = exact_activation(GetParam(), static_cast<double>(x[i]));
    ASSERT_NEAR(static_cast<double>(y[i]), exact, allowed(exact)) << "at " << x[i];
  }
}

TEST_P(ActivationTest, KeepsNanAndInfinity) {
  float x[] = {kNan, kInfinity, 1, kNan};
  isa().activate(GetParam(), x, 4);
  EXPECT_TRUE(std::isnan(x[0]));
  EXPECT_EQ(x[1], kInfinity);
  EXPECT_TRUE(std::isfinite(x[2]));
  EXPECT_TRUE(std::isnan(x[3]));
}

// The same bits wherever an element stands, at any alignment; nothing beyond the end is touched.
TEST_P(ActivationTest, Tails) {
  for (std::size_t count = 0; count < 50; ++count) {
    Matrix x({1, count + 1, 0, count % 5}, 11);
    x.at(0, count) = tests::kGuard;
    std::vector<float> single(count);
    for (std::size_t i = 0; i < count; ++i) {
      single[i] = x.at(0, i);
      isa().activate(GetParam(), &single[i], 1);
    }
    isa().activate(GetParam(), x.data(), count);
    EXPECT_TRUE(std::equal(single.begin(), single.end(), x.data())) << count;
    EXPECT_EQ(x.at(0, count), tests::kGuard);
    EXPECT_TRUE(x.guards_intact());
  }
}

INSTANTIATE_TEST_SUITE_P(All, ActivationTest,
                         testing::Values(Activation::kNone, Activation::kGelu, Activation::kGeluTanh,
                                         Activation::kRelu, Activation::kSilu));

TEST(Softmax, EqualsDoublePrecision) {
  for (const float size : {0.1F, 3.0F, 100.0F}) {
    for (const std::size_t count : {1, 2, 7, 8, 9, 15, 16, 17, 33, 64, 100, 511, 5000}) {
      Matrix x({1, count + 1}, 21, size);
      x.at(0, count) = tests::kGuard;
      const float* in = x.data();
      const double max = static_cast<double>(*std::max_element(in, in + count));
      std::vector<double> exact(count);
      double sum = 0;
      for (std::size_t i = 0; i < count; ++i) sum += exact[i] = std::exp(static_cast<double>(in[i]) - max);
      isa().softmax(x.data(), count);
      for (std::size_t i = 0; i < count; ++i) {
        // x - max is rounded once: at scores of hundreds that is what limits the tiny probabilities.
        const double p = exact[i] / sum;
        ASSERT_NEAR(static_cast<double>(x.at(0, i)), p, std::max(1e-6 * p, 1e-7)) << count << " at " << i;
      }
      EXPECT_EQ(x.at(0, count), tests::kGuard);
    }
  }
}

TEST(Softmax, MinusInfinityGetsNothing) {
  for (const std::size_t count : {2, 8, 16, 21}) {
    std::vector<float> x(count, -kInfinity);
    x[count - 1] = -3e38F;
    isa().softmax(x.data(), count);
    for (std::size_t i = 0; i + 1 < count; ++i) EXPECT_EQ(x[i], 0.0F);
    EXPECT_EQ(x[count - 1], 1.0F);
  }
}

std::vector<float> random_floats(std::size_t count, float scale) {
  const Matrix random({.rows = 1, .columns = count}, 3, scale);
  return {random.data(), random.data() + count};
}

TEST(SumExp, GivesTheSameBitsOnEverySet) {
  for (const std::size_t count : {1u, 7u, 16u, 17u, 31u, 1024u, 1025u, 5000u}) {
    std::vector<float> x = random_floats(count, 30);
    if (count > 1) x[count / 2] = -kInfinity;
    const float max = isa().maximum(x.data(), count);
    EXPECT_EQ(max, *std::max_element(x.begin(), x.end()));
    for (const float scale : {1.0F, 0.7F}) {
      std::vector<float> exps(count), expected(count);
      SumExpCall call{.x = x.data(), .count = count, .max = max, .scale = scale, .exps = exps.data()};
      const double sum = isa().sum_exp(call);
      call.exps = nullptr;
      EXPECT_EQ(isa().sum_exp(call), sum);
      call.exps = expected.data();
      EXPECT_EQ(fp32_kernels_for(base::Isa::kScalar).sum_exp(call), sum) << count;
      EXPECT_EQ(exps, expected);
    }
  }
}

TEST(SumExp, EqualsDoublePrecision) {
  const std::vector<float> x = random_floats(3001, 40);
  const float max = isa().maximum(x.data(), x.size());
  double expected = 0;
  for (const float one : x) expected += std::exp(static_cast<double>(one) - static_cast<double>(max));
  EXPECT_NEAR(isa().sum_exp({.x = x.data(), .count = x.size(), .max = max}), expected, 3e-7 * expected);
}

TEST(SumExp, NanStays) {
  for (const std::size_t at : {0u, 20u, 99u}) {
    std::vector<float> x(100, 1);
    x[at] = kNan;
    EXPECT_TRUE(std::isnan(isa().sum_exp({.x = x.data(), .count = x.size(), .max = 1})));
  }
}

TEST(Softmax, HugeScoresDoNotOverflow) {
  std::vector<float> x{3e38F, 3e38F, -3e38F};
  isa().softmax(x.data(), x.size());
  EXPECT_EQ(x, (std::vector<float>{0.5F, 0.5F, 0.0F}));
}

struct Norm {
  std::size_t rows, columns;
  double mean, deviation;
};

void check_layer_norm(const Norm& norm, bool in_place) {
  Matrix x({norm.rows, norm.columns}, 31, static_cast<float>(norm.deviation));
  for (std::size_t i = 0; i < norm.rows; ++i) {
    for (std::size_t j = 0; j < norm.columns; ++j) x.at(i, j) += static_cast<float>(norm.mean);
  }
  const Matrix original = x;
  const Matrix weight({1, norm.columns, 0, 3}, 32), bias({1, norm.columns, 0, 2}, 33);
  Matrix y({norm.rows, norm.columns});
  constexpr float kEpsilon = 1e-5F;
  isa().layer_norm({.x = x.data(),
                    .weight = weight.data(),
                    .bias = bias.data(),
                    .y = in_place ? x.data() : y.data(),
                    .rows = norm.rows,
                    .columns = norm.columns,
                    .epsilon = kEpsilon});
  const Matrix& out = in_place ? x : y;
  EXPECT_TRUE(out.guards_intact());
  for (std::size_t i = 0; i < norm.rows; ++i) {
    const auto n = static_cast<double>(norm.columns);
    double mean = 0, variance = 0;
    for (std::size_t j = 0; j < norm.columns; ++j) mean += static_cast<double>(original.at(i, j)) / n;
    for (std::size_t j = 0; j < norm.columns; ++j) {
      variance += std::pow(static_cast<double>(original.at(i, j)) - mean, 2) / n;
    }
    const double inverse = 1 / std::sqrt(variance + static_cast<double>(kEpsilon));
    // Floats near `mean` are 2^-24 of it apart, and the division by the deviation magnifies that.
    const double error = 3e-6 + 4 * std::ldexp(std::abs(norm.mean), -24) * inverse;
    for (std::size_t j = 0; j < norm.columns; ++j) {
      const double normal = (static_cast<double>(original.at(i, j)) - mean) * inverse;
      const double exact = normal * static_cast<double>(weight.at(0, j)) + static_cast<double>(bias.at(0, j));
      ASSERT_NEAR(static_cast<double>(out.at(i, j)), exact,
                  error * (1 + std::abs(static_cast<double>(weight.at(0, j)))))
          << norm.columns << " columns, at " << i << ", " << j;
    }
  }
}

TEST(LayerNorm, EqualsDoublePrecision) {
  for (const std::size_t columns : {1, 2, 7, 8, 15, 16, 17, 31, 32, 64, 65, 100, 127, 129, 384, 768, 1000}) {
    for (const bool in_place : {false, true}) {
      check_layer_norm({3, columns, 0.0, 1.0}, in_place);
      check_layer_norm({2, columns, 100.0, 1.0}, in_place);  // a mean that a one-pass variance cannot bear
    }
  }
}

TEST(NoNorm, ScalesAndShifts) {
  for (const std::size_t columns : {1, 7, 8, 17, 128}) {
    for (const bool in_place : {false, true}) {
      Matrix x({3, columns}, 31, 2.0F), y({3, columns});
      const Matrix weight({1, columns}, 32), bias({1, columns}, 33), before = x;
      Matrix& out = in_place ? x : y;
      isa().no_norm({.x = x.data(),
                     .weight = weight.data(),
                     .bias = bias.data(),
                     .y = out.data(),
                     .rows = 3,
                     .columns = columns});
      for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < columns; ++j) {
          const double exact = double{before.at(i, j)} * double{weight.at(0, j)} + double{bias.at(0, j)};
          ASSERT_NEAR(double{out.at(i, j)}, exact, 2e-6) << columns;
        }
      }
      EXPECT_TRUE(out.guards_intact());
    }
  }
}

TEST(RmsNorm, EqualsDoublePrecision) {
  constexpr float kEpsilon = 1e-5F;
  for (const std::size_t columns : {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 65, 127, 576, 1000, 4096}) {
    for (const float size : {1e-4F, 1.0F, 300.0F}) {
      for (const bool in_place : {false, true}) {
        Matrix x({3, columns}, 61, size), y({3, columns});
        const Matrix weight({1, columns, 0, 3}, 62), before = x;
        Matrix& out = in_place ? x : y;
        isa().rms_norm({.x = x.data(),
                        .weight = weight.data(),
                        .y = out.data(),
                        .rows = 3,
                        .columns = columns,
                        .epsilon = kEpsilon});
        EXPECT_TRUE(out.guards_intact());
        for (std::size_t i = 0; i < 3; ++i) {
          double squares = 0;
          for (std::size_t j = 0; j < columns; ++j) squares += std::pow(double{before.at(i, j)}, 2);
          const double inverse = 1 / std::sqrt(squares / static_cast<double>(columns) + double{kEpsilon});
          for (std::size_t j = 0; j < columns; ++j) {
            const double exact = double{before.at(i, j)} * inverse * double{weight.at(0, j)};
            ASSERT_NEAR(double{out.at(i, j)}, exact, 1e-6 * std::abs(exact)) << columns << " of " << size;
          }
        }
      }
    }
  }
}

TEST_P(ActivationTest, Gated) {
  for (std::size_t count = 0; count < 50; ++count) {
    Matrix x({1, count + 1, 0, count % 5}, 41);
    const Matrix gate({1, count + 1, 0, count % 3}, 42);
    x.at(0, count) = tests::kGuard;
    std::vector<float> expected(x.data(), x.data() + count);
    isa().activate(GetParam(), expected.data(), count);
    for (std::size_t i = 0; i < count; ++i) expected[i] *= gate.at(0, i);
    isa().activate_gated(GetParam(), x.data(), gate.data(), count);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), x.data())) << count;
    EXPECT_EQ(x.at(0, count), tests::kGuard);
    EXPECT_TRUE(x.guards_intact());
  }
}

TEST(Rotate, TurnsPairsOfHalves) {
  for (const std::size_t head_dim : {2, 6, 16, 20, 34, 64, 128}) {
    constexpr std::size_t kHeads = 3;
    const std::size_t half = head_dim / 2;
    Matrix x({1, kHeads * head_dim}, 51), cos({1, half}), sin({1, half});
    const Matrix angle({1, half}, 52, 2.0F), before = x;
    for (std::size_t i = 0; i < half; ++i) {
      cos.at(0, i) = std::cos(angle.at(0, i));
      sin.at(0, i) = std::sin(angle.at(0, i));
    }
    isa().rotate(
        {.x = x.data(), .cos = cos.data(), .sin = sin.data(), .heads = kHeads, .head_dim = head_dim});
    for (std::size_t head = 0; head < kHeads; ++head) {
      for (std::size_t i = 0; i < half; ++i) {
        const std::size_t at = head * head_dim + i;
        const double a = double{before.at(0, at)}, b = double{before.at(0, at + half)};
        const double c = std::cos(double{angle.at(0, i)}), s = std::sin(double{angle.at(0, i)});
        ASSERT_NEAR(double{x.at(0, at)}, a * c - b * s, 1e-6) << head_dim;
        ASSERT_NEAR(double{x.at(0, at + half)}, b * c + a * s, 1e-6) << head_dim;
      }
    }
    EXPECT_TRUE(x.guards_intact());
  }
}

TEST(AllFinite, FindsOneAnywhere) {
  for (const std::size_t count : {1, 2, 7, 8, 9, 16, 17, 33, 64, 65, 100, 131}) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      Matrix x({1, count, 0, count % 4}, 41);
      x.at(0, count / 2) = std::numeric_limits<float>::max();
      x.at(0, count / 3) = std::numeric_limits<float>::denorm_min();
      ASSERT_TRUE(isa().all_finite(x.data(), count));
      for (std::size_t i = 0; i < count; ++i) {
        const float good = x.at(0, i);
        x.at(0, i) = bad;
        ASSERT_FALSE(isa().all_finite(x.data(), count)) << i << " of " << count;
        x.at(0, i) = good;
      }
    }
  }
  EXPECT_TRUE(isa().all_finite(nullptr, 0));
}

// Many largest floats: a sum of them would overflow.
TEST(AllFinite, LargestFloatsAreFinite) {
  const std::vector<float> x(1000, std::numeric_limits<float>::max());
  EXPECT_TRUE(isa().all_finite(x.data(), x.size()));
}

double exact_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31)
    return fraction != 0 ? static_cast<double>(kNan) : sign * static_cast<double>(kInfinity);
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(ConvertHalf, EveryHalfAtAnyAddress) {
  constexpr std::size_t kCount = 65536;
  std::vector<unsigned char> bytes(1 + 2 * kCount);  // at an odd address: files promise nothing
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto half = static_cast<std::uint16_t>(i);
    std::memcpy(&bytes[1 + 2 * i], &half, sizeof half);
  }
  std::vector<float> out(kCount);
  isa().convert_half(&bytes[1], out.data(), kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    const double exact = exact_half(static_cast<std::uint16_t>(i));
    if (std::isnan(exact)) {
      ASSERT_TRUE(std::isnan(out[i])) << i;
    } else {
      ASSERT_EQ(static_cast<double>(out[i]), exact) << i;
      ASSERT_EQ(std::signbit(out[i]), std::signbit(exact)) << i;
    }
  }
}

TEST(ConvertHalf, Tails) {
  const std::vector<std::uint16_t> halves(40, 0x3C00);  // 1.0
  for (std::size_t count = 0; count <= 40; ++count) {
    Matrix out({1, 41});
    isa().convert_half(halves.data() + (40 - count), out.data(), count);
    for (std::size_t i = 0; i <= 40; ++i) ASSERT_EQ(out.at(0, i), i < count ? 1.0F : tests::kGuard);
  }
}

}  // namespace
}  // namespace kvasir::kernels
