// Products of bytes: the same bits as the scalar twin over shapes, tails and cuts, whatever the weights; the
// rule for pairs; and how close they come to the product of the floats.
#include "kernels/int8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernel_data.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tests::Matrix;

const Int8Kernels& isa() {
  return int8_kernels_for(tests::test_isa());
}
const Int8Kernels& twin() {
  return int8_kernels_for(base::Isa::kScalar);
}

// Quantised activations in memory of their own.
struct Rows {
  Rows(const Int8Kernels& kernels, const Matrix& x)
      : memory(int8_rows_bytes(x.rows(), x.columns())),
        rows(int8_rows(memory.data(), x.rows(), x.columns())),
        columns(x.columns()),
        count(x.rows()) {
    kernels.quantize({.x = x.data(), .ldx = x.stride(), .rows = x.rows(), .columns = x.columns()}, rows);
  }
  bool same_as(const Rows& other) const {
    for (std::size_t r = 0; r < count; ++r) {
      if (std::memcmp(rows.data + r * rows.stride, other.rows.data + r * rows.stride, columns) != 0 ||
          rows.zeros[r] != other.rows.zeros[r] || rows.scales[r] != other.rows.scales[r]) {
        return false;
      }
    }
    return true;
  }
  double value(std::size_t r, std::size_t j) const {
    return static_cast<double>(rows.scales[r]) * (rows.data[r * rows.stride + j] - rows.zeros[r]);
  }

  tensor::Buffer<std::byte> memory;
  Int8Rows rows;
  std::size_t columns, count;
};

struct Product {
  std::size_t m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true, residual = true;
  enum class Weights { kNormal, kExtreme } weights = Weights::kNormal;

  std::string name() const {
    return "m " + std::to_string(m) + " n " + std::to_string(n) + " k " + std::to_string(k);
  }
};

// Bytes that go as far as the rule for pairs lets them, most of them in the same direction: what overflows 16
// bits if anything does.
std::vector<std::int8_t> extreme_weights(std::size_t n, std::size_t k) {
  std::mt19937 random(7);
  std::vector<std::int8_t> w(n * k);
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = 0; i < k; i += 2) {
      const int sign = random() % 8 == 0 ? -1 : 1;
      const int first = static_cast<int>(random() % 128);
      w[j * k + i] = static_cast<std::int8_t>(sign * first);
      if (i + 1 < k) w[j * k + i + 1] = static_cast<std::int8_t>(sign * std::min(127, kMaxPairSum - first));
    }
  }
  return w;
}

struct Problem {
  explicit Problem(const Product& p)
      : product(p), x({p.m, p.k, 3}, 1), bias({1, p.n, 0, 3}, 3), residual({p.m, p.n, 5}, 4) {
    if (p.weights == Product::Weights::kNormal) {
      packed = pack_int8(Matrix({p.n, p.k, 0}, 2, 0.05F).data(), p.n, p.k);
      return;
    }
    const std::vector<std::int8_t> w = extreme_weights(p.n, p.k);
    const std::vector<float> scales(p.n, 0.01F);
    packed = allocate_int8(p.n, p.k);
    pack_int8_rows(w.data(), scales.data(), {.begin = 0, .end = p.n}, packed);
    for (std::size_t i = 0; i < p.m; ++i) {
      for (std::size_t j = 0; j < p.k; ++j) x.at(i, j) = 1;  // 255 each
    }
  }

  Int8GemmCall call(const Rows& a, Matrix& c) const {
    return {.a = a.rows,
            .b = &packed,
            .bias = product.bias ? bias.data() : nullptr,
            .activation = product.activation,
            .residual = product.residual ? residual.data() : nullptr,
            .ldr = residual.stride(),
            .c = c.data(),
            .ldc = c.stride(),
            .m = product.m};
  }
  Matrix run(const Int8Kernels& kernels) const {
    const Rows a(kernels, x);
    Matrix c({product.m, product.n, 5});
    kernels.gemm_block(call(a, c), {0, product.m, 0, packed.panels()});
    return c;
  }

  Product product;
  Matrix x, bias, residual;
  Int8Matrix packed;
};

