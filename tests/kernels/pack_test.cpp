// Packing by parts gives the same panels as packing at once, padding included.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/kernels.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

TEST(Pack, PartsEqualTheWhole) {
  for (const std::size_t n : {1u, 16u, 40u, 70u}) {
    for (const std::size_t k : {1u, 16u, 33u}) {
      std::vector<float> w(n * k);
      for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i + 1);
      const PackedMatrix whole = kernels_for(tests::test_isa()).pack(w.data(), n, k);
      PackedMatrix parts = allocate_packed(n, k);
      std::ranges::fill(parts.data.span(), -1.0F);
      for (std::size_t end = n; end > 0;) {  // the last part first, and of uneven sizes
        const std::size_t begin = (end - 1) / 32 * 32;
        pack_rows(w.data() + begin * k, {.begin = begin, .end = end}, parts);
        end = begin;
      }
      EXPECT_TRUE(std::ranges::equal(parts.data.span(), whole.data.span())) << n << " x " << k;
    }
  }
}

}  // namespace
}  // namespace kvasir::kernels
