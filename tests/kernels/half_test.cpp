// Products with weights of 16 bits: the bits of the fp32 product of the widened weights.
#include "kernels/half.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernel_data.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tensor::DType;
using tests::Matrix;

struct Product {
  DType dtype;
  std::size_t m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true, residual = true;

  std::string name() const {
    return "m " + std::to_string(m) + " n " + std::to_string(n) + " k " + std::to_string(k);
  }
};

struct Problem {
  explicit Problem(const Product& p)
      : product(p),
        a({p.m, p.k, 3}, 1),
        bias({1, p.n, 0, 3}, 3),
        residual({p.m, p.n, 5}, 4),
        wide(p.n * p.k) {
    const Matrix w({p.n, p.k, 0}, 2, 0.05F);
    std::vector<std::uint16_t> bits(p.n * p.k);
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const float x = w.data()[i];
      bits[i] = p.dtype == DType::kF16 ? tensor::float_to_half(x) : tensor::float_to_bfloat16(x);
      wide[i] = p.dtype == DType::kF16 ? tensor::half_to_float(bits[i]) : tensor::bfloat16_to_float(bits[i]);
    }
    file.resize(bits.size() * 2 + 1);  // at an odd address
    std::memcpy(file.data() + 1, bits.data(), bits.size() * 2);
    packed = allocate_half(p.dtype, p.n, p.k);
    const std::size_t cut = p.n / 32 * 16;
    pack_half_rows(file.data() + 1 + cut * p.k * 2, {cut, p.n}, packed);
    if (cut > 0) pack_half_rows(file.data() + 1, {0, cut}, packed);
  }

  template <class Call>
  Call call(Matrix& c) const {
    Call call;
    call.a = a.data();
    call.lda = a.stride();
    call.bias = product.bias ? bias.data() : nullptr;
    call.activation = product.activation;
    call.residual = product.residual ? residual.data() : nullptr;
    call.ldr = residual.stride();
    call.c = c.data();
    call.ldc = c.stride();
    call.m = product.m;
    return call;
  }
  Matrix fp32() const {
    const Fp32Kernels& kernels = fp32_kernels_for(tests::test_isa());
    const PackedMatrix b = pack(kernels, wide.data(), product.n, product.k);
    Matrix c({product.m, product.n, 5});
    auto fp32_call = call<GemmCall>(c);
    fp32_call.b = &b;
    kernels.gemm_block(fp32_call, {0, product.m, 0, b.panels()});
    return c;
  }
  Matrix half(int threads = 0) const {
    const HalfKernels& kernels = half_kernels_for(tests::test_isa());
    Matrix c({product.m, product.n, 5});
    auto half_call = call<HalfGemmCall>(c);
    half_call.b = &packed;
    if (threads == 0) {
      kernels.gemm_block(half_call, {0, product.m, 0, packed.panels()});
    } else {
      base::ThreadPool pool(threads);
      gemm(kernels, pool, half_call);
    }
    return c;
  }

  Product product;
  Matrix a, bias, residual;
  std::vector<float> wide;
  std::vector<std::byte> file;
  HalfMatrix packed;
};

class HalfTest : public testing::TestWithParam<DType> {};

TEST_P(HalfTest, HasTheBitsOfTheFp32Product) {
  std::size_t turn = 0;
  for (std::size_t m = 1; m <= 33; ++m) {
    for (const std::size_t n : {1, 7, 15, 16, 17, 33, 65, 150}) {
      ++turn;
      const Problem problem({.dtype = GetParam(),
                             .m = m,
                             .n = n,
                             .k = 1 + turn * 7 % 100,
                             .activation = turn % 5 == 0 ? Activation::kSilu : Activation::kNone,
                             .bias = turn % 3 != 0,
                             .residual = turn % 2 == 0});
      const Matrix c = problem.half();
      ASSERT_TRUE(c.guards_intact()) << problem.product.name();
      ASSERT_TRUE(c.same_bits(problem.fp32())) << problem.product.name();
    }
  }
}

TEST_P(HalfTest, BitsDoNotDependOnThreads) {
  for (const std::size_t m : {1, 40}) {
    const Problem problem({.dtype = GetParam(), .m = m, .n = 1000, .k = 333});
    const Matrix whole = problem.half();
    for (const int threads : {1, 2, 3, 7}) ASSERT_TRUE(whole.same_bits(problem.half(threads))) << threads;
  }
}

INSTANTIATE_TEST_SUITE_P(All, HalfTest, testing::Values(DType::kF16, DType::kBF16),
                         [](const auto& test) { return std::string(tensor::dtype_name(test.param)); });

}  // namespace
TEST(HalfAllFinite, SeesInfinityAndNaNAnywhere) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const std::uint16_t infinity = dtype == DType::kF16 ? 0x7C00 : 0x7F80;
    const auto largest = static_cast<std::uint16_t>(infinity - 1);
    for (const std::size_t count : {1, 7, 8, 9, 31}) {
      std::vector<std::uint16_t> numbers(count, largest);
      const auto* bytes = reinterpret_cast<const std::byte*>(numbers.data());
      EXPECT_TRUE(half_all_finite(dtype, bytes, count));
      for (std::size_t at = 0; at < count; ++at) {
        for (const int bits : {int{infinity}, infinity + 1, infinity | 0x8000, 0xFFFF}) {
          numbers[at] = static_cast<std::uint16_t>(bits);
          EXPECT_FALSE(half_all_finite(dtype, bytes, count)) << at << " of " << count << ": " << bits;
        }
        numbers[at] = largest;
      }
    }
  }
}

}  // namespace kvasir::kernels
