#include "tensor/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::tensor {
namespace {

bool aligned(const float* p, std::size_t to) {
  return reinterpret_cast<std::uintptr_t>(p) % to == 0;
}

TEST(Buffer, IsAlignedAndWritable) {
  for (const std::size_t size : {1U, 15U, 16U, 17U, 4096U, 700'000U}) {
    Buffer<float> buffer(size);
    ASSERT_EQ(buffer.size(), size);
    EXPECT_TRUE(aligned(buffer.data(), kAlignment)) << size;
    for (float& x : buffer.span()) x = 1;
    EXPECT_EQ(std::as_const(buffer).span().back(), 1);
  }
}

TEST(Buffer, LargeOnesBeginOnAHugePage) {
  EXPECT_TRUE(aligned(Buffer<float>(std::size_t{512} * 1024).data(), std::size_t{2} << 20));
}

TEST(Buffer, EmptyOnesHoldNothing) {
  EXPECT_EQ(Buffer<float>().data(), nullptr);
  EXPECT_EQ(Buffer<float>(0).data(), nullptr);
  EXPECT_EQ(Buffer<float>(0).size(), 0U);
}

TEST(Buffer, RefusesSizesThatOverflow) {
  constexpr std::size_t kMax = std::numeric_limits<std::size_t>::max();
  for (const std::size_t size : {kMax, kMax / 4, kMax / 4 + 2, kMax / 8 + 1}) {
    try {
      Buffer<float> buffer(size);
      FAIL() << size << " floats were granted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResourceExhausted);
    }
  }
}

TEST(Workspace, GrowsOnlyAndKeepsSlotsApart) {
  Workspace workspace;
  float* small = workspace.floats(0, 100);
  EXPECT_TRUE(aligned(small, kAlignment));
  EXPECT_EQ(workspace.floats(0, 50), small);
  EXPECT_EQ(workspace.floats(0, 100), small);
  float* other = workspace.floats(1, 100);
  EXPECT_NE(other, small);
  other[99] = 3;
  float* large = workspace.floats(0, 1'000'000);
  large[999'999] = 1;
  EXPECT_EQ(workspace.floats(0, 100), large);
  EXPECT_EQ(other[99], 3);
}

}  // namespace
}  // namespace kvasir::tensor
