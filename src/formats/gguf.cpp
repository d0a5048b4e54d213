#include "formats/gguf.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::formats {

namespace {

using tensor::DType;
using tensor::TensorView;

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint32_t kMaxDimensions = 4;  // ggml's GGML_MAX_DIMS
constexpr int kMaxDepth = 4;                 // of arrays in arrays; llama.cpp has none
// The least that an entry takes, which bounds what a count may say: length, type and a byte; length, number
// of dimensions, type and offset.
constexpr std::uint64_t kLeastValue = 13, kLeastTensor = 24;
// Strings to make room for before they were seen: four times the largest vocabulary of the models we run.
constexpr std::uint64_t kMaxReserve = 1'000'000;

struct TypeRow {
  const char* name;
  std::size_t size;  // in bytes; 0: no fixed one
};
constexpr std::array<TypeRow, 13> kTypes{{{"u8", 1},
                                          {"i8", 1},
                                          {"u16", 2},
                                          {"i16", 2},
                                          {"u32", 4},
                                          {"i32", 4},
                                          {"f32", 4},
                                          {"bool", 1},
                                          {"string", 0},
                                          {"array", 0},
                                          {"u64", 8},
                                          {"i64", 8},
                                          {"f64", 8}}};

// Types of tensors by their number in the file. Those without a DType are well-formed, but not for us.
struct TensorType {
  const char* name;
  std::optional<DType> dtype = std::nullopt;
};
constexpr std::array<TensorType, 40> kTensorTypes{{{"F32", DType::kF32},
                                                   {"F16", DType::kF16},
                                                   {"Q4_0", DType::kQ4_0},
                                                   {"Q4_1", DType::kQ4_1},
                                                   {"Q4_2"},
                                                   {"Q4_3"},
                                                   {"Q5_0", DType::kQ5_0},
                                                   {"Q5_1", DType::kQ5_1},
                                                   {"Q8_0", DType::kQ8_0},
                                                   {"Q8_1"},
                                                   {"Q2_K", DType::kQ2_K},
                                                   {"Q3_K", DType::kQ3_K},
                                                   {"Q4_K", DType::kQ4_K},
                                                   {"Q5_K", DType::kQ5_K},
                                                   {"Q6_K", DType::kQ6_K},
                                                   {"Q8_K"},
                                                   {"IQ2_XXS"},
                                                   {"IQ2_XS"},
                                                   {"IQ3_XXS"},
                                                   {"IQ1_S"},
                                                   {"IQ4_NL", DType::kIQ4_NL},
                                                   {"IQ3_S"},
                                                   {"IQ2_S"},
                                                   {"IQ4_XS"},
                                                   {"I8", DType::kI8},
                                                   {"I16", DType::kI16},
                                                   {"I32", DType::kI32},
                                                   {"I64", DType::kI64},
                                                   {"F64", DType::kF64},
                                                   {"IQ1_M"},
                                                   {"BF16", DType::kBF16},
                                                   {"Q4_0_4_4"},
                                                   {"Q4_0_4_8"},
                                                   {"Q4_0_8_8"},
                                                   {"TQ1_0"},
                                                   {"TQ2_0"},
                                                   {"IQ4_NL_4_4"},
                                                   {"IQ4_NL_4_8"},
                                                   {"IQ4_NL_8_8"},
                                                   {"MXFP4"}}};

std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  GgufContent parse() {
    read_magic();
    const std::uint64_t tensors = read_count("tensors", kLeastTensor);
    const std::uint64_t values = read_count("metadata values", kLeastValue);
    GgufContent content;
    content.metadata = GgufMetadata(read_metadata(values), origin_);
    std::vector<Entry> entries;
    for (std::uint64_t i = 0; i < tensors; ++i) entries.push_back(read_entry());
    if (!entries.empty()) place(entries, alignment(content.metadata));
    for (Entry& entry : entries) {
      if (!content.tensors.emplace(entry.name, std::move(entry.view)).second) {
        fail_tensor(entry.name, "occurs twice");
      }
    }
    return content;
  }

