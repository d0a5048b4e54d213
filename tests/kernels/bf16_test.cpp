// Products of bfloat16: against double precision over what was rounded, shapes, tails and cuts; attention
// against that of floats.
#include "kernels/bf16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernel_data.h"
#include "tensor/dtype.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tests::Matrix;

class Bf16 : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels == nullptr) GTEST_SKIP() << "no bf16 with this instruction set here";
  }
  const Bf16Kernels* kernels = bf16_kernels_for(tests::test_isa());
};

struct Problem {
  Problem(std::size_t rows, std::size_t columns, std::size_t depth)
      : m(rows),
        n(columns),
        k(depth),
        x({rows, depth, 3}, 1),
        w({columns, depth, 0}, 2, 0.1F),
        bias({1, columns, 0, 3}, 3),
        residual({rows, columns, 5}, 4),
        packed(allocate_bf16(columns, depth)),
        a(rows * bf16_stride(depth)) {
    pack_bf16_rows(w.data(), {.begin = 0, .end = n}, packed);
  }
  Bf16GemmCall call(const Bf16Kernels& kernels, Matrix& c) {
    kernels.convert({.x = x.data(), .ldx = x.stride(), .y = a.data(), .rows = m, .columns = k});
    return {.a = a.data(),
            .lda = bf16_stride(k),
            .b = &packed,
            .bias = bias.data(),
            .residual = residual.data(),
            .ldr = residual.stride(),
            .c = c.data(),
            .ldc = c.stride(),
            .m = m};
  }
  static double rounded(float value) {
    return static_cast<double>(tensor::bfloat16_to_float(tensor::float_to_bfloat16(value)));
  }
  void expect_right(const Matrix& c) const {
    ASSERT_TRUE(c.guards_intact());
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        const double shift = static_cast<double>(bias.at(0, j)),
                     before = static_cast<double>(residual.at(i, j));
        double sum = shift + before, size = std::abs(shift) + std::abs(before);
        for (std::size_t kk = 0; kk < k; ++kk) {
          const double term = rounded(x.at(i, kk)) * rounded(w.at(j, kk));
          sum += term;
          size += std::abs(term);
        }
        ASSERT_NEAR(static_cast<double>(c.at(i, j)), sum, std::ldexp(static_cast<double>(k) + 4, -23) * size)
            << m << " x " << n << " x " << k << " at " << i << ", " << j;
      }
    }
  }

  std::size_t m, n, k;
  Matrix x, w, bias, residual;
  Bf16Matrix packed;
  std::vector<std::uint16_t> a;
};

TEST_F(Bf16, EqualsDoublePrecisionOverShapesAndTails) {
  for (const std::size_t m : {1, 2, 5, 8, 11, 12, 13, 25}) {
    for (const std::size_t n : {1, 15, 16, 17, 33, 65, 129}) {
      for (const std::size_t k : {1, 2, 3, 16, 33, 100}) {
        Problem problem(m, n, k);
        Matrix c({m, n, 5});
        kernels->gemm_block(problem.call(*kernels, c), {0, m, 0, problem.packed.panels()});
        problem.expect_right(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(Bf16, BitsDoNotDependOnThreads) {
  for (const std::size_t m : {1, 70, 400}) {
    Problem problem(m, 300, 77);
    Matrix whole({m, 300, 5});
    kernels->gemm_block(problem.call(*kernels, whole), {0, m, 0, problem.packed.panels()});
    for (const int threads : {1, 2, 5}) {
      base::ThreadPool pool(threads);
      Matrix c({m, 300, 5});
      gemm(*kernels, pool, problem.call(*kernels, c));
      ASSERT_TRUE(c.same_bits(whole)) << m << ", " << threads;
    }
  }
}

TEST_F(Bf16, ConvertsAsTheScalarTwinAndClearsTheRest) {
  for (const std::size_t columns : {1, 15, 16, 31, 32, 33, 100, 2048}) {
    const Matrix x({3, columns, 2}, 5, 3);
    const std::size_t size = 3 * bf16_stride(columns);
    std::vector<std::uint16_t> actual(size, 7), expected(size, 9);
    kernels->convert({.x = x.data(), .ldx = x.stride(), .y = actual.data(), .rows = 3, .columns = columns});
    bf16_kernels_for(base::Isa::kScalar)
        ->convert({.x = x.data(), .ldx = x.stride(), .y = expected.data(), .rows = 3, .columns = columns});
    ASSERT_EQ(actual, expected) << columns;
  }
}

TEST_F(Bf16, AttentionIsNearThatOfFloats) {
  const Fp32Kernels& fp32 = fp32_kernels_for(tests::test_isa());
  for (const std::size_t keys : {1, 2, 15, 16, 17, 100, 513, 700}) {
    for (const std::size_t head_dim : {1, 2, 8, 17, 32, 64, 80}) {
      const std::size_t queries = std::min<std::size_t>(keys, 30);
      const Matrix q({queries, head_dim, 5}, 1), k({keys, head_dim, 7}, 2), v({keys, head_dim, 7}, 3);
      Matrix expected({queries, head_dim, 3}), actual({queries, head_dim, 3});
      tensor::Buffer<float> scratch(fp32.attention_scratch(queries, keys, head_dim));
      std::memset(scratch.data(), 0xFF, scratch.size() * sizeof(float));  // NaN: nothing may rely on it
      AttentionCall call{.q = q.data(),
                         .k = k.data(),
                         .v = v.data(),
                         .out = expected.data(),
                         .q_stride = q.stride(),
                         .kv_stride = k.stride(),
                         .out_stride = expected.stride(),
                         .queries = queries,
                         .keys = keys,
                         .head_dim = head_dim,
                         .scale = 1 / std::sqrt(static_cast<float>(head_dim))};
      fp32.attention(call, scratch.data());
      call.out = actual.data();
      std::memset(scratch.data(), 0xFF, scratch.size() * sizeof(float));
      kernels->attention(call, scratch.data());
      ASSERT_TRUE(actual.guards_intact());
      for (std::size_t i = 0; i < queries; ++i) {
        for (std::size_t d = 0; d < head_dim; ++d) {
          ASSERT_NEAR(actual.at(i, d), expected.at(i, d), 0.03) << keys << " keys of " << head_dim;
        }
      }
    }
  }
}

TEST(Bf16Ceiling, IsPlausible) {
  const double ceiling = measure_bf16_ceiling(tests::test_isa(), 1);
  EXPECT_TRUE(ceiling == 0 || (ceiling > 1e9 && ceiling < 2e12)) << ceiling;
}

}  // namespace
}  // namespace kvasir::kernels
