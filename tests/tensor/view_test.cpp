#include "tensor/view.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace kvasir::tensor {
namespace {

TEST(TensorView, ShapeText) {
  EXPECT_EQ(shape_text({}), "[]");
  EXPECT_EQ(shape_text({768, 3072}), "[768, 3072]");
}

TEST(TensorView, Elements) {
  EXPECT_EQ((TensorView{DType::kF32, {}, nullptr}.elements()), 1u);
  EXPECT_EQ((TensorView{DType::kF32, {3, 0, 4}, nullptr}.elements()), 0u);
  EXPECT_EQ((TensorView{DType::kF16, {3, 5}, nullptr}.bytes()), 30u);
}

// Elements of T at an address that is aligned for nothing.
template <class T>
std::vector<float> read_unaligned(DType dtype, const std::vector<T>& elements, std::size_t first,
                                  std::size_t count) {
  std::vector<std::byte> bytes(1 + elements.size() * sizeof(T));
  if (!elements.empty()) std::memcpy(bytes.data() + 1, elements.data(), elements.size() * sizeof(T));
  const TensorView view{dtype, {static_cast<std::int64_t>(elements.size())}, bytes.data() + 1};
  std::vector<float> out(count);
  view.read_floats(first, out);
  return out;
}

TEST(TensorView, ReadsEveryFloatType) {
  const std::vector<float> expected{-2.5f, 0.25f};
  EXPECT_EQ(read_unaligned<float>(DType::kF32, {1, -2.5f, 0.25f}, 1, 2), expected);
  EXPECT_EQ(read_unaligned<double>(DType::kF64, {1, -2.5, 0.25, 7}, 1, 2), expected);
  EXPECT_EQ(read_unaligned<std::uint16_t>(DType::kF16, {0, float_to_half(-2.5f), float_to_half(0.25f)}, 1, 2),
            expected);
  EXPECT_EQ(read_unaligned<std::uint16_t>(DType::kBF16,
                                          {0, float_to_bfloat16(-2.5f), float_to_bfloat16(0.25f)}, 1, 2),
            expected);
  EXPECT_TRUE(read_unaligned<float>(DType::kF32, {}, 0, 0).empty());
}

}  // namespace
}  // namespace kvasir::tensor