 private:
  struct Entry {
    std::string name;
    TensorView view;
    std::uint64_t offset = 0, bytes = 0;  // from the start of the data
  };

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, origin_ + ": " + message);
  }
  [[noreturn]] void fail_unsupported(const std::string& message) const {
    throw Error(ErrorCode::kUnsupported, origin_ + ": " + message);
  }
  [[noreturn]] void fail_tensor(std::string_view name, const std::string& message) const {
    fail("tensor " + std::string(name) + ": " + message);
  }

  std::uint64_t rest() const noexcept { return bytes_.size() - at_; }

  // The next `size` bytes; what they are is for the error only.
  std::span<const std::byte> take(std::uint64_t size, std::string_view what) {
    if (size > rest()) {
      fail("truncated at byte " + std::to_string(at_) + ": " + std::string(what) + " takes " +
           std::to_string(size) + " bytes, and " + std::to_string(rest()) +
           " follow; download the file again");
    }
    const std::span<const std::byte> bytes = bytes_.subspan(at_, size);
    at_ += size;
    return bytes;
  }

  template <class T>
  T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }

  std::string_view read_string(std::string_view what) {
    const std::span<const std::byte> bytes = take(read<std::uint64_t>(what), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::string_view read_name(std::string_view what, std::uint64_t limit) {
    const std::string_view name = read_string(what);
    if (name.empty() || name.size() > limit) {
      fail("byte " + std::to_string(at_ - name.size()) + ": " + std::string(what) + " has " +
           std::to_string(name.size()) + " bytes, and may have 1 to " + std::to_string(limit));
    }
    if (base::find_invalid_utf8(name) != name.size()) {
      fail("byte " + std::to_string(at_ - name.size()) + ": " + std::string(what) + " is not UTF-8");
    }
    return name;
  }

  void read_magic() {
    const auto magic = bytes_.first(std::min(bytes_.size(), kMagic.size()));
    const std::string_view text(reinterpret_cast<const char*>(magic.data()), magic.size());
    if (text == "lmgg" || text == "fmgg" || text == "tjgg") {
      fail_unsupported("a file of llama.cpp from before GGUF (August 2023); convert the model again");
    }
    if (text != kMagic) fail("not a GGUF file: it does not begin with \"GGUF\"");
    at_ = kMagic.size();
    const auto version = read<std::uint32_t>("the version");
    if ((version & 0xFFFF) == 0 && version != 0) {
      fail_unsupported("a big-endian GGUF file; fetch or convert the little-endian one");
    }
    if (version != 2 && version != 3) {
      fail_unsupported("version " + std::to_string(version) +
                       " of GGUF is not supported, versions 2 and 3 are; convert the model again");
    }
  }

  std::uint64_t read_count(const std::string& what, std::uint64_t least) {
    const auto count = read<std::uint64_t>("the number of " + what);
    if (count > rest() / least) {
      fail("truncated or damaged: " + std::to_string(count) + " " + what + " are announced, and " +
           std::to_string(rest()) + " bytes follow");
    }
    return count;
  }

  GgufMetadata::Values read_metadata(std::uint64_t count) {
    GgufMetadata::Values values;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string key(read_name("a metadata key", kGgufMaxKey));
      const GgufType type = read_type("metadata key " + key);
      if (!values.emplace(key, read_value(type, key)).second) fail("metadata key " + key + " occurs twice");
    }
    return values;
  }

  GgufType read_type(const std::string& where) {
    const auto number = read<std::uint32_t>(where);
    if (number >= kTypes.size()) fail(where + ": there is no type " + std::to_string(number));
    return static_cast<GgufType>(number);
  }

  GgufValue read_value(GgufType type, const std::string& key) {
    const auto with = [&](auto value) { return GgufValue{type, value}; };
    switch (type) {
      case GgufType::kU8:
        return with(std::uint64_t{read<std::uint8_t>(key)});
      case GgufType::kI8:
        return with(std::int64_t{read<std::int8_t>(key)});
      case GgufType::kU16:
        return with(std::uint64_t{read<std::uint16_t>(key)});
      case GgufType::kI16:
        return with(std::int64_t{read<std::int16_t>(key)});
      case GgufType::kU32:
        return with(std::uint64_t{read<std::uint32_t>(key)});
      case GgufType::kI32:
        return with(std::int64_t{read<std::int32_t>(key)});
      case GgufType::kU64:
        return with(read<std::uint64_t>(key));
      case GgufType::kI64:
        return with(read<std::int64_t>(key));
      case GgufType::kF32:
        return with(double{read<float>(key)});
      case GgufType::kF64:
        return with(read<double>(key));
      case GgufType::kBool: {
        const auto byte = read<std::uint8_t>(key);
        if (byte > 1) fail("metadata key " + key + ": a bool of " + std::to_string(byte));
        return with(byte == 1);
      }
      case GgufType::kString:
        return with(read_string(key));
      case GgufType::kArray:
        return {type, read_array(key, 1)};
    }
    fail("metadata key " + key + ": no such type");
  }

  GgufArray read_array(const std::string& key, int depth) {
    GgufArray array;
    array.type = read_type("metadata key " + key);
    array.size = read<std::uint64_t>(key);
    const std::size_t size = kTypes[static_cast<std::size_t>(array.type)].size;
    if (size > 0) {
      array.data = take(checked_multiply(array.size, size).value_or(~std::uint64_t{0}), key);
      return array;
    }
    // A string takes 8 bytes at least, an array 12.
    if (array.size > rest() / 8) {
      fail("truncated: metadata key " + key + " announces " + std::to_string(array.size) + " elements, and " +
           std::to_string(rest()) + " bytes follow; download the file again");
    }
    if (array.type == GgufType::kString) {
      array.strings.reserve(std::min(array.size, kMaxReserve));
      for (std::uint64_t i = 0; i < array.size; ++i) array.strings.push_back(read_string(key));
      return array;
    }
    if (depth == kMaxDepth) {
      fail("metadata key " + key + ": arrays nested more than " + std::to_string(kMaxDepth) + " deep");
    }
    for (std::uint64_t i = 0; i < array.size; ++i) read_array(key, depth + 1);
    return array;
  }

  Entry read_entry() {
    Entry entry;
    entry.name = read_name("the name of a tensor", kGgufMaxName);
    const std::string& name = entry.name;
    const auto dimensions = read<std::uint32_t>(name);
    if (dimensions > kMaxDimensions) {
      fail_tensor(name, std::to_string(dimensions) + " dimensions, and 4 are the most");
    }
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      const auto size = read<std::uint64_t>(name);
      const std::optional<std::uint64_t> product = checked_multiply(elements, size);
      if (size > std::numeric_limits<std::int64_t>::max() || !product)
        fail_tensor(name, "its size overflows");
      elements = *product;
      entry.view.shape.push_back(static_cast<std::int64_t>(size));
    }
    std::ranges::reverse(entry.view.shape);
    entry.view.dtype = read_dtype(name);
    entry.offset = read<std::uint64_t>(name);

    const std::size_t quant = tensor::dtype_quant_elements(entry.view.dtype);
    const std::int64_t row = entry.view.shape.empty() ? 1 : entry.view.shape.back();
    if (static_cast<std::uint64_t>(row) % quant != 0) {
      fail_tensor(name, "rows of " + std::to_string(row) + ", which are no whole blocks of " +
                            std::to_string(quant) + " of " + tensor::dtype_name(entry.view.dtype));
    }
    const auto bytes = checked_multiply(elements / quant, tensor::dtype_size(entry.view.dtype));
    if (!bytes) fail_tensor(name, "its size overflows");
    entry.bytes = *bytes;
    return entry;
  }

  DType read_dtype(const std::string& name) {
    const auto number = read<std::uint32_t>(name);
    if (number >= kTensorTypes.size()) {
      fail_unsupported("tensor " + name + ": type " + std::to_string(number) + " is not known");
    }
    if (const std::optional<DType> dtype = kTensorTypes[number].dtype) return *dtype;
    fail_unsupported("tensor " + name + ": type " + kTensorTypes[number].name +
                     " is not supported; take a file of Q8_0, Q6_K, Q5_K_M or Q4_K_M");
  }

  std::uint64_t alignment(const GgufMetadata& metadata) const {
    constexpr std::string_view kKey = "general.alignment";
    const std::int64_t alignment = metadata.integer_or(kKey, kDefaultAlignment, 1, std::int64_t{1} << 31);
    if ((alignment & (alignment - 1)) != 0) {
      metadata.fail(kKey, "is " + std::to_string(alignment) + ", and must be a power of two");
    }
    return static_cast<std::uint64_t>(alignment);
  }

  // Finds each tensor's bytes in the data, which begin at the next multiple of the alignment.
  void place(std::vector<Entry>& entries, std::uint64_t alignment) {
    const std::uint64_t start = (at_ + alignment - 1) / alignment * alignment;
    const std::uint64_t data = start > bytes_.size() ? 0 : bytes_.size() - start;
    for (Entry& entry : entries) {
      if (entry.offset % alignment != 0) {
        fail_tensor(entry.name, "its offset " + std::to_string(entry.offset) + " is no multiple of " +
                                    std::to_string(alignment));
      }
      if (start > bytes_.size() || entry.offset > data || entry.bytes > data - entry.offset) {
        fail_tensor(entry.name, "its " + std::to_string(entry.bytes) + " bytes from byte " +
                                    std::to_string(entry.offset) + " of the data (" + std::to_string(data) +
                                    " bytes) go beyond the end: the file is truncated; download it again");
      }
      entry.view.data = bytes_.data() + start + entry.offset;
    }
    std::vector<const Entry*> order;
    for (const Entry& entry : entries) {
      if (entry.bytes > 0) order.push_back(&entry);
    }
    std::ranges::sort(order, {}, &Entry::offset);
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes) {
        fail_tensor(order[i]->name, "overlaps tensor " + order[i - 1]->name);
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& origin_;
  std::uint64_t at_ = 0;
};

