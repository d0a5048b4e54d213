// Products of quants: the same bits as the scalar twin over types, shapes and cuts, whatever the bytes; and
// the scalar twin against what the quants stand for.
#include "kernels/quants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernel_data.h"
#include "quant_data.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tensor::DType;
using tests::Matrix;

constexpr DType kTypes[] = {DType::kQ4_0, DType::kQ4_1,   DType::kQ5_0, DType::kQ5_1,
                            DType::kQ8_0, DType::kIQ4_NL, DType::kQ2_K, DType::kQ3_K,
                            DType::kQ4_K, DType::kQ5_K,   DType::kQ6_K};

const QuantKernels& isa() {
  return quant_kernels_for(tests::test_isa());
}
const QuantKernels& twin() {
  return quant_kernels_for(base::Isa::kScalar);
}

// Quantised activations in memory of their own.
struct Rows {
  Rows(const QuantKernels& kernels, const Matrix& x)
      : memory(quant_rows_bytes(x.rows(), x.columns())),
        rows(quant_rows(memory.data(), x.rows(), x.columns())),
        count(x.rows()),
        columns(x.columns()) {
    kernels.quantize({.x = x.data(), .ldx = x.stride(), .rows = x.rows(), .columns = x.columns()}, rows);
  }
  bool same_as(const Rows& other) const {
    for (std::size_t r = 0; r < count; ++r) {
      if (std::memcmp(rows.data + r * rows.stride, other.rows.data + r * rows.stride, columns) != 0)
        return false;
      if (std::memcmp(rows.quants + r * rows.quant_stride, other.rows.quants + r * rows.quant_stride,
                      rows.quant_stride * sizeof(RowQuant)) != 0)
        return false;
    }
    return true;
  }
  const RowQuant& quant(std::size_t r, std::size_t j) const {
    return rows.quants[r * rows.quant_stride + j / tensor::kQuantElements];
  }
  int byte(std::size_t r, std::size_t j) const { return rows.data[r * rows.stride + j]; }
  double value(std::size_t r, std::size_t j) const {
    return static_cast<double>(quant(r, j).scale) * byte(r, j);
  }

  tensor::Buffer<std::byte> memory;
  QuantRows rows;
  std::size_t count, columns;
};

struct Product {
  DType dtype;
  std::size_t m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true;
  enum class Residual { kNone, kOther, kSame } residual = Residual::kNone;

  std::string name() const {
    return std::string(tensor::dtype_name(dtype)) + " m " + std::to_string(m) + " n " + std::to_string(n) +
           " k " + std::to_string(k);
  }
};

struct Problem {
  explicit Problem(const Product& p)
      : product(p),
        x({p.m, p.k, 3}, 1),
        bias({1, p.n, 0, 3}, 3),
        residual({p.m, p.n, 5}, 4),
        file(tests::random_quants(p.dtype, p.n, p.k)) {
    pack();
  }
  void pack() {
    packed = allocate_quants(product.dtype, product.n, product.k);
    pack_quant_rows(file.data(), {.begin = 0, .end = product.n}, packed);
  }

  QuantGemmCall call(const Rows& a, Matrix& c) const {
    const float* from = product.residual == Product::Residual::kNone   ? nullptr
                        : product.residual == Product::Residual::kSame ? c.data()
                                                                       : residual.data();
    return {.a = a.rows,
            .b = &packed,
            .bias = product.bias ? bias.data() : nullptr,
            .activation = product.activation,
            .residual = from,
            .ldr = product.residual == Product::Residual::kSame ? c.stride() : residual.stride(),
            .c = c.data(),
            .ldc = c.stride(),
            .m = product.m};
  }
  Matrix start() const {
    return product.residual == Product::Residual::kSame ? residual : Matrix({product.m, product.n, 5});
  }
  Matrix run(const QuantKernels& kernels) const {
    const Rows a(kernels, x);
    Matrix c = start();
    kernels.gemm_block(call(a, c), {0, product.m, 0, packed.panels()});
    return c;
  }

  Product product;
  Matrix x, bias, residual;
  std::vector<std::byte> file;
  QuantMatrix packed;
};

std::size_t quant_of(DType dtype) {
  return tensor::dtype_quant_elements(dtype);
}

TEST(Quants, QuantizedRowsAreTheSameBytes) {
  for (const std::size_t columns : {32, 64, 96, 256, 576, 1056}) {
    for (const float size : {1e-20F, 1.0F, 1e10F}) {
      Matrix x({5, columns, 3}, static_cast<std::uint32_t>(columns), size);
      for (std::size_t j = 0; j < columns; ++j) {
        x.at(3, j) = static_cast<float>(static_cast<int>(j % 7) - 3) / 2;  // ties
        x.at(4, j) = j < 32 ? 0 : 1e-35F;
      }
      ASSERT_TRUE(Rows(isa(), x).same_as(Rows(twin(), x))) << columns << ", " << size;
    }
  }
}

