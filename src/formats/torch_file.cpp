#include "formats/torch_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "formats/pickle.h"
#include "formats/zip.h"
#include "kvasir/error.h"
#include "tensor/strided.h"

namespace kvasir::formats {

namespace {

using Kind = PickleNode::Kind;
using Storages = std::map<std::string, std::span<const std::byte>>;

// The pickled number 0x1950a86a20f9469cfc6c begins a file of the old format.
constexpr std::string_view kLegacyMagic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e", 15);
constexpr std::int64_t kLegacyProtocol = 1001;
constexpr std::size_t kTarMagicAt = 257;  // "ustar": the format of PyTorch 0.1
// Copies may take this many times the file, which leaves room for matrices that are stored once and shared.
constexpr std::size_t kMaxCopies = 4;

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  TorchContent parse() {
    if (is_zip(bytes_)) {
      parse_zip();
    } else if (text(0, kLegacyMagic.size()) == kLegacyMagic) {
      parse_legacy();
    } else if (text(kTarMagicAt, 5) == "ustar") {
      unsupported("the format of PyTorch 0.1; load and save the model with a newer one");
    } else {
      fail("not a file of torch.save; download the file again, or look for model.safetensors");
    }
    return std::move(content_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, origin_ + ": " + message);
  }
  [[noreturn]] void fail(const std::string& name, const std::string& message) const {
    fail("tensor " + name + ": " + message);
  }
  [[noreturn]] void unsupported(const std::string& message) const {
    throw Error(ErrorCode::kUnsupported, origin_ + ": " + message);
  }

  std::string_view text(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return {};
    return {reinterpret_cast<const char*>(bytes_.data()) + at, size};
  }

  // ROOT/data.pkl, ROOT/data/KEY, ROOT/byteorder, under a ROOT of any name.
  void parse_zip() {
    const auto files = read_stored_zip(bytes_, origin_);
    constexpr std::string_view kPickle = "/data.pkl";
    std::string root;
    for (const auto& [name, data] : files) {
      if (!name.ends_with(kPickle) || std::ranges::count(name, '/') != 1) continue;
      if (!root.empty()) fail("the archive holds a second model, at " + name);
      root = name.substr(0, name.size() - kPickle.size() + 1);
    }
    if (root.empty()) fail("a ZIP archive without data.pkl; it was not written by torch.save");
    big_endian_ = read_byteorder(files, root);
    const Pickle pickle = read_pickle(files.at(root + "data.pkl"), origin_);
    const std::string data_folder = root + "data/";
    Storages storages;
    for (const auto& [name, data] : files) {
      if (name.starts_with(data_folder)) storages.emplace(name.substr(data_folder.size()), data);
    }
    add_tensors(pickle, storages);
  }

  bool read_byteorder(const Storages& files, const std::string& root) const {
    const auto found = files.find(root + "byteorder");
    if (found == files.end()) return false;  // PyTorch before 2.0
    const std::string_view order(reinterpret_cast<const char*>(found->second.data()), found->second.size());
    if (order != "little" && order != "big") fail("byteorder is neither little nor big");
    return order == "big";
  }

  // Pickles of a magic number, a version, facts about the machine, the object, and the keys of its storages;
  // then each storage: a count and its elements. Both are little-endian whatever the facts say: torch turns
  // them around on a big-endian machine, when it writes and when it reads.
  void parse_legacy() {
    std::size_t at = kLegacyMagic.size();
    const auto next = [&] {
      Pickle pickle = read_pickle(bytes_.subspan(at), origin_);
      at += pickle.size;
      return pickle;
    };
    const Pickle version = next();
    if (version.top().kind != Kind::kInteger || version.top().integer != kLegacyProtocol) {
      unsupported("not version 1001 of torch.save's old format");
    }
    if (next().top().kind != Kind::kDict) fail("the facts about the machine are not a dict");
    const Pickle object = next();
    const Pickle keys = next();
    if (keys.top().kind != Kind::kList) fail("the keys of the storages are not a list");
    std::map<std::string, tensor::DType> dtypes;  // of the storages that tensors refer to
    for (const StorageRef& storage : object.storages) dtypes.emplace(storage.key, storage.dtype);
    Storages storages;
    for (const NodeIndex item : keys.top().items) {
      const PickleNode& key = keys.nodes[item];
      if (key.kind != Kind::kString) fail("a storage's key is no string");
      const auto dtype = dtypes.find(key.text);
      if (dtype == dtypes.end()) fail("storage " + key.text + " belongs to no tensor");
      const std::span<const std::byte> data = legacy_storage(key.text, dtype->second, at);
      if (!storages.emplace(key.text, data).second) fail("storage " + key.text + " occurs twice");
    }
    if (at != bytes_.size()) fail(std::to_string(bytes_.size() - at) + " bytes follow the last storage");
    add_tensors(object, storages);
  }