// A file NAME-00002-of-00003.gguf of a split model. llama.cpp knows them by this name only.
struct SplitName {
  std::string prefix;  // with the folder
  int count = 0;
};
std::string split_name(const SplitName& split, std::int64_t part) {
  char tail[32];
  std::snprintf(tail, sizeof tail, "-%05d-of-%05d.gguf", static_cast<int>(part) + 1, split.count);
  return split.prefix + tail;
}
SplitName parse_split_name(const std::filesystem::path& path, std::int64_t part, std::int64_t count) {
  SplitName split{path.string(), static_cast<int>(count)};
  const std::string tail = split_name({"", split.count}, part);
  if (!split.prefix.ends_with(tail)) {
    throw Error(ErrorCode::kFormat, path.string() + ": is part " + std::to_string(part + 1) + " of " +
                                        std::to_string(count) +
                                        " of a split model, and its name does not end in " + tail +
                                        "; give the parts their names back");
  }
  split.prefix.resize(split.prefix.size() - tail.size());
  return split;
}

// As many as five digits of a name can count.
constexpr std::int64_t kMaxParts = 65535;
std::int64_t part_count(const GgufMetadata& metadata) {
  return metadata.integer_or("split.count", 1, 0, kMaxParts);
}

}  // namespace

const char* gguf_type_name(GgufType type) noexcept {
  return kTypes[static_cast<std::size_t>(type)].name;
}

