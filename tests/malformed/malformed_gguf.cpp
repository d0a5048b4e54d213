#include "malformed/malformed_gguf.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "malformed/gguf_writer.h"

namespace kvasir::tests {

namespace {

using formats::GgufType;
using gguf::number;
using gguf::Tensor;

constexpr std::uint32_t kF16 = 1, kQ4_0 = 2, kQ4_K = 12;
constexpr std::uint64_t kHuge = ~std::uint64_t{0};

gguf::File good() {
  gguf::File file;
  file.metadata = {gguf::string("general.architecture", "llama"),
                   gguf::u32("general.alignment", 32),
                   gguf::entry("n.u8", GgufType::kU8, number(std::uint8_t{200})),
                   gguf::entry("n.i8", GgufType::kI8, number(std::int8_t{-100})),
                   gguf::entry("n.u16", GgufType::kU16, number(std::uint16_t{60000})),
                   gguf::entry("n.i16", GgufType::kI16, number(std::int16_t{-30000})),
                   gguf::entry("n.i32", GgufType::kI32, number(std::int32_t{-5})),
                   gguf::entry("n.u64", GgufType::kU64, number(kHuge)),
                   gguf::entry("n.i64", GgufType::kI64, number(std::int64_t{-1} << 40)),
                   gguf::f32("n.f32", 0.1F),
                   gguf::entry("n.f64", GgufType::kF64, number(0.1)),
                   gguf::boolean("yes", true),
                   gguf::strings("words", {"a", "", "caf\u00e9"}),
                   gguf::floats("numbers", {1.5F, -2.0F}),
                   gguf::i32s("integers", {1, -2, 3}),
                   gguf::array("nested", GgufType::kArray, 1,
                               number(static_cast<std::uint32_t>(GgufType::kU8)) + number(std::uint64_t{2}) +
                                   std::string(2, '\1'))};
  file.tensors = {{"matrix", {4, 3}, 0, 0},
                  {"half", {6}, kF16, 64},
                  {"q4_0", {32, 2}, kQ4_0, 96},
                  {"q4_k", {256, 1, 2}, kQ4_K, 160}};
  file.data = std::string(160 + 2 * 144, '\2');
  return file;
}

class GgufMaker {
 public:
  explicit GgufMaker(const OnMalformed& on_file) : on_file_(on_file) {}

  void truncations() {
    const std::string bytes = good_gguf();
    for (std::size_t i = 0; i < 120; ++i) {
      const std::size_t at = bytes.size() * i / 120;
      emit("truncated at " + std::to_string(at), bytes.substr(0, at));
    }
    emit("truncated by a byte", bytes.substr(0, bytes.size() - 1));
  }

  void headers() {
    for (const char* magic : {"GGUX", "FUGG", "lmgg", "tjgg", "fmgg", "PK\3\4", "{\"a\""}) {
      file_ = good();
      file_.magic = magic;
      emit(std::string("magic ") + magic);
    }
    for (const std::uint32_t version : {0U, 1U, 4U, 3U << 24, 2U << 24, 1U << 24, ~0U}) {
      file_ = good();
      file_.version = version;
      emit("version " + std::to_string(version));
    }
    for (const std::size_t field : {8, 16}) {
      for (const std::uint64_t count : {std::uint64_t{5}, std::uint64_t{17}, std::uint64_t{1000},
                                        std::uint64_t{1} << 32, std::uint64_t{1} << 61, kHuge}) {
        std::string bytes = good_gguf();
        bytes.replace(field, 8, number(count));
        emit("a count of " + std::to_string(count), std::move(bytes));
      }
    }
  }

