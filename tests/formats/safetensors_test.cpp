#include "formats/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>

#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::formats {
namespace {

using testing::HasSubstr;
using tests::TemporaryFolder;

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + rest;
}

// A file of a header and `data` zero bytes.
std::string file_of(const std::string& header, std::size_t data = 0) {
  return with_length(header.size(), header + std::string(data, '\0'));
}

// What parse_safetensors throws, as "code: message".
std::string error_of(const std::string& file) {
  try {
    parse_safetensors(as_bytes(file), "m.safetensors");
  } catch (const Error& error) {
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

TEST(Safetensors, ReadsATensor) {
  const std::string file = file_of(R"({"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}    )", 16);
  const SafetensorsContent content = parse_safetensors(as_bytes(file), "m");
  ASSERT_EQ(content.tensors.size(), 1u);
  const tensor::TensorView& view = content.tensors.at("test");
  EXPECT_EQ(view.dtype, tensor::DType::kI32);
  EXPECT_EQ(view.shape, (tensor::Shape{2, 2}));
  EXPECT_EQ(static_cast<const void*>(view.data), file.data() + file.size() - 16);
}

TEST(Safetensors, AcceptsWhatTheReferenceAccepts) {
  EXPECT_EQ(error_of(file_of("{}")), "none");
  EXPECT_EQ(error_of(file_of("{}      ")), "none");
  EXPECT_EQ(error_of(file_of(" \t\r\n{} ")), "none");
  EXPECT_EQ(error_of(file_of(R"({"__metadata__":{"format":"pt"}})")), "none");
  // A scalar, an empty tensor between two others, and keys that nobody knows.
  EXPECT_EQ(error_of(file_of(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},
    "b":{"dtype":"F32","shape":[0],"data_offsets":[1,1],"more":[[1]]},
    "c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                             2)),
            "none");
}

TEST(Safetensors, BadLengths) {
  EXPECT_THAT(error_of(""), HasSubstr("format: m.safetensors: not a safetensors file: 0 bytes"));
  EXPECT_THAT(error_of(std::string(7, '\0')), HasSubstr("7 bytes"));
  EXPECT_THAT(error_of(with_length(UINT64_MAX, "{}")), HasSubstr("over the limit"));
  EXPECT_THAT(error_of(with_length(100'000'001, "{}")), HasSubstr("over the limit"));
  EXPECT_THAT(error_of(with_length(60, "{}")), HasSubstr("truncated"));
  EXPECT_THAT(error_of(with_length(0, "")), HasSubstr("not valid JSON"));
}

TEST(Safetensors, BadHeaders) {
  EXPECT_THAT(error_of(file_of("{\"\xFF\":1}")), HasSubstr("byte 2 of the header is not UTF-8"));
  EXPECT_THAT(error_of(file_of("{")), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(file_of("{} x")), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of(file_of("[]")), HasSubstr("a list where an object is due"));
  EXPECT_THAT(error_of(file_of(std::string(5000, '['))), HasSubstr("nested more than 100 levels"));
  EXPECT_THAT(error_of(file_of(R"({"a":)" + std::string(5000, '['))), HasSubstr("nested more than"));
  EXPECT_THAT(error_of(file_of(R"({"__metadata__":{"a":1}})")), HasSubstr("__metadata__: key a is"));
  EXPECT_THAT(error_of(file_of(R"({"__metadata__":[]})")), HasSubstr("a list where an object is due"));
}

TEST(Safetensors, DuplicateKeys) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(error_of(file_of(R"({"a":)" + entry + R"(,"a":)" + entry + "}", 1)),
              HasSubstr("key a occurs twice"));
  // The same name, once escaped.
  EXPECT_THAT(error_of(file_of(R"({"a":)" + entry + R"(,"\u0061":)" + entry + "}", 1)),
              HasSubstr("key a occurs twice"));
  EXPECT_THAT(error_of(file_of(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1)),
              HasSubstr("key dtype occurs twice"));
  EXPECT_THAT(error_of(file_of(R"({"__metadata__":{"x":"1","x":"2"}})")), HasSubstr("key x occurs twice"));
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

TEST(Safetensors, BadEntries) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets,
                        std::size_t data) { return error_of(file_of(one(dtype, shape, offsets), data)); };
  EXPECT_EQ(entry("F32", "[2]", "[0,8]", 8), "none");
  EXPECT_THAT(entry("F31", "[2]", "[0,8]", 8),
              HasSubstr("format: m.safetensors: tensor w: unknown dtype F31"));
  EXPECT_THAT(entry("C64", "[1]", "[0,8]", 8), HasSubstr("unsupported: m.safetensors: tensor w: dtype C64"));
  EXPECT_THAT(entry("F32", "[3]", "[0,8]", 8), HasSubstr("tensor w: data_offsets [0, 8) hold 8 bytes"));
  EXPECT_THAT(entry("F32", "[2]", "[0,12]", 8), HasSubstr("truncated"));
  EXPECT_THAT(entry("F32", "[2]", "[0,8]", 9), HasSubstr("1 bytes follow the last tensor"));
  EXPECT_THAT(entry("F32", "[2]", "[0,8]", 7), HasSubstr("truncated"));
  EXPECT_THAT(entry("F32", "[2]", "[8,0]", 8), HasSubstr("end before they begin"));
  EXPECT_THAT(entry("F32", "[2]", "[4,12]", 12), HasSubstr("invalid data_offsets"));
  EXPECT_THAT(entry("F32", "[2]", "[0]", 8), HasSubstr("two numbers"));
  EXPECT_THAT(entry("F32", "[2]", "[0,8,8]", 8), HasSubstr("two numbers"));
  EXPECT_THAT(entry("F32", "[-2]", "[0,8]", 8), HasSubstr("shape holds -2"));
  EXPECT_THAT(entry("F32", "[2.0]", "[0,8]", 8), HasSubstr("which is not a size"));
  EXPECT_THAT(entry("F32", "\"2\"", "[0,8]", 8), HasSubstr("shape is not a list"));
  EXPECT_THAT(entry("F32", "[2]", "[0,1e30]", 8), HasSubstr("which is not a size"));
  EXPECT_THAT(entry("F32", "[2]", "[0,18446744073709551616]", 8), HasSubstr("which is not a size"));
  EXPECT_THAT(error_of(file_of(R"({"w":{"dtype":"F32","shape":[1]}})")), HasSubstr("w: key data_offsets"));
  EXPECT_THAT(error_of(file_of(R"({"w":{"shape":[1],"data_offsets":[0,4]}})", 4)), HasSubstr("key dtype"));
  EXPECT_THAT(error_of(file_of(R"({"w":[1]})")), HasSubstr("tensor w: is a list"));
}