  std::span<const std::byte> legacy_storage(const std::string& key, tensor::DType dtype,
                                            std::size_t& at) const {
    std::uint64_t count = 0;
    if (bytes_.size() - at < sizeof count) fail("truncated before storage " + key + "; download it again");
    std::memcpy(&count, bytes_.data() + at, sizeof count);
    at += sizeof count;
    const std::size_t item = tensor::dtype_size(dtype);
    if (count > (bytes_.size() - at) / item) fail("truncated within storage " + key + "; download it again");
    const auto data = bytes_.subspan(at, count * item);
    at += data.size();
    return data;
  }

  void add_tensors(const Pickle& pickle, const Storages& storages) {
    const PickleNode& dict = pickle.top();
    if (dict.kind != Kind::kDict) fail("holds no dict of tensors; save model.state_dict()");
    for (std::size_t i = 0; i < dict.items.size(); i += 2) {
      const PickleNode& key = pickle.nodes[dict.items[i]];
      const PickleNode& value = pickle.nodes[dict.items[i + 1]];
      if (key.kind != Kind::kString) fail("the key of a tensor is no string");
      if (value.kind != Kind::kTensor) {
        fail("entry " + key.text + " is no tensor" +
             (value.kind == Kind::kDict
                  ? ": this looks like a checkpoint of training; save model.state_dict()"
                  : "; save model.state_dict()"));
      }
      const TensorRef& tensor = pickle.tensors[static_cast<std::size_t>(value.integer)];
      const StorageRef& storage = pickle.storages[tensor.storage];
      const auto view = strided_view(key.text, tensor, storage, storages);
      if (!content_.tensors.emplace(key.text, add_tensor(key.text, view)).second) {
        fail(key.text, "the file holds it twice");
      }
    }
  }

  // The tensor, after all checks: its storage is as large as the pickle says (torch before 2.10 believed the
  // pickle, CVE-2026-24747), and each of its elements lies within.
  tensor::StridedView strided_view(const std::string& name, const TensorRef& tensor,
                                   const StorageRef& storage, const Storages& storages) const {
    const auto found = storages.find(storage.key);
    if (found == storages.end()) fail(name, "its storage " + storage.key + " is missing from the file");
    const std::size_t item = tensor::dtype_size(storage.dtype);
    if (found->second.size() % item != 0 || found->second.size() / item != storage.elements) {
      fail(name, "its storage " + storage.key + " has " + std::to_string(found->second.size()) +
                     " bytes, and " + std::to_string(storage.elements) + " elements of " +
                     tensor::dtype_name(storage.dtype) + " are due");
    }
    std::uint64_t elements = 1;
    std::uint64_t last = tensor.offset;
    bool overflow = false;
    for (std::size_t d = 0; d < tensor.shape.size(); ++d) {
      const auto size = static_cast<std::uint64_t>(tensor.shape[d]);
      std::uint64_t reach = 0;
      overflow |= __builtin_mul_overflow(elements, size, &elements);
      if (size == 0) continue;
      overflow |= __builtin_mul_overflow(size - 1, static_cast<std::uint64_t>(tensor.strides[d]), &reach);
      overflow |= __builtin_add_overflow(last, reach, &last);
    }
    const std::string shape = "shape " + tensor::shape_text(tensor.shape);
    if (overflow) fail(name, shape + " overflows");
    if (elements > 0 && last >= storage.view_elements) {
      fail(name, shape + " reaches element " + std::to_string(last) + " of a storage of " +
                     std::to_string(storage.view_elements));
    }
    if (elements > storage.view_elements) fail(name, shape + " has more elements than its storage");
    const std::size_t begin = elements == 0 ? 0 : storage.view_begin + tensor.offset;
    return {.dtype = storage.dtype,
            .shape = tensor.shape,
            .strides = tensor.strides,
            .data = found->second.data() + begin * item};
  }

  tensor::TensorView add_tensor(const std::string& name, const tensor::StridedView& from) {
    tensor::TensorView view{.dtype = from.dtype, .shape = from.shape, .data = from.data};
    if (from.is_contiguous() && !big_endian_) return view;
    copied_ += view.bytes();
    if (copied_ > kMaxCopies * bytes_.size()) {
      fail(name, "the tensors share their storages so often that they would fill the memory");
    }
    tensor::Buffer<std::byte> copy(view.bytes());
    copy_elements(from, copy.data());
    if (big_endian_) swap_bytes(view.dtype, copy.data(), view.elements());
    view.data = copy.data();
    content_.copies.push_back(std::move(copy));
    return view;
  }

  std::span<const std::byte> bytes_;
  const std::string& origin_;
  bool big_endian_ = false;
  std::size_t copied_ = 0;
  TorchContent content_;
};

}  // namespace

TorchContent parse_torch(std::span<const std::byte> bytes, const std::string& origin) {
  return Parser(bytes, origin).parse();
}

}  // namespace kvasir::formats