std::optional<std::uint32_t> gguf_tensor_type(DType dtype) noexcept {
  for (std::uint32_t i = 0; i < kTensorTypes.size(); ++i) {
    if (kTensorTypes[i].dtype == dtype) return i;
  }
  return std::nullopt;
}

GgufContent parse_gguf(std::span<const std::byte> bytes, const std::string& origin) {
  return Parser(bytes, origin).parse();
}

GgufFile::Part::Part(const std::filesystem::path& path)
    : file(path), content(parse_gguf(file.bytes(), path.string())) {}

GgufFile::GgufFile(const std::filesystem::path& path) {
  auto part = std::make_unique<Part>(path);
  if (part_count(part->content.metadata) > 1) {
    open_parts(path, std::move(part));
    return;
  }
  parts_.push_back(std::move(part));
  add_tensors(*parts_.back());
}

void GgufFile::open_parts(const std::filesystem::path& path, std::unique_ptr<Part> given) {
  const std::int64_t count = part_count(given->content.metadata),
                     number = given->content.metadata.integer("split.no", 0, count - 1);
  const SplitName split = parse_split_name(path, number, count);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::filesystem::path name = split_name(split, i);
    if (!std::filesystem::exists(name)) {
      throw Error(ErrorCode::kNotFound, name.string() + ": is missing, one of the " + std::to_string(count) +
                                            " parts of the model; download it again");
    }
    auto part = i == number ? std::move(given) : std::make_unique<Part>(name);
    const GgufMetadata& metadata = part->content.metadata;
    if (part_count(metadata) != count) {
      metadata.fail("split.count", "is not " + std::to_string(count) + ", as in " + path.filename().string());
    }
    metadata.integer("split.no", i, i);
    parts_.push_back(std::move(part));
    add_tensors(*parts_.back());
  }
  const auto tensors = static_cast<std::int64_t>(tensors_.size());
  metadata().integer_or("split.tensors.count", tensors, tensors, tensors);
}

void GgufFile::add_tensors(Part& part) {
  for (auto& [name, view] : part.content.tensors) {
    const std::string file = part.file.path().string();
    if (!tensors_.emplace(name, CheckpointTensor{view, file, &part.file}).second) {
      throw Error(ErrorCode::kFormat, file + ": tensor " + name + " lies in another part of the model too");
    }
  }
}

}  // namespace kvasir::formats
