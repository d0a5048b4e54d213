// GGUF, the files of llama.cpp: metadata (settings and vocabulary of the model) and tensors, often quantised.
// Reading maps the file.
//
//   const formats::GgufFile file("smollm2.q8_0.gguf");
//   file.metadata().integer("llama.block_count", 1, 1000);
//   file.tensors().at("blk.0.attn_q.weight").view;
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"
#include "formats/checkpoint_tensor.h"
#include "tensor/view.h"

namespace kvasir::formats {

// The longest name of a tensor (ggml's GGML_MAX_NAME without the 0 at its end), and the longest key.
inline constexpr std::size_t kGgufMaxName = 63, kGgufMaxKey = 65535;

// By the numbers in the file.
enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};
const char* gguf_type_name(GgufType type) noexcept;  // "u8", "string", …

// Numbers and booleans as they lie in the file, strings as views of it. Of arrays of arrays, which no model
// has, only the bounds are checked.
struct GgufArray {
  GgufType type = GgufType::kU8;  // of the elements
  std::uint64_t size = 0;
  std::span<const std::byte> data;        // except of strings and arrays
  std::vector<std::string_view> strings;  // kString
};

struct GgufValue {
  GgufType type = GgufType::kU8;
  // Signed and unsigned integers, f32 and f64 widened.
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string_view, GgufArray> value;
};

// The metadata of one file, with errors that name the file and the key.
class GgufMetadata {
 public:
  using Values = std::map<std::string, GgufValue, std::less<>>;

  GgufMetadata() = default;
  GgufMetadata(Values values, std::string origin) : values_(std::move(values)), origin_(std::move(origin)) {}

  bool has(std::string_view key) const { return values_.contains(key); }

  // Each throws kFormat if the key is missing (without fallback) or of another type. Integers may be of any
  // width, numbers also integers; integers also throw if out of [min, max].
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::int64_t integer_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                          std::int64_t max) const;
  double number(std::string_view key) const;
  double number_or(std::string_view key, double fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  // Views of the file.
  std::string_view string(std::string_view key) const;
  std::string_view string_or(std::string_view key, std::string_view fallback) const;
  std::span<const std::string_view> strings(std::string_view key) const;
  std::vector<float> floats(std::string_view key) const;           // an array of f32 or f64
  std::vector<std::int64_t> integers(std::string_view key) const;  // an array of integers of any width

  const Values& values() const noexcept { return values_; }
  const std::string& origin() const noexcept { return origin_; }
  // Throws kFormat "ORIGIN: metadata key KEY MESSAGE".
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;

 private:
  const GgufValue& at(std::string_view key) const;
  const GgufArray& array(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, std::string_view expected) const;

  Values values_;
  std::string origin_;
};

// What a file holds. Strings and views point into the bytes that were parsed. Shapes are in PyTorch's order:
// the file's, reversed.
struct GgufContent {
  GgufMetadata metadata;
  std::map<std::string, tensor::TensorView> tensors;
};

// Validates a whole file in memory, of version 2 or 3 (spec: llm §4): bounds, no key and no tensor twice,
// sizes without overflow, rows of whole quants, offsets that are aligned and do not overlap. Throws kFormat
// naming origin (the file) and key or tensor; kUnsupported, naming them, for other versions, big-endian files
// and types of tensors that are not supported.
GgufContent parse_gguf(std::span<const std::byte> bytes, const std::string& origin);

// The number of a tensor's type in the file; nullopt for types that GGUF does not have.
std::optional<std::uint32_t> gguf_tensor_type(tensor::DType dtype) noexcept;

class GgufFile {
 public:
  // Maps and validates a file, with all its parts if it is one of NAME-00001-of-00003.gguf: any of them may
  // be given. Throws as base::MappedFile and parse_gguf; kNotFound for a part that is missing; kFormat for
  // parts that do not fit together.
  explicit GgufFile(const std::filesystem::path& path);

  // Valid as long as the file is. Metadata of the first part: the others have none of their own.
  const GgufMetadata& metadata() const noexcept { return parts_.front()->content.metadata; }
  const std::map<std::string, CheckpointTensor>& tensors() const noexcept { return tensors_; }
  const std::string& origin() const noexcept { return metadata().origin(); }  // for errors

 private:
  struct Part {
    explicit Part(const std::filesystem::path& path);
    base::MappedFile file;
    GgufContent content;
  };
  void open_parts(const std::filesystem::path& path, std::unique_ptr<Part> given);
  void add_tensors(Part& part);

  std::vector<std::unique_ptr<Part>> parts_;
  std::map<std::string, CheckpointTensor> tensors_;
};

}  // namespace kvasir::formats
