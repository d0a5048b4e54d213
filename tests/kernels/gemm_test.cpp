// The matrix product against double precision and the scalar twin, over shapes, tails, misalignment and
// epilogues; and that a result does not depend on how a product is cut.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "kernel_data.h"
#include "kernels/kernels.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tests::Matrix;

constexpr Activation kActivations[] = {Activation::kNone, Activation::kGelu, Activation::kGeluTanh,
                                       Activation::kRelu, Activation::kSilu};

const Fp32Kernels& isa() {
  return fp32_kernels_for(tests::test_isa());
}

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kNone:
      break;
  }
  return x;
}

struct Product {
  std::size_t m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true;
  enum class Residual { kNone, kOther, kSame } residual = Residual::kNone;
  std::size_t lda_margin = 3;

  std::string name() const {
    return "m " + std::to_string(m) + " n " + std::to_string(n) + " k " + std::to_string(k) + " activation " +
           std::to_string(static_cast<int>(activation)) + " residual " +
           std::to_string(static_cast<int>(residual)) + (bias ? " bias" : "");
  }
};

// The operands of a product, at odd addresses, and its exact result.
struct Problem {
  explicit Problem(const Product& p)
      : product(p),
        a({p.m, p.k, p.lda_margin}, 1),
        w({p.n, p.k, 0}, 2),
        bias({1, p.n, 0, 3}, 3),
        residual({p.m, p.n, 5}, 4) {}

  Matrix run(const Fp32Kernels& kernels, const std::vector<GemmBlock>& blocks = {}) const {
    const PackedMatrix packed = pack(kernels, w.data(), product.n, product.k);
    Matrix c = output();
    const GemmCall call = make_call(packed, c);
    if (blocks.empty()) {
      kernels.gemm_block(call, {0, product.m, 0, packed.panels()});
    } else {
      for (const GemmBlock& block : blocks) kernels.gemm_block(call, block);
    }
    return c;
  }
  Matrix run(const Fp32Kernels& kernels, base::ThreadPool& pool) const {
    const PackedMatrix packed = pack(kernels, w.data(), product.n, product.k);
    Matrix c = output();
    gemm(kernels, pool, make_call(packed, c));
    return c;
  }

  // The result in double precision and a bound of the rounding error of any summation order.
  struct Exact {
    double value, error;
  };
  Exact exact(std::size_t i, std::size_t j) const {
    double sum = 0, size = 0;
    for (std::size_t kk = 0; kk < product.k; ++kk) {
      const double term = static_cast<double>(a.at(i, kk)) * static_cast<double>(w.at(j, kk));
      sum += term;
      size += std::abs(term);
    }
    if (product.bias) sum += static_cast<double>(bias.at(0, j));
    double value = activate(product.activation, sum);
    if (product.residual != Product::Residual::kNone) value += static_cast<double>(residual.at(i, j));
    // Each of up to k + 4 operations rounds by 2^-24 of what it has so far; no activation is steeper than
    // 1.13; 1e-7 is what activations may add.
    const double rounding = std::ldexp(static_cast<double>(product.k) + 4, -24);
    return {value, 1.13 * rounding * (size + std::abs(sum) + std::abs(value)) + 1e-7};
  }

  Product product;
  Matrix a, w, bias, residual;

 private:
  Matrix output() const {
    Matrix c({product.m, product.n, 5});
    if (product.residual == Product::Residual::kSame) c = residual;
    return c;
  }
  GemmCall make_call(const PackedMatrix& packed, Matrix& c) const {
    GemmCall call{.a = a.data(),
                  .lda = a.stride(),
                  .b = &packed,
                  .bias = product.bias ? bias.data() : nullptr,
                  .activation = product.activation,
                  .c = c.data(),
                  .ldc = c.stride(),
                  .m = product.m};
    if (product.residual != Product::Residual::kNone) {
      const Matrix& r = product.residual == Product::Residual::kSame ? c : residual;
      call.residual = r.data();
      call.ldr = r.stride();
    }
    return call;
  }
};

void expect_right(const Problem& problem, const Matrix& c) {
  ASSERT_TRUE(c.guards_intact()) << problem.product.name();
  for (std::size_t i = 0; i < problem.product.m; ++i) {
    for (std::size_t j = 0; j < problem.product.n; ++j) {
      const Problem::Exact exact = problem.exact(i, j);
      ASSERT_NEAR(static_cast<double>(c.at(i, j)), exact.value, exact.error)
          << problem.product.name() << " at " << i << ", " << j;
    }
  }
}