TEST(Int8, QuantizedRowsAreTheSameBytes) {
  for (const std::size_t columns : {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 384, 1024}) {
    for (const float shift : {0.0F, 3.0F, -3.0F}) {
      Matrix x({5, columns, 3}, static_cast<std::uint32_t>(columns), 2);
      for (std::size_t j = 0; j < columns; ++j) {
        for (std::size_t i = 0; i < 4; ++i) x.at(i, j) += shift;
        x.at(4, j) = 0;
      }
      ASSERT_TRUE(Rows(isa(), x).same_as(Rows(twin(), x))) << columns << ", " << shift;
    }
  }
}

TEST(Int8, QuantizedRowsAreWithinHalfAStep) {
  const Matrix x({20, 77, 1}, 3, 4);
  const Rows rows(isa(), x);
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.columns(); ++j) {
      // Rounding the zero point may move the ends of the range out by half a step.
      ASSERT_NEAR(rows.value(i, j), static_cast<double>(x.at(i, j)),
                  static_cast<double>(rows.rows.scales[i]) * 1.001);
    }
  }
}

TEST(Int8, RowsThatAreNoNumbersDoNotBreakAnything) {
  for (const float bad : {INFINITY, -INFINITY, NAN, 3e38F, -3e38F}) {
    Matrix x({1, 40, 0}, 3);
    x.at(0, 17) = bad;
    x.at(0, 18) = -bad;
    const Rows rows(isa(), x);
    EXPECT_GE(rows.rows.zeros[0], 0);
    EXPECT_LE(rows.rows.zeros[0], kMaxActivation);
  }
}

TEST(Int8, EqualsTheScalarTwinOverShapesAndTails) {
  std::size_t turn = 0;
  for (const std::size_t m : {1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 19, 24, 25, 31}) {
    for (const std::size_t n : {1, 7, 15, 16, 17, 31, 32, 33, 64, 65, 129, 150}) {
      for (const std::size_t k : {1, 2, 3, 4, 5, 8, 9, 16, 33, 100}) {
        ++turn;
        const Problem problem({.m = m,
                               .n = n,
                               .k = k,
                               .bias = turn % 3 != 0,
                               .residual = turn % 2 == 0,
                               .weights = static_cast<Product::Weights>(turn % 2)});
        const Matrix c = problem.run(isa());
        ASSERT_TRUE(c.guards_intact()) << problem.product.name();
        ASSERT_TRUE(c.same_bits(problem.run(twin()))) << problem.product.name();
      }
    }
  }
}

TEST(Int8, GeluIsCloseAndTheSameEverywhere) {
  Problem problem({.m = 14, .n = 70, .k = 64, .bias = false, .residual = false});
  for (std::size_t i = 0; i < 14; ++i) {
    for (std::size_t j = 0; j < 64; ++j) problem.x.at(i, j) *= 8;  // beyond both ends
  }
  const Matrix before = problem.run(isa());
  problem.product.activation = Activation::kGelu;
  const Matrix c = problem.run(isa());
  EXPECT_TRUE(c.same_bits(problem.run(twin())));
  for (std::size_t i = 0; i < c.rows(); ++i) {
    for (std::size_t j = 0; j < c.columns(); ++j) {
      const double x = static_cast<double>(before.at(i, j));
      ASSERT_NEAR(c.at(i, j), x * 0.5 * std::erfc(-x / std::sqrt(2.0)), 1.4e-4) << x;
    }
  }
}

TEST(Int8, ActivationsAreThoseOfFloats) {
  for (const Activation activation : {Activation::kGeluTanh, Activation::kRelu}) {
    const Problem problem({.m = 14, .n = 70, .k = 64, .activation = activation});
    const Matrix c = problem.run(isa()), expected = problem.run(twin());
    for (std::size_t i = 0; i < c.rows(); ++i) {
      for (std::size_t j = 0; j < c.columns(); ++j) ASSERT_NEAR(c.at(i, j), expected.at(i, j), 1e-6);
    }
  }
}

