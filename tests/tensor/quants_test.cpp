// Quants of GGUF against what ggml makes of them, recorded by scripts/record-quants. (Read with formats,
// which is above tensor; only the test needs it.)
#include "tensor/quants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "tensor/round_to_quants.h"

namespace kvasir::tensor {
namespace {

constexpr DType kQuantTypes[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,  DType::kQ5_1,
                                 DType::kQ8_0, DType::kQ2_K, DType::kQ3_K,  DType::kQ4_K,
                                 DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL};
constexpr DType kRounded[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                              DType::kQ5_1, DType::kQ4_K, DType::kQ6_K};

const formats::SafetensorsFile& recorded() {
  static const formats::SafetensorsFile file(KVASIR_TEST_DATA "/gguf/quants.safetensors");
  return file;
}

std::vector<float> floats(const std::string& name) {
  const TensorView& view = recorded().tensors().at(name);
  std::vector<float> values(view.elements());
  view.read_floats(0, values);
  return values;
}

TEST(Quants, StandForWhatGgmlSaysBitByBit) {
  for (const DType dtype : kQuantTypes) {
    SCOPED_TRACE(dtype_name(dtype));
    const TensorView& quants = recorded().tensors().at(std::string(dtype_name(dtype)) + ".quants");
    const std::vector<float> expected = floats(std::string(dtype_name(dtype)) + ".floats");
    ASSERT_EQ(dtype_bytes(dtype, expected.size()), quants.bytes());
    std::vector<float> actual(expected.size());
    dequantize(dtype, quants.data, actual);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(actual[i]), std::bit_cast<std::uint32_t>(expected[i])) << i;
    }
    // As a tensor, from the second quant on.
    const TensorView view{dtype, {static_cast<std::int64_t>(expected.size())}, quants.data};
    std::vector<float> part(expected.size() - dtype_quant_elements(dtype));
    view.read_floats(dtype_quant_elements(dtype), part);
    EXPECT_EQ(
        std::memcmp(part.data(), expected.data() + dtype_quant_elements(dtype), part.size() * sizeof(float)),
        0);
  }
}

std::vector<std::byte> rounded(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> quants(dtype_bytes(dtype, values.size()));
  round_to_quants(dtype, values, quants.data());
  return quants;
}

std::vector<float> there_and_back(DType dtype, const std::vector<float>& values) {
  std::vector<float> back(values.size());
  dequantize(dtype, rounded(dtype, values).data(), back);
  return back;
}

double rmse(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

TEST(Quantize, IsNearerThanGgml) {
  const std::vector<float> normal = floats("normal"), heavy = floats("heavy");
  for (const DType dtype : kRounded) {
    SCOPED_TRACE(dtype_name(dtype));
    double ggml[2];
    const TensorView& errors = recorded().tensors().at(std::string(dtype_name(dtype)) + ".rmse");
    std::memcpy(ggml, errors.data, sizeof ggml);
    EXPECT_LT(rmse(there_and_back(dtype, normal), normal), ggml[0]);
    EXPECT_LT(rmse(there_and_back(dtype, heavy), heavy), ggml[1]);
  }
}

// What a type can hold exactly comes back exactly.
TEST(Quantize, KeepsWhatFits) {
  std::vector<float> steps(kSuperQuantElements);
  const auto expect_kept = [&](DType dtype, float least, int levels) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      steps[i] = least + 0.25F * static_cast<float>(static_cast<int>(i) * 7 % levels);
    }
    EXPECT_EQ(there_and_back(dtype, steps), steps) << dtype_name(dtype);
  };
  expect_kept(DType::kQ4_0, -2, 16);
  expect_kept(DType::kQ5_0, -4, 32);
  expect_kept(DType::kQ4_1, 3, 16);
  expect_kept(DType::kQ5_1, 3, 32);
  const std::vector<float> nothing(kSuperQuantElements, 0.0F);
  for (const DType dtype : kRounded) EXPECT_EQ(there_and_back(dtype, nothing), nothing) << dtype_name(dtype);
}

// Quants of one value, one value in zeros, all of one sign, tiny and huge numbers: finite, and never further
// off than the steps of the type allow.
TEST(Quantize, StrangeQuants) {
  std::vector<std::vector<float>> quants;
  for (const float size : {1.0F, -3.5F, 1e-3F, 1e-8F, 1e-30F, 1e-42F, 60000.0F, 1e30F, 3e38F}) {
    quants.emplace_back(kSuperQuantElements, size);
    quants.emplace_back(kSuperQuantElements, 0.0F)[17] = size;
    std::vector<float>& ramp = quants.emplace_back(kSuperQuantElements);
    for (std::size_t i = 0; i < ramp.size(); ++i)
      ramp[i] = size * static_cast<float>(i + 1) / kSuperQuantElements;
  }
  for (const DType dtype : kRounded) {
    for (const std::vector<float>& quant : quants) {
      SCOPED_TRACE(std::string(dtype_name(dtype)) + " " + std::to_string(quant[17]));
      const std::vector<float> back = there_and_back(dtype, quant);
      float size = 0;
      for (const float value : quant) size = std::max(size, std::abs(value));
      for (std::size_t i = 0; i < back.size(); ++i) {
        ASSERT_TRUE(std::isfinite(back[i])) << i;
        // Half of a step of 4 bits; scales below binary16's least are 0, and above its largest that.
        if (size < 2e5F) {
          ASSERT_LE(std::abs(back[i] - quant[i]), size / 7 + 1e-5F) << i;
        }
      }
    }
  }
}

TEST(Quantize, IsTheSameAtAnyAddress) {
  const std::vector<float> normal = floats("normal");
  for (const DType dtype : kRounded) {
    const std::vector<std::byte> expected = rounded(dtype, normal);
    std::vector<std::byte> moved(expected.size() + 1);
    round_to_quants(dtype, normal, moved.data() + 1);
    EXPECT_EQ(std::memcmp(moved.data() + 1, expected.data(), expected.size()), 0) << dtype_name(dtype);
    EXPECT_TRUE(can_round_to_quants(dtype));
  }
  for (const DType dtype :
       {DType::kF32, DType::kF16, DType::kQ2_K, DType::kQ3_K, DType::kQ5_K, DType::kIQ4_NL}) {
    EXPECT_FALSE(can_round_to_quants(dtype)) << dtype_name(dtype);
  }
}

}  // namespace
}  // namespace kvasir::tensor