  void metadata() {
    const auto with = [&](const std::string& fault, const std::string& entry) {
      file_ = good();
      file_.metadata.push_back(entry);
      emit(fault);
    };
    with("a key twice", gguf::u32("n.u8", 1));
    with("an empty key", gguf::u32("", 1));
    with("a long key", gguf::u32(std::string(65536, 'k'), 1));
    with("a key that is not UTF-8", gguf::u32("\xff", 1));
    with("an unknown type", gguf::entry("k", static_cast<GgufType>(13), number(1)));
    with("an unknown type", gguf::entry("k", static_cast<GgufType>(~0U), number(1)));
    with("a bool of 2", gguf::entry("k", GgufType::kBool, "\2"));
    for (const std::uint64_t size : {std::uint64_t{100000}, std::uint64_t{1} << 62, kHuge}) {
      with("a long string", gguf::entry("k", GgufType::kString, number(size) + "x"));
      for (const GgufType type :
           {GgufType::kU8, GgufType::kF64, GgufType::kBool, GgufType::kString, GgufType::kArray}) {
        with("a long array", gguf::array("k", type, size, "x"));
      }
    }
    with("a string of an array beyond the end",
         gguf::array("k", GgufType::kString, 2, gguf::text("a") + number(kHuge)));
    with("an array of an unknown type", gguf::array("k", static_cast<GgufType>(99), 1, "x"));
    std::string nested;
    for (int i = 0; i < 1000; ++i) {
      nested += number(static_cast<std::uint32_t>(GgufType::kArray)) + number(std::uint64_t{1});
    }
    with("arrays in arrays", gguf::array("k", GgufType::kArray, 1, nested));
    for (const std::uint32_t alignment : {0U, 3U, 33U, 1U << 31, ~0U}) {
      file_ = good();
      file_.metadata[1] = gguf::u32("general.alignment", alignment);
      emit("an alignment of " + std::to_string(alignment));
    }
    file_ = good();
    file_.metadata[1] = gguf::string("general.alignment", "32");
    emit("an alignment that is a string");
    file_ = good();
    file_.metadata[1] = gguf::u32("general.alignment", 1024);
    emit("an alignment that the offsets do not have");
    with("a part without a number", gguf::u32("split.count", 3));
    with("too many parts", gguf::u32("split.count", 70000));
    file_ = good();
    file_.metadata.push_back(gguf::u32("split.count", 3));
    file_.metadata.push_back(gguf::u32("split.no", 3));
    emit("part 3 of 0 to 2");
    file_.metadata.back() = gguf::u32("split.no", 1);
    emit("a part under another name");
  }

  void tensors() {
    const auto with = [&](const std::string& fault, const Tensor& tensor) {
      file_ = good();
      file_.tensors[0] = tensor;
      emit(fault);
    };
    with("a name twice", {"half", {4, 3}, 0, 0});
    with("an empty name", {"", {4, 3}, 0, 0});
    with("a name of 64 bytes", {std::string(64, 'n'), {4, 3}, 0, 0});
    with("a name that is not UTF-8", {"\xc3", {4, 3}, 0, 0});
    with("five dimensions", {"matrix", {1, 1, 1, 1, 1}, 0, 0});
    with("many dimensions", {"matrix", std::vector<std::uint64_t>(1000, 1), 0, 0});
    with("a size that overflows", {"matrix", {kHuge}, 0, 0});
    with("a size that overflows", {"matrix", {std::uint64_t{1} << 63}, 0, 0});
    with("a size that overflows", {"matrix", {std::uint64_t{1} << 32, std::uint64_t{1} << 32}, 0, 0});
    with("bytes that overflow", {"matrix", {std::uint64_t{1} << 62}, 0, 0});
    with("too many rows", {"matrix", {4, 1000}, 0, 0});
    for (const std::uint32_t type : {4U, 5U, 9U, 15U, 16U, 23U, 29U, 31U, 36U, 39U, 40U, 1000U, ~0U}) {
      with("type " + std::to_string(type), {"matrix", {256}, type, 0});
    }
    with("rows of no whole blocks", {"matrix", {16, 2}, kQ4_0, 0});
    with("rows of no whole blocks", {"matrix", {128, 2}, kQ4_K, 0});
    with("a scalar of blocks", {"matrix", {}, kQ4_0, 0});
    for (const std::uint64_t offset : {std::uint64_t{4}, std::uint64_t{31}, std::uint64_t{1} << 32, kHuge,
                                       kHuge - 31, std::uint64_t{448}}) {
      with("an offset of " + std::to_string(offset), {"matrix", {4, 3}, 0, offset});
    }
    for (const std::uint64_t offset : {32, 64, 96, 160, 416}) {
      with("an overlap at " + std::to_string(offset), {"matrix", {4, 3}, 0, offset});
    }
  }

 private:
  void emit(const std::string& fault, std::string bytes) {
    on_file_({.kind = "gguf", .fault = fault, .name = "model.gguf", .bytes = std::move(bytes)});
  }
  void emit(const std::string& fault) { emit(fault, gguf::write(file_)); }

  const OnMalformed& on_file_;
  gguf::File file_;
};

}  // namespace

std::string good_gguf() {
  return gguf::write(good());
}

void for_each_malformed_gguf(const OnMalformed& on_file) {
  GgufMaker maker(on_file);
  maker.truncations();
  maker.headers();
  maker.metadata();
  maker.tensors();
}

}  // namespace kvasir::tests