TEST(Quants, QuantizedRowsAreWithinHalfAStep) {
  const Matrix x({9, 288, 1}, 3, 4);
  const Rows rows(isa(), x);
  for (std::size_t i = 0; i < x.rows(); ++i) {
    for (std::size_t j = 0; j < x.columns(); ++j) {
      const RowQuant& quant = rows.quant(i, j);
      ASSERT_NEAR(rows.value(i, j), double{x.at(i, j)}, double{quant.scale} * 0.5001);
      if (j % 32 != 0) continue;
      int halves[2] = {}, largest = 0;
      for (std::size_t e = 0; e < 32; ++e) {
        halves[e / 16] += rows.byte(i, j + e);
        largest = std::max(largest, std::abs(rows.byte(i, j + e)));
      }
      ASSERT_EQ(largest, 127);
      ASSERT_EQ(quant.halves[0], halves[0]);
      ASSERT_EQ(quant.halves[1], halves[1]);
      ASSERT_EQ(quant.sum, quant.scale * static_cast<float>(halves[0] + halves[1]));
    }
  }
}

TEST(Quants, RowsThatAreNoNumbersBreakNothing) {
  for (const float bad : {INFINITY, -INFINITY, NAN, 3e38F}) {
    Matrix x({1, 64, 0}, 3);
    x.at(0, 17) = bad;
    const Rows rows(isa(), x);
    for (std::size_t j = 0; j < 64; ++j) {
      EXPECT_GE(rows.byte(0, j), -127);
      EXPECT_LE(rows.byte(0, j), 127);
    }
    if (std::isinf(bad)) {
      EXPECT_TRUE(std::isinf(rows.quant(0, 0).scale));
    }
    EXPECT_TRUE(std::isfinite(rows.quant(0, 32).scale));
  }
}

class QuantTypeTest : public testing::TestWithParam<DType> {};

// The product of the quantised activations with what ggml's formulas say of the quants.
TEST_P(QuantTypeTest, IsTheProductOfWhatTheQuantsStandFor) {
  const std::size_t k = 2 * tensor::kSuperQuantElements + (quant_of(GetParam()) == 32 ? 32 : 256);
  const Problem problem({.dtype = GetParam(), .m = 3, .n = 37, .k = k, .bias = false});
  std::vector<float> w(37 * k);
  tensor::dequantize(GetParam(), problem.file.data(), w);
  const Rows a(isa(), problem.x);
  const Matrix c = problem.run(isa());
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 37; ++j) {
      double exact = 0, size = 0;
      for (std::size_t kk = 0; kk < k; ++kk) {
        exact += a.value(i, kk) * double{w[j * k + kk]};
        size += std::abs(a.value(i, kk) * double{w[j * k + kk]});
      }
      ASSERT_NEAR(double{c.at(i, j)}, exact, 1e-6 * size) << i << ", " << j;
    }
  }
}

TEST_P(QuantTypeTest, EqualsTheScalarTwinOverShapesAndTails) {
  const std::size_t quant = quant_of(GetParam());
  std::size_t turn = 0;
  for (std::size_t m = 1; m <= 33; ++m) {
    for (const std::size_t n : {1, 7, 15, 16, 17, 31, 33, 48, 65}) {
      ++turn;
      const Problem problem({.dtype = GetParam(),
                             .m = m,
                             .n = n,
                             .k = (1 + turn % 3) * quant,
                             .bias = turn % 3 != 0,
                             .residual = static_cast<Product::Residual>(turn % 3)});
      const Matrix c = problem.run(isa());
      ASSERT_TRUE(c.guards_intact()) << problem.product.name();
      ASSERT_TRUE(c.same_bits(problem.run(twin()))) << problem.product.name();
    }
  }
}

// Each row by itself gives what it gives in a batch.
TEST_P(QuantTypeTest, BitsDoNotDependOnRows) {
  const Problem problem({.dtype = GetParam(), .m = 33, .n = 50, .k = 2 * quant_of(GetParam())});
  const Matrix whole = problem.run(isa());
  const Rows a(isa(), problem.x);
  for (std::size_t count = 1; count <= 33; ++count) {
    Matrix c = problem.start();
    for (std::size_t row = 0; row < 33; row += count) {
      isa().gemm_block(problem.call(a, c),
                       {row, std::min<std::size_t>(33, row + count), 0, problem.packed.panels()});
    }
    ASSERT_TRUE(whole.same_bits(c)) << count;
  }
}