TEST(Safetensors, Overflow) {
  const std::string two_to_40 = "[1099511627776,1099511627776]";
  EXPECT_THAT(error_of(file_of(one("U8", two_to_40, "[0,0]"))), HasSubstr("overflows"));
  EXPECT_THAT(error_of(file_of(one("U8", "[18446744073709551615]", "[0,0]"))), HasSubstr("overflows"));
  // 2^61 elements of 8 bytes: the bytes are 2^64, which is 0 to those who do not look.
  EXPECT_THAT(error_of(file_of(one("F64", "[2305843009213693952]", "[0,0]"))), HasSubstr("overflows"));
}

TEST(Safetensors, HolesAndOverlaps) {
  const auto pair = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + a +
           R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}";
  };
  EXPECT_EQ(error_of(file_of(pair("[0,2]", "[2,4]"), 4)), "none");
  EXPECT_EQ(error_of(file_of(pair("[2,4]", "[0,2]"), 4)), "none");
  EXPECT_THAT(error_of(file_of(pair("[0,2]", "[0,2]"), 2)), HasSubstr("tensor b: invalid data_offsets"));
  EXPECT_THAT(error_of(file_of(pair("[0,2]", "[1,3]"), 3)), HasSubstr("inside the tensor before it"));
  EXPECT_THAT(error_of(file_of(pair("[0,2]", "[3,5]"), 5)), HasSubstr("tensor b: invalid data_offsets"));
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(SafetensorsFile, WritesWhatTheReferenceWrites) {
  const TemporaryFolder folder;
  for (const char* name : {"bert-uncased", "distilbert"}) {
    const std::filesystem::path original =
        std::filesystem::path(KVASIR_TEST_DATA) / "encoders-qa" / name / "model.safetensors";
    const SafetensorsFile file(original);
    EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
    std::vector<NamedTensor> tensors;
    for (const auto& [tensor_name, view] : file.tensors()) tensors.push_back({tensor_name, view});
    std::ranges::reverse(tensors);
    write_safetensors(folder / "copy.safetensors", tensors);
    EXPECT_EQ(contents(folder / "copy.safetensors"), contents(original));
  }
}

TEST(SafetensorsFile, WritesMixedTypes) {
  const TemporaryFolder folder;
  const std::string bytes(64, 'x');
  const auto view = [&](tensor::DType dtype, tensor::Shape shape) {
    return tensor::TensorView{dtype, std::move(shape), as_bytes(bytes).data()};
  };
  const std::vector<NamedTensor> tensors{{"a", view(tensor::DType::kBool, {3})},
                                         {"b/\"quoted\" é", view(tensor::DType::kF16, {2, 2})},
                                         {"c", view(tensor::DType::kF32, {0, 5})},
                                         {"d", view(tensor::DType::kI64, {})}};
  write_safetensors(folder / "mixed.safetensors", tensors);
  const SafetensorsFile file(folder / "mixed.safetensors");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const NamedTensor& tensor : tensors) {
    const tensor::TensorView& read = file.tensors().at(tensor.name);
    EXPECT_EQ(read.dtype, tensor.view.dtype);
    EXPECT_EQ(read.shape, tensor.view.shape);
    EXPECT_EQ(std::memcmp(read.data, tensor.view.data, tensor.view.bytes()), 0);
  }
}

TEST(SafetensorsFile, WriterRefusesBadNames) {
  const TemporaryFolder folder;
  const tensor::TensorView empty{tensor::DType::kF32, {0}, nullptr};
  EXPECT_THROW(write_safetensors(folder / "x", std::vector<NamedTensor>{{"a", empty}, {"a", empty}}), Error);
  EXPECT_THROW(write_safetensors(folder / "x", std::vector<NamedTensor>{{"__metadata__", empty}}), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "x"));
}

TEST(SafetensorsFile, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  const auto message = [](const std::filesystem::path& path) -> std::string {
    try {
      const SafetensorsFile file(path);
    } catch (const Error& error) {
      return std::string(error_code_name(error.code())) + ": " + error.what();
    }
    return "none";
  };
  EXPECT_THAT(message(folder / "none"), HasSubstr("not_found: " + (folder / "none").string()));
  EXPECT_THAT(message(folder.path()), HasSubstr("io: "));
  std::ofstream(folder / "empty").close();
  EXPECT_THAT(message(folder / "empty"), HasSubstr("format: " + (folder / "empty").string()));
}

}  // namespace
}  // namespace kvasir::formats
