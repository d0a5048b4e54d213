#include "formats/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <limits>
#include <string>

#include "kvasir/error.h"
#include "malformed/gguf_writer.h"
#include "malformed/malformed_gguf.h"
#include "temporary_folder.h"

namespace kvasir::formats {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::TemporaryFolder;
namespace gguf = tests::gguf;

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

std::string bytes_error(const std::string& file) {
  return error_of([&] { parse_gguf(as_bytes(file), "m.gguf"); });
}

std::string parse_error(const gguf::File& file) {
  return bytes_error(gguf::write(file));
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  const std::string bytes = tests::good_gguf();
  const GgufMetadata metadata = parse_gguf(as_bytes(bytes), "m.gguf").metadata;
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min(),
                 kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(metadata.string("general.architecture"), "llama");
  EXPECT_EQ(metadata.integer("n.u8", kMin, kMax), 200);
  EXPECT_EQ(metadata.integer("n.i8", kMin, kMax), -100);
  EXPECT_EQ(metadata.integer("n.u16", kMin, kMax), 60000);
  EXPECT_EQ(metadata.integer("n.i16", kMin, kMax), -30000);
  EXPECT_EQ(metadata.integer("general.alignment", kMin, kMax), 32);
  EXPECT_EQ(metadata.integer("n.i32", kMin, kMax), -5);
  EXPECT_EQ(metadata.integer("n.i64", kMin, kMax), std::int64_t{-1} << 40);
  EXPECT_EQ(metadata.number("n.f32"), double{0.1F});
  EXPECT_EQ(metadata.number("n.f64"), 0.1);
  EXPECT_EQ(metadata.number("n.i32"), -5);
  EXPECT_TRUE(metadata.boolean_or("yes", false));
  EXPECT_THAT(metadata.strings("words"), ElementsAre("a", "", "caf\u00e9"));
  EXPECT_THAT(metadata.floats("numbers"), ElementsAre(1.5F, -2.0F));
  EXPECT_THAT(metadata.integers("integers"), ElementsAre(1, -2, 3));
  EXPECT_EQ(metadata.values().at("nested").type, GgufType::kArray);
  // Views of the file, not copies.
  const std::string_view architecture = metadata.string("general.architecture");
  EXPECT_TRUE(architecture.data() > bytes.data() && architecture.data() < bytes.data() + bytes.size());
}

TEST(Gguf, FallbacksAreForMissingKeysOnly) {
  const std::string bytes = tests::good_gguf();
  const GgufMetadata metadata = parse_gguf(as_bytes(bytes), "m.gguf").metadata;
  EXPECT_EQ(metadata.integer_or("none", 7, 0, 9), 7);
  EXPECT_EQ(metadata.number_or("none", 0.5), 0.5);
  EXPECT_EQ(metadata.string_or("none", "x"), "x");
  EXPECT_TRUE(metadata.boolean_or("none", true));
  const auto error = [&](auto get) { return error_of([&] { get(metadata); }); };
  EXPECT_EQ(error([](const auto& m) { m.integer("none", 0, 1); }),
            "format: m.gguf: metadata key none is missing");
  EXPECT_THAT(error([](const auto& m) { m.integer_or("yes", 0, 0, 1); }),
              HasSubstr("metadata key yes is of type bool, and an integer is due"));
  EXPECT_THAT(error([](const auto& m) { m.integer("n.u8", 0, 100); }),
              HasSubstr("n.u8 is 200, and must be between 0 and 100"));
  EXPECT_THAT(error([](const auto& m) { m.integer("n.u64", 0, 100); }), HasSubstr("is 18446744073709551615"));
  EXPECT_THAT(error([](const auto& m) { m.integer("n.f32", 0, 100); }), HasSubstr("is of type f32"));
  EXPECT_THAT(error([](const auto& m) { m.number("yes"); }), HasSubstr("a number is due"));
  EXPECT_THAT(error([](const auto& m) { m.string("words"); }),
              HasSubstr("of type array of string, and a string"));
  EXPECT_THAT(error([](const auto& m) { m.strings("yes"); }), HasSubstr("an array is due"));
  EXPECT_THAT(error([](const auto& m) { m.strings("numbers"); }),
              HasSubstr("array of f32, and an array of strings"));
  EXPECT_THAT(error([](const auto& m) { m.floats("integers"); }), HasSubstr("an array of floats is due"));
  EXPECT_THAT(error([](const auto& m) { m.integers("numbers"); }), HasSubstr("an array of integers is due"));
  EXPECT_THAT(error([](const auto& m) { m.boolean_or("n.u8", true); }), HasSubstr("a bool is due"));
}

TEST(Gguf, ArraysOfEveryIntegerType) {
  gguf::File file;
  const auto add = [&](const std::string& key, GgufType type, auto a, auto b) {
    file.metadata.push_back(gguf::array(key, type, 2, gguf::number(a) + gguf::number(b)));
  };
  add("u8", GgufType::kU8, std::uint8_t{1}, std::uint8_t{255});
  add("i8", GgufType::kI8, std::int8_t{1}, std::int8_t{-1});
  add("u16", GgufType::kU16, std::uint16_t{1}, std::uint16_t{65535});
  add("i16", GgufType::kI16, std::int16_t{1}, std::int16_t{-1});
  add("u32", GgufType::kU32, std::uint32_t{1}, ~std::uint32_t{0});
  add("i64", GgufType::kI64, std::int64_t{1}, std::int64_t{-1});
  add("u64", GgufType::kU64, std::uint64_t{1}, std::uint64_t{1} << 62);
  add("too big", GgufType::kU64, std::uint64_t{1}, std::uint64_t{1} << 63);
  add("f64", GgufType::kF64, 0.5, -0.25);
  const std::string bytes = gguf::write(file);
  const GgufMetadata metadata = parse_gguf(as_bytes(bytes), "m.gguf").metadata;
  EXPECT_THAT(metadata.integers("u8"), ElementsAre(1, 255));
  EXPECT_THAT(metadata.integers("i8"), ElementsAre(1, -1));
  EXPECT_THAT(metadata.integers("u16"), ElementsAre(1, 65535));
  EXPECT_THAT(metadata.integers("i16"), ElementsAre(1, -1));
  EXPECT_THAT(metadata.integers("u32"), ElementsAre(1, 0xFFFFFFFF));
  EXPECT_THAT(metadata.integers("i64"), ElementsAre(1, -1));
  EXPECT_THAT(metadata.integers("u64"), ElementsAre(1, std::int64_t{1} << 62));
  EXPECT_THAT(error_of([&] { metadata.integers("too big"); }), HasSubstr("beyond 2^63"));
  EXPECT_THAT(metadata.floats("f64"), ElementsAre(0.5F, -0.25F));
}

TEST(Gguf, ReadsTensors) {
  const std::string bytes = tests::good_gguf();
  const GgufContent content = parse_gguf(as_bytes(bytes), "m.gguf");
  ASSERT_EQ(content.tensors.size(), 4U);
  const auto expect = [&](const char* name, tensor::DType dtype, const tensor::Shape& shape,
                          std::size_t from_end) {
    const tensor::TensorView& view = content.tensors.at(name);
    EXPECT_EQ(view.dtype, dtype);
    EXPECT_EQ(view.shape, shape);
    EXPECT_EQ(static_cast<const void*>(view.data), bytes.data() + bytes.size() - from_end) << name;
  };
  expect("matrix", tensor::DType::kF32, {3, 4}, 448);
  expect("half", tensor::DType::kF16, {6}, 448 - 64);
  expect("q4_0", tensor::DType::kQ4_0, {2, 32}, 448 - 96);
  expect("q4_k", tensor::DType::kQ4_K, {2, 1, 256}, 448 - 160);
}

TEST(Gguf, AcceptsWhatFilesHave) {
  EXPECT_EQ(parse_error(gguf::File{}), "none");  // vocabularies have no tensors, and no padding after them
  EXPECT_EQ(parse_error(gguf::File{.metadata = {gguf::u32("k", 1)}, .version = 2}), "none");
  // In any order, with holes, the last one without padding; a scalar; a name of 63 bytes; an alignment of 1.
  gguf::File file{.tensors = {{"b", {1}, 0, 64}, {"a", {1}, 0, 0}, {std::string(63, 'n'), {}, 0, 96}},
                  .data = std::string(100, 'x')};
  EXPECT_EQ(parse_error(file), "none");
  file.metadata = {gguf::u32("general.alignment", 1)};
  file.alignment = 1;
  file.tensors[0].offset = 5;
  EXPECT_EQ(parse_error(file), "none");
  // Empty tensors overlap nothing.
  EXPECT_EQ(parse_error({.tensors = {{"a", {0, 7}, 0, 0}, {"b", {1}, 0, 0}}, .data = "wxyz"}), "none");
}

TEST(Gguf, RefusalsSayWhatIsWrong) {
  EXPECT_THAT(bytes_error(std::string()), HasSubstr("format: m.gguf: not a GGUF file"));
  EXPECT_THAT(bytes_error(std::string("GGUF\3\0\0", 7)), HasSubstr("format: m.gguf: truncated at byte 4"));
  EXPECT_THAT(parse_error({.version = 3U << 24}), HasSubstr("unsupported: m.gguf: a big-endian GGUF file"));
  EXPECT_THAT(parse_error({.version = 1}), HasSubstr("unsupported: m.gguf: version 1 of GGUF"));
  EXPECT_THAT(parse_error({.magic = "tjgg"}),
              HasSubstr("unsupported: m.gguf: a file of llama.cpp from before"));
  EXPECT_THAT(parse_error({.metadata = {gguf::u32("k", 1), gguf::u32("k", 1)}}),
              HasSubstr("metadata key k occurs twice"));
  const auto tensor_error = [](const gguf::Tensor& tensor) {
    return parse_error({.tensors = {tensor}, .data = std::string(256, 'x')});
  };
  EXPECT_THAT(tensor_error({"w", {256}, 16, 0}), HasSubstr("unsupported: m.gguf: tensor w: type IQ2_XXS"));
  EXPECT_THAT(tensor_error({"w", {256}, 77, 0}), HasSubstr("unsupported: m.gguf: tensor w: type 77"));
  EXPECT_THAT(tensor_error({"w", {48}, 2, 0}),
              HasSubstr("tensor w: rows of 48, which are no whole blocks of 32"));
  EXPECT_THAT(tensor_error({"w", {4}, 0, 8}), HasSubstr("its offset 8 is no multiple of 32"));
  EXPECT_THAT(tensor_error({"w", {65}, 0, 0}), HasSubstr("tensor w: its 260 bytes from byte 0"));
  EXPECT_THAT(tensor_error({"w", {1, 1, 1, 1, 1}, 0, 0}), HasSubstr("5 dimensions"));
  EXPECT_THAT(tensor_error({std::string(64, 'n'), {1}, 0, 0}),
              HasSubstr("has 64 bytes, and may have 1 to 63"));
  EXPECT_THAT(parse_error({.tensors = {{"a", {9}, 0, 0}, {"b", {1}, 0, 32}}, .data = std::string(64, 'x')}),
              HasSubstr("tensor b: overlaps tensor a"));
}

TEST(Gguf, TypesOfTensorsHaveTheirNumbers) {
  EXPECT_EQ(gguf_tensor_type(tensor::DType::kF32), 0U);
  EXPECT_EQ(gguf_tensor_type(tensor::DType::kQ8_0), 8U);
  EXPECT_EQ(gguf_tensor_type(tensor::DType::kQ6_K), 14U);
  EXPECT_EQ(gguf_tensor_type(tensor::DType::kBF16), 30U);
  EXPECT_EQ(gguf_tensor_type(tensor::DType::kBool), std::nullopt);
}

// A vocabulary of 250,000 strings is read at the speed of memory, not of allocations: some 10 ms. Ten times
// as much is allowed for slow machines and sanitizers.
TEST(Gguf, LargeVocabulariesTakeMilliseconds) {
  std::vector<std::string> words(250'000);
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = "word" + std::to_string(i);
  const std::string bytes = gguf::write({.metadata = {gguf::strings("tokenizer.ggml.tokens", words)}});
  const auto start = std::chrono::steady_clock::now();
  const GgufContent content = parse_gguf(as_bytes(bytes), "m.gguf");
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(content.metadata.strings("tokenizer.ggml.tokens")[249'999], "word249999");
  EXPECT_LT(seconds.count(), 0.2);
}

void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// Part `number` of three, with one tensor, "w0" to "w2".
gguf::File part(std::uint16_t number) {
  const auto u16 = [](const char* key, std::uint16_t value) {
    return gguf::entry(key, GgufType::kU16, gguf::number(value));
  };
  return {.metadata = {u16("split.no", number), u16("split.count", 3),
                       gguf::entry("split.tensors.count", GgufType::kI32, gguf::number(std::int32_t{3}))},
          .tensors = {{"w" + std::to_string(number), {1}, 0, 0}},
          .data = gguf::number(static_cast<float>(number))};
}

TEST(GgufFile, OpensAllPartsFromAnyOfThem) {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> paths;
  for (std::uint16_t i = 0; i < 3; ++i) {
    paths.push_back(folder / ("m-0000" + std::to_string(i + 1) + "-of-00003.gguf"));
    gguf::File file = part(i);
    if (i == 0) file.metadata.push_back(gguf::string("general.architecture", "llama"));
    write_file(paths.back(), gguf::write(file));
  }
  for (const std::filesystem::path& path : paths) {
    const GgufFile file(path);
    EXPECT_EQ(file.origin(), paths[0].string());
    EXPECT_EQ(file.metadata().string("general.architecture"), "llama");
    ASSERT_EQ(file.tensors().size(), 3U);
    for (int i = 0; i < 3; ++i) {
      const CheckpointTensor& tensor = file.tensors().at("w" + std::to_string(i));
      float value = -1;
      tensor.view.read_floats(0, {&value, 1});
      EXPECT_EQ(value, static_cast<float>(i));
      EXPECT_EQ(tensor.file, paths[static_cast<std::size_t>(i)].string());
      EXPECT_EQ(tensor.mapped->path(), paths[static_cast<std::size_t>(i)]);
    }
  }

  const auto open = [&] { return error_of([&] { GgufFile file(paths[1]); }); };
  gguf::File changed = part(2);
  changed.tensors[0].name = "w1";
  write_file(paths[2], gguf::write(changed));
  EXPECT_THAT(open(),
              AllOf(HasSubstr("format: " + paths[2].string()), HasSubstr("tensor w1 lies in another")));
  changed.tensors.push_back({"w3", {1}, 0, 0});
  changed.tensors[0] = {"w2", {0}, 0, 0};
  write_file(paths[2], gguf::write(changed));
  EXPECT_THAT(open(), HasSubstr("split.tensors.count is 3, and must be 4"));
  write_file(paths[2], gguf::write(part(1)));
  EXPECT_THAT(open(), HasSubstr("split.no is 1, and must be 2"));
  write_file(paths[2], gguf::write({.metadata = {gguf::u32("split.no", 2), gguf::u32("split.count", 4)}}));
  EXPECT_THAT(open(), HasSubstr("split.count is not 3"));
  std::filesystem::remove(paths[2]);
  EXPECT_THAT(open(), HasSubstr("not_found: " + paths[2].string() + ": is missing, one of the 3 parts"));
  std::filesystem::rename(paths[1], folder / "renamed.gguf");
  EXPECT_THAT(error_of([&] { GgufFile file(folder / "renamed.gguf"); }), HasSubstr("-00002-of-00003.gguf"));
}

TEST(GgufFile, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  const auto error = [](const std::filesystem::path& path) { return error_of([&] { GgufFile file(path); }); };
  EXPECT_THAT(error(folder / "none"), HasSubstr("not_found: " + (folder / "none").string()));
  EXPECT_THAT(error(folder.path()), HasSubstr("io: "));
  write_file(folder / "empty.gguf", "");
  EXPECT_THAT(error(folder / "empty.gguf"), HasSubstr("format: " + (folder / "empty.gguf").string()));
}

}  // namespace
}  // namespace kvasir::formats