TEST_P(QuantTypeTest, BitsDoNotDependOnThreadsOrCuts) {
  const std::size_t k = 2 * tensor::kSuperQuantElements;
  for (const Product& product : {Product{.dtype = GetParam(), .m = 1, .n = 1000, .k = k},
                                 Product{.dtype = GetParam(), .m = 200, .n = 100, .k = k},
                                 Product{.dtype = GetParam(), .m = 13, .n = 333, .k = k}}) {
    const Problem problem(product);
    const Matrix whole = problem.run(isa());
    const Rows a(isa(), problem.x);
    for (const int threads : {1, 2, 3, 7}) {
      base::ThreadPool pool(threads);
      Matrix c = problem.start();
      gemm(isa(), pool, problem.call(a, c));
      ASSERT_TRUE(whole.same_bits(c)) << product.name() << ", " << threads;
    }
  }
}

// Columns in blocks of their own, and activations.
TEST_P(QuantTypeTest, CutOutputAndActivations) {
  const std::size_t m = 14, n = 96, k = quant_of(GetParam());
  for (const Activation activation : {Activation::kGelu, Activation::kRelu, Activation::kSilu}) {
    const Problem problem({.dtype = GetParam(), .m = m, .n = n, .k = k, .activation = activation});
    const Matrix expected = problem.run(twin());
    const Rows a(isa(), problem.x);
    Matrix c({3 * m, 32});
    QuantGemmCall call = problem.call(a, c);
    call.c_block = 32;
    call.c_block_stride = m * 32;
    isa().gemm_block(call, {0, m, 0, problem.packed.panels()});
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        const float value = c.at(j / 32 * m + i, j % 32), exact = expected.at(i, j);
        ASSERT_NEAR(value, exact, 1e-6F * std::max(1.0F, std::abs(exact)));
      }
    }
  }
}

// All weights and activations as large as they can be, of either sign: what overflows 16 bits if anything
// does.
TEST_P(QuantTypeTest, NothingSaturates) {
  const std::size_t k = 2 * tensor::kSuperQuantElements;
  for (const int byte : {0x00, 0x7F, 0x80, 0xFF}) {
    for (const float sign : {-1.0F, 1.0F}) {
      Problem problem({.dtype = GetParam(), .m = 5, .n = 33, .k = k, .bias = false});
      std::vector<std::byte> halves = problem.file;
      std::fill(problem.file.begin(), problem.file.end(), static_cast<std::byte>(byte));
      for (std::size_t at = 0; at < halves.size(); at += tensor::dtype_size(GetParam())) {
        for (const std::size_t half : tests::halves_of(GetParam()))
          std::memcpy(&problem.file[at + half], &halves[at + half], 2);
      }
      problem.pack();
      for (std::size_t i = 0; i < 5; ++i) {
        for (std::size_t j = 0; j < k; ++j) problem.x.at(i, j) = i == 4 && j % 2 == 1 ? -sign : sign;
      }
      ASSERT_TRUE(problem.run(isa()).same_bits(problem.run(twin()))) << byte << ", " << sign;
    }
  }
}

// Rows that are packed piece by piece, from an address that no vector likes.
TEST_P(QuantTypeTest, PacksInPieces) {
  const std::size_t n = 70, k = quant_of(GetParam()) * 3;
  const Problem problem({.dtype = GetParam(), .m = 1, .n = n, .k = k});
  const std::size_t row_bytes = tensor::dtype_bytes(GetParam(), k);
  std::vector<std::byte> shifted(problem.file.size() + 1);
  std::copy(problem.file.begin(), problem.file.end(), shifted.begin() + 1);
  QuantMatrix pieces = allocate_quants(GetParam(), n, k);
  for (const RowRange range : {RowRange{48, 70}, RowRange{0, 16}, RowRange{16, 48}}) {
    pack_quant_rows(shifted.data() + 1 + range.begin * row_bytes, range, pieces);
  }
  EXPECT_TRUE(std::ranges::equal(pieces.data.span(), problem.packed.data.span()));
  EXPECT_TRUE(std::ranges::equal(pieces.halves.span(), problem.packed.halves.span()));
  // As many bytes as the file's rows, the last panel filled up.
  EXPECT_EQ(pieces.bytes(), pieces.panels() * kPanelColumns * row_bytes);
}

INSTANTIATE_TEST_SUITE_P(All, QuantTypeTest, testing::ValuesIn(kTypes),
                         [](const auto& test) { return std::string(tensor::dtype_name(test.param)); });

TEST(Quants, TypesWithoutProducts) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8}) {
    EXPECT_FALSE(is_quant_product(dtype)) << tensor::dtype_name(dtype);
  }
  for (const DType dtype : kTypes) EXPECT_TRUE(is_quant_product(dtype)) << tensor::dtype_name(dtype);
}

TEST(Quants, BandwidthIsPlausible) {
  const double rate = measure_bandwidth(1);
  EXPECT_GT(rate, 2e8);
  EXPECT_LT(rate, 2e12);
}

}  // namespace
}  // namespace kvasir::kernels