// Long sums of the largest products, which pass 16 bits at each step and 24 bits in all.
TEST(Int8, NothingSaturates) {
  const Problem problem(
      {.m = 6, .n = 40, .k = 4096, .bias = false, .residual = false, .weights = Product::Weights::kExtreme});
  EXPECT_TRUE(problem.run(isa()).same_bits(problem.run(twin())));
  std::size_t wide = 0;
  for (const std::uint8_t step : problem.packed.wide.span()) wide += step;
  EXPECT_GT(wide, problem.packed.wide.size() / 2);
}

TEST(Int8, FewStepsOfOrdinaryWeightsAreWide) {
  const Matrix w({256, 768, 0}, 9, 0.04F);
  const Int8Matrix packed = pack_int8(w.data(), 256, 768);
  std::size_t wide = 0;
  for (const std::uint8_t step : packed.wide.span()) wide += step;
  EXPECT_LT(static_cast<double>(wide), 0.25 * static_cast<double>(packed.wide.size()));
}

TEST(Int8, BitsDoNotDependOnThreadsOrCuts) {
  for (const Product& product : {Product{.m = 1, .n = 2000, .k = 300}, Product{.m = 700, .n = 100, .k = 500},
                                 Product{.m = 130, .n = 777, .k = 65}}) {
    const Problem problem(product);
    const Matrix whole = problem.run(isa());
    const Rows a(isa(), problem.x);
    for (const int threads : {1, 2, 3, 7}) {
      base::ThreadPool pool(threads);
      Matrix c({product.m, product.n, 5});
      gemm(isa(), pool, problem.call(a, c));
      ASSERT_TRUE(whole.same_bits(c)) << product.name() << ", " << threads;
    }
  }
}

TEST(Int8, IsNearTheProductOfTheFloats) {
  const std::size_t m = 20, n = 64, k = 384;
  const Problem problem({.m = m, .n = n, .k = k, .bias = false, .residual = false});
  const Matrix w({n, k, 0}, 2, 0.05F);
  const Matrix c = problem.run(isa());
  double error = 0, size = 0;
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      double exact = 0;
      for (std::size_t kk = 0; kk < k; ++kk) exact += static_cast<double>(problem.x.at(i, kk)) * w.at(j, kk);
      error += std::pow(c.at(i, j) - exact, 2);
      size += exact * exact;
    }
  }
  // Uniform errors of half a step of 1/255 and 1/100 of ranges of some 6 standard deviations: about 1.2 %.
  EXPECT_LT(std::sqrt(error / size), 0.016);
}

TEST(Int8Weights, KeepTheRuleForPairs) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 300; ++round) {
    std::vector<float> row(1 + random() % 50);
    for (float& x : row) x = normal(random) * (round % 3 == 0 ? 1e-20F : 1.0F);
    if (round % 5 == 0) row.assign(row.size(), 1);  // pairs of twice the largest
    std::vector<std::int8_t> q(row.size());
    const float scale = quantize_weights(row, q.data());
    ASSERT_TRUE(keeps_pair_rule(q)) << round;
    for (std::size_t i = 0; i < row.size(); ++i) {
      ASSERT_LE(std::abs(scale * static_cast<float>(q[i]) - row[i]), 0.51F * scale) << round;
    }
  }
}

TEST(Int8Weights, ZerosHaveNoScale) {
  const std::vector<float> row(9, 0.0F);
  std::vector<std::int8_t> q(9, 1);
  EXPECT_EQ(quantize_weights(row, q.data()), 0);
  EXPECT_EQ(q, std::vector<std::int8_t>(9, 0));
}

TEST(Int8Weights, BreachesOfTheRuleAreSeen) {
  EXPECT_TRUE(keeps_pair_rule(std::vector<std::int8_t>{127, 1, -127, -1, 127, -127, 127}));
  EXPECT_FALSE(keeps_pair_rule(std::vector<std::int8_t>{127, 2}));
  EXPECT_FALSE(keeps_pair_rule(std::vector<std::int8_t>{0, 0, -64, -65}));
  EXPECT_FALSE(keeps_pair_rule(std::vector<std::int8_t>{-128}));
}

TEST(Int8, CeilingIsPlausible) {
  EXPECT_GT(measure_int8_ceiling(tests::test_isa(), 1), 1e8);
  EXPECT_LT(measure_int8_ceiling(tests::test_isa(), 1), 4e12);
}

}  // namespace
}  // namespace kvasir::kernels
