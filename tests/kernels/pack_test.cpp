// The packed layout, and that packing by parts gives the same panels as packing at once, padding included.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernel_data.h"
#include "kernels/kernels.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

TEST(Pack, PanelsHoldTheTransposedRows) {
  for (const std::size_t n : {1, 7, 8, 9, 15, 16, 17, 24, 40}) {
    for (const std::size_t k : {1, 7, 8, 9, 16, 21, 64}) {
      const tests::Matrix w({n, k, 0}, 7);
      const PackedMatrix packed = pack(fp32_kernels_for(tests::test_isa()), w.data(), n, k);
      ASSERT_EQ(packed.n, n);
      ASSERT_EQ(packed.k, k);
      ASSERT_EQ(packed.data.size(), packed.panels() * k * kPanelColumns);
      for (std::size_t j = 0; j < packed.panels() * kPanelColumns; ++j) {
        for (std::size_t kk = 0; kk < k; ++kk) {
          const float expected = j < n ? w.at(j, kk) : 0;
          ASSERT_EQ(packed.panel(j / kPanelColumns)[kk * kPanelColumns + j % kPanelColumns], expected)
              << "n " << n << " k " << k << " at " << j << ", " << kk;
        }
      }
    }
  }
}

TEST(Pack, PartsEqualTheWhole) {
  const Fp32Kernels& kernels = fp32_kernels_for(tests::test_isa());
  for (const std::size_t n : {1u, 16u, 40u, 70u}) {
    for (const std::size_t k : {1u, 16u, 33u}) {
      std::vector<float> w(n * k);
      for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i + 1);
      const PackedMatrix whole = pack(kernels, w.data(), n, k);
      PackedMatrix parts = allocate_packed(n, k);
      std::ranges::fill(parts.data.span(), -1.0F);
      for (std::size_t end = n; end > 0;) {  // the last part first, and of uneven sizes
        const std::size_t begin = (end - 1) / 32 * 32;
        kernels.pack_rows(w.data() + begin * k, {.begin = begin, .end = end}, parts);
        end = begin;
      }
      EXPECT_TRUE(std::ranges::equal(parts.data.span(), whole.data.span())) << n << " x " << k;
    }
  }
}

}  // namespace
}  // namespace kvasir::kernels
