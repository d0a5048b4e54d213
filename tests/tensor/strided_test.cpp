#include "tensor/strided.h"

#include <gtest/gtest.h>

#include <cstring>

namespace kvasir::tensor {
namespace {

std::vector<std::uint16_t> copied(const std::vector<std::uint16_t>& from, Shape shape,
                                  std::vector<std::int64_t> strides) {
  const StridedView view{.dtype = DType::kU16,
                         .shape = std::move(shape),
                         .strides = std::move(strides),
                         .data = reinterpret_cast<const std::byte*>(from.data())};
  std::vector<std::uint16_t> to(view.elements());
  copy_elements(view, reinterpret_cast<std::byte*>(to.data()));
  return to;
}

using Numbers = std::vector<std::uint16_t>;

TEST(Strided, Copies) {
  const Numbers from{0, 1, 2, 3, 4, 5};
  EXPECT_EQ(copied(from, {2, 3}, {3, 1}), from);
  EXPECT_EQ(copied(from, {3, 2}, {1, 3}), (Numbers{0, 3, 1, 4, 2, 5}));  // transposed
  EXPECT_EQ(copied(from, {3}, {2}), (Numbers{0, 2, 4}));                 // every other
  EXPECT_EQ(copied(from, {2, 2}, {0, 1}), (Numbers{0, 1, 0, 1}));        // expanded
  EXPECT_EQ(copied(from, {}, {}), Numbers{0});                           // a scalar
  EXPECT_EQ(copied(from, {2, 0}, {3, 1}), Numbers{});
  EXPECT_EQ(copied(from, {3, 1, 2}, {1, 99, 3}), (Numbers{0, 3, 1, 4, 2, 5}));  // 99 is never taken
}

TEST(Strided, Contiguous) {
  const auto contiguous = [](Shape shape, std::vector<std::int64_t> strides) {
    return StridedView{.shape = std::move(shape), .strides = std::move(strides)}.is_contiguous();
  };
  EXPECT_TRUE(contiguous({2, 3}, {3, 1}));
  EXPECT_TRUE(contiguous({}, {}));
  EXPECT_TRUE(contiguous({1, 3}, {512, 1}));
  EXPECT_TRUE(contiguous({2, 1, 3}, {3, 7, 1}));
  EXPECT_TRUE(contiguous({0, 3}, {9, 9}));
  EXPECT_FALSE(contiguous({3, 2}, {1, 3}));
  EXPECT_FALSE(contiguous({2, 3}, {4, 1}));
  EXPECT_FALSE(contiguous({2}, {0}));
}

TEST(Strided, SwapsBytes) {
  std::uint32_t numbers[] = {0x01020304, 0xA0B0C0D0};
  swap_bytes(DType::kF32, reinterpret_cast<std::byte*>(numbers), 2);
  EXPECT_EQ(numbers[0], 0x04030201u);
  EXPECT_EQ(numbers[1], 0xD0C0B0A0u);
  swap_bytes(DType::kF16, reinterpret_cast<std::byte*>(numbers), 4);
  EXPECT_EQ(numbers[0], 0x03040102u);
}

}  // namespace
}  // namespace kvasir::tensor