TEST(Gemm, EqualsDoublePrecisionOverShapesAndTails) {
  // Rows around every tile height, columns around panels and pairs of them, any k.
  std::size_t turn = 0;
  for (const std::size_t m : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 19, 24, 25, 31}) {
    for (const std::size_t n : {1, 7, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 80, 127, 129, 150}) {
      for (const std::size_t k : {1, 2, 3, 16, 33, 100}) {
        const Problem problem({.m = m,
                               .n = n,
                               .k = k,
                               .activation = kActivations[turn % 4],
                               .bias = turn % 3 != 0,
                               .residual = static_cast<Product::Residual>(turn / 4 % 3)});
        ++turn;
        expect_right(problem, problem.run(isa()));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Gemm, EveryEpilogue) {
  for (const Activation activation : kActivations) {
    for (const bool bias : {false, true}) {
      for (const auto residual :
           {Product::Residual::kNone, Product::Residual::kOther, Product::Residual::kSame}) {
        const Problem problem(
            {.m = 27, .n = 75, .k = 40, .activation = activation, .bias = bias, .residual = residual});
        expect_right(problem, problem.run(isa()));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Gemm, EqualsTheScalarTwin) {
  for (const Activation activation : kActivations) {
    const Problem problem({.m = 37, .n = 83, .k = 129, .activation = activation});
    const Matrix c = problem.run(isa());
    const Matrix twin = problem.run(fp32_kernels_for(base::Isa::kScalar));
    for (std::size_t i = 0; i < c.rows(); ++i) {
      for (std::size_t j = 0; j < c.columns(); ++j) {
        ASSERT_NEAR(c.at(i, j), twin.at(i, j), 2 * problem.exact(i, j).error) << i << ", " << j;
      }
    }
  }
}

// Rows 4 KiB apart take another tile height.
TEST(Gemm, RowsAFewPagesApart) {
  for (const std::size_t m : {1, 8, 9, 12, 40}) {
    const Problem problem(
        {.m = m, .n = 70, .k = 1000, .residual = Product::Residual::kOther, .lda_margin = 24});
    ASSERT_EQ(problem.a.stride() % 1024, 0U);
    expect_right(problem, problem.run(isa()));
  }
}

TEST(Gemm, BitsDoNotDependOnTheCut) {
  for (const std::size_t margin : {0U, 24U}) {  // 24: rows 4 KiB apart
    const Product product{.m = 61,
                          .n = 149,
                          .k = 1000,
                          .activation = Activation::kGelu,
                          .residual = Product::Residual::kOther,
                          .lda_margin = margin};
    const Problem problem(product);
    const std::size_t panels = (product.n + kPanelColumns - 1) / kPanelColumns;
    const Matrix whole = problem.run(isa());
    std::mt19937 random(5);
    for (int round = 0; round < 20; ++round) {
      // Cuts at random rows and panels; in the first round all possible ones: each row and panel alone.
      const auto cut = [&](std::size_t size) {
        std::vector<std::size_t> cuts{0};
        for (std::size_t i = 1; i < size; ++i) {
          if (round == 0 || random() % 7 == 0) cuts.push_back(i);
        }
        cuts.push_back(size);
        return cuts;
      };
      const auto rows = cut(product.m), columns = cut(panels);
      std::vector<GemmBlock> blocks;
      for (std::size_t r = 0; r + 1 < rows.size(); ++r) {
        for (std::size_t c = 0; c + 1 < columns.size(); ++c) {
          blocks.push_back({rows[r], rows[r + 1], columns[c], columns[c + 1]});
        }
      }
      std::shuffle(blocks.begin(), blocks.end(), random);
      ASSERT_TRUE(whole.same_bits(problem.run(isa(), blocks))) << "round " << round;
    }
  }
}

TEST(Gemm, BitsDoNotDependOnThreads) {
  for (const Product& product : {Product{.m = 1, .n = 2000, .k = 300}, Product{.m = 700, .n = 100, .k = 500},
                                 Product{.m = 130, .n = 777, .k = 65, .residual = Product::Residual::kSame},
                                 Product{.m = 40, .n = 16, .k = 4000, .activation = Activation::kGeluTanh}}) {
    const Problem problem(product);
    const Matrix whole = problem.run(isa());
    for (const int threads : {1, 2, 3, 7}) {
      base::ThreadPool pool(threads);
      ASSERT_TRUE(whole.same_bits(problem.run(isa(), pool))) << product.name() << ", " << threads;
    }
  }
}

TEST(Gemm, NoRowsNoWork) {
  const Problem problem({.m = 1, .n = 20, .k = 10});
  const PackedMatrix packed = pack(isa(), problem.w.data(), 20, 10);
  base::ThreadPool pool(2);
  Matrix c({1, 20});
  gemm(isa(), pool, {.a = problem.a.data(), .lda = 10, .b = &packed, .c = c.data(), .ldc = 20, .m = 0});
  EXPECT_TRUE(c.same_bits(Matrix({1, 20})));
}

TEST(Kernels, TableIsOfTheInstructionSet) {
  EXPECT_EQ(kernels_for(tests::test_isa()).isa, tests::test_isa());
}

TEST(Kernels, CeilingIsPlausible) {
  const double one = measure_fma_ceiling(tests::test_isa(), 1);
  EXPECT_GT(one, 1e8);
  EXPECT_LT(one, 1e12);
  EXPECT_GT(measure_fma_ceiling(tests::test_isa(), 2), one);  // two best-of-many runs, each near `one`
}

}  // namespace
}  // namespace kvasir::kernels
