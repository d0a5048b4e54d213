#include "formats/gguf_writer.h"

#include <cstring>
#include <set>
#include <string_view>
#include <type_traits>

#include "base/atomic_file.h"
#include "base/utf8.h"
#include "formats/gguf.h"
#include "kvasir/error.h"
#include "tensor/buffer.h"

namespace kvasir::formats {

namespace {

constexpr std::size_t kAlignment = 32;

std::size_t padding(std::size_t size) noexcept {
  return (kAlignment - size % kAlignment) % kAlignment;
}

// The bytes before the data.
class Header {
 public:
  explicit Header(const std::filesystem::path& path) : path_(path.string()) {}

  std::string write(std::span<const GgufEntry> metadata, std::span<const GgufTensor> tensors) {
    bytes_ = "GGUF";
    add(std::uint32_t{3});
    add(std::uint64_t{tensors.size()});
    add(std::uint64_t{metadata.size()});
    std::set<std::string_view> names;
    for (const GgufEntry& entry : metadata) {
      check_name("metadata key", entry.key, kGgufMaxKey, names);
      add(entry.key);
      std::visit([this](const auto& value) { add_value(value); }, entry.value);
    }
    names.clear();
    std::uint64_t offset = 0;
    for (const GgufTensor& tensor : tensors) {
      check_name("tensor", tensor.name, kGgufMaxName, names);
      const std::size_t bytes = add_tensor(tensor, offset);
      offset += bytes + padding(bytes);
    }
    bytes_.append(padding(bytes_.size()), '\0');
    return std::move(bytes_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kInvalidArgument, path_ + ": " + message);
  }
  void check_name(const std::string& what, const std::string& name, std::size_t limit,
                  std::set<std::string_view>& names) const {
    if (name.empty() || name.size() > limit || base::find_invalid_utf8(name) != name.size()) {
      fail(what + " \"" + name + "\": GGUF has names of 1 to " + std::to_string(limit) + " bytes of UTF-8");
    }
    if (!names.insert(name).second) fail(what + " " + name + " is given twice");
  }

  template <class T>
  requires std::is_arithmetic_v<T>
  void add(T value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void add(const std::string& text) {
    add(std::uint64_t{text.size()});
    bytes_ += text;
  }
  void add(GgufType type) { add(static_cast<std::uint32_t>(type)); }

  static GgufType type_of(std::uint32_t) { return GgufType::kU32; }
  static GgufType type_of(std::int32_t) { return GgufType::kI32; }
  static GgufType type_of(std::uint64_t) { return GgufType::kU64; }
  static GgufType type_of(float) { return GgufType::kF32; }
  static GgufType type_of(bool) { return GgufType::kBool; }
  static GgufType type_of(const std::string&) { return GgufType::kString; }

  template <class T>
  void add_value(const T& value) {
    add(type_of(value));
    add(value);
  }
  template <class T>
  void add_value(const std::vector<T>& values) {
    add(GgufType::kArray);
    add(type_of(T{}));
    add(std::uint64_t{values.size()});
    for (const T& value : values) add(value);
  }

  // Returns the size of its data.
  std::size_t add_tensor(const GgufTensor& tensor, std::uint64_t offset) {
    const auto type = gguf_tensor_type(tensor.dtype);
    const std::string where = "tensor " + tensor.name + ": ";
    if (!type) fail(where + "GGUF has no type " + tensor::dtype_name(tensor.dtype));
    const std::size_t quant = tensor::dtype_quant_elements(tensor.dtype);
    if (tensor.shape.empty() || tensor.shape.size() > 4 ||
        static_cast<std::size_t>(tensor.shape.back()) % quant != 0) {
      fail(where + "shape " + tensor::shape_text(tensor.shape) +
           " is not one to four dimensions, the last a multiple of " + std::to_string(quant));
    }
    add(tensor.name);
    add(static_cast<std::uint32_t>(tensor.shape.size()));
    for (std::size_t i = tensor.shape.size(); i-- > 0;) add(static_cast<std::uint64_t>(tensor.shape[i]));
    add(*type);
    add(offset);
    return tensor::TensorView{tensor.dtype, tensor.shape, nullptr}.bytes();
  }

  std::string path_, bytes_;
};

}  // namespace

void write_gguf(const std::filesystem::path& path, std::span<const GgufEntry> metadata,
                std::span<const GgufTensor> tensors, const FillTensor& fill) {
  const std::string header = Header(path).write(metadata, tensors);
  base::AtomicFile file(path);
  file.write(header);
  tensor::Buffer<std::byte> buffer;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::size_t bytes = tensor::TensorView{tensors[i].dtype, tensors[i].shape, nullptr}.bytes();
    if (buffer.size() < bytes + kAlignment) buffer = tensor::Buffer<std::byte>(bytes + kAlignment);
    fill(i, buffer.span().first(bytes));
    const std::size_t padded = bytes + padding(bytes);
    std::memset(buffer.data() + bytes, 0, padded - bytes);
    file.write({reinterpret_cast<const char*>(buffer.data()), padded});
  }
  file.commit();
}

}  // namespace kvasir::formats
