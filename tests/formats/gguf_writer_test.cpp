#include "formats/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "formats/gguf.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::formats {
namespace {

using tensor::DType;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::TemporaryFolder;

const FillTensor kFillWithIndex = [](std::size_t index, std::span<std::byte> out) {
  std::memset(out.data(), static_cast<int>(index) + 1, out.size());
};

TEST(GgufWriter, WhatIsWrittenIsRead) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "m.gguf";
  const std::vector<GgufEntry> metadata{{"general.architecture", "llama"},
                                        {"u32", 7U},
                                        {"i32", -7},
                                        {"u64", std::uint64_t{1} << 40},
                                        {"f32", 0.5F},
                                        {"bool", true},
                                        {"strings", std::vector<std::string>{"a", "", "caf\u00e9"}},
                                        {"floats", std::vector<float>{1, -2}},
                                        {"i32s", std::vector<std::int32_t>{1, -2}}};
  const std::vector<GgufTensor> tensors{{"z", DType::kF32, {3}},
                                        {"a", DType::kQ4_K, {2, 256}},
                                        {"m", DType::kF16, {2, 1, 3, 1}},
                                        {"empty", DType::kF32, {0, 4}},
                                        {"q", DType::kQ8_0, {1, 32}}};
  write_gguf(path, metadata, tensors, kFillWithIndex);

  const GgufFile file(path);
  const GgufMetadata& read = file.metadata();
  EXPECT_EQ(read.values().size(), metadata.size());
  EXPECT_EQ(read.string("general.architecture"), "llama");
  EXPECT_EQ(read.integer("u32", 0, 9), 7);
  EXPECT_EQ(read.integer("i32", -9, 9), -7);
  EXPECT_EQ(read.integer("u64", 0, INT64_MAX), std::int64_t{1} << 40);
  EXPECT_EQ(read.number("f32"), 0.5);
  EXPECT_TRUE(read.boolean_or("bool", false));
  EXPECT_THAT(read.strings("strings"), ElementsAre("a", "", "caf\u00e9"));
  EXPECT_THAT(read.floats("floats"), ElementsAre(1, -2));
  EXPECT_THAT(read.integers("i32s"), ElementsAre(1, -2));

  ASSERT_EQ(file.tensors().size(), tensors.size());
  const std::byte* begin = nullptr;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    SCOPED_TRACE(tensors[i].name);
    const tensor::TensorView& view = file.tensors().at(tensors[i].name).view;
    EXPECT_EQ(view.dtype, tensors[i].dtype);
    EXPECT_EQ(view.shape, tensors[i].shape);
    for (std::size_t at = 0; at < view.bytes(); ++at) EXPECT_EQ(view.data[at], std::byte(i + 1));
    // As llama.cpp wants it: in the order of the names, each at the next multiple of 32.
    EXPECT_TRUE(i == 0 || view.data == begin);
    begin = view.data + (view.bytes() + 31) / 32 * 32;
  }
  EXPECT_EQ(std::filesystem::file_size(path) % 32, 0U);
}

TEST(GgufWriter, RefusesWhatCannotBeRead) {
  const TemporaryFolder folder;
  const auto error = [&](const std::vector<GgufEntry>& metadata,
                         const std::vector<GgufTensor>& tensors) -> std::string {
    try {
      write_gguf(folder / "m.gguf", metadata, tensors, kFillWithIndex);
    } catch (const Error& e) {
      EXPECT_FALSE(std::filesystem::exists(folder / "m.gguf"));
      return std::string(error_code_name(e.code())) + ": " + e.what();
    }
    return "none";
  };
  EXPECT_THAT(error({{"k", 1U}, {"k", 1U}}, {}), HasSubstr("m.gguf: metadata key k is given twice"));
  EXPECT_THAT(error({{"", 1U}}, {}), HasSubstr("invalid_argument: "));
  EXPECT_THAT(error({}, {{"t", DType::kF32, {1}}, {"t", DType::kF32, {1}}}),
              HasSubstr("tensor t is given twice"));
  EXPECT_THAT(error({}, {{std::string(64, 'n'), DType::kF32, {1}}}), HasSubstr("1 to 63 bytes"));
  EXPECT_THAT(error({}, {{"\xff", DType::kF32, {1}}}), HasSubstr("of UTF-8"));
  EXPECT_THAT(error({}, {{"t", DType::kBool, {1}}}), HasSubstr("tensor t: GGUF has no type BOOL"));
  EXPECT_THAT(error({}, {{"t", DType::kQ4_0, {2, 48}}}),
              HasSubstr("[2, 48] is not one to four dimensions, the last"));
  EXPECT_THAT(error({}, {{"t", DType::kF32, {}}}), HasSubstr("one to four dimensions"));
  EXPECT_THAT(error({}, {{"t", DType::kF32, {1, 1, 1, 1, 1}}}), HasSubstr("one to four dimensions"));
}

// A fault in the middle leaves the file as it was.
TEST(GgufWriter, IsAtomic) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "m.gguf";
  std::ofstream(path) << "before";
  const std::vector<GgufTensor> tensors{{"a", DType::kF32, {1}}, {"b", DType::kF32, {1}}};
  EXPECT_THROW(write_gguf(path, {}, tensors,
                          [](std::size_t i, std::span<std::byte>) {
                            if (i == 1) throw Error(ErrorCode::kCancelled, "stopped");
                          }),
               Error);
  std::string content;
  std::getline(std::ifstream(path), content);
  EXPECT_EQ(content, "before");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

}  // namespace
}  // namespace kvasir::formats
