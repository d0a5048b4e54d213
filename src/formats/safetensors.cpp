#include "formats/safetensors.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::formats {

namespace {

using base::json::value;
using tensor::DType;
using tensor::TensorView;

constexpr std::size_t kLengthBytes = 8;            // the header's length, u64
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference's own limit
constexpr std::string_view kMetadata = "__metadata__";

// Types that the format defines and DType lacks: well-formed, but not for us.
constexpr std::string_view kOtherDtypes[] = {"F4",          "F6_E2M3",     "F6_E3M2", "F8_E8M0",
                                             "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};

// Finds a key that occurs twice in one object. A DOM cannot tell (the last one wins), and two readers that
// disagree about which one counts are how a file shows one thing to a scanner and another to a model.
class DuplicateKeys {
 public:
  using error_code = boost::system::error_code;
  using string_view = boost::json::string_view;
  // NOLINTBEGIN(readability-identifier-naming): Boost's names
  static constexpr std::size_t max_object_size = std::size_t(-1), max_array_size = std::size_t(-1),
                               max_key_size = std::size_t(-1), max_string_size = std::size_t(-1);
  // NOLINTEND(readability-identifier-naming)

  std::string duplicate;

  bool on_object_begin(error_code&) { return keys_.emplace_back(), true; }
  bool on_object_end(std::size_t, error_code&) { return keys_.pop_back(), true; }
  bool on_key_part(string_view part, std::size_t, error_code&) { return key_.append(part), true; }
  bool on_key(string_view part, std::size_t, error_code& error) {
    key_.append(part);
    if (keys_.back().insert(key_).second) return key_.clear(), true;
    duplicate = key_;
    error = boost::json::error::extra_data;  // any error stops the parser
    return false;
  }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t, error_code&) { return true; }
  bool on_string_part(string_view, std::size_t, error_code&) { return true; }
  bool on_string(string_view, std::size_t, error_code&) { return true; }
  bool on_number_part(string_view, error_code&) { return true; }
  bool on_int64(std::int64_t, string_view, error_code&) { return true; }
  bool on_uint64(std::uint64_t, string_view, error_code&) { return true; }
  bool on_double(double, string_view, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }
  bool on_comment_part(string_view, error_code&) { return true; }
  bool on_comment(string_view, error_code&) { return true; }

 private:
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
  std::string key_;
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  SafetensorsContent parse() {
    const std::string_view header = read_header();
    data_ = bytes_.subspan(kLengthBytes + header.size());
    // Valid JSON first (and shallow: at most 100 levels), so that the second pass need not care.
    const value document = base::parse_json(header, origin_ + ": header");
    check_duplicates(header);
    const base::JsonObject object(document, origin_ + ": header");

    SafetensorsContent content;
    std::vector<Entry> entries;
    for (const auto& [key, entry] : object.raw()) {
      const std::string name(key);
      if (name == kMetadata) {
        content.metadata = read_metadata(entry);
      } else {
        entries.push_back(read_entry(name, entry));
      }
    }
    check_layout(entries);
    for (Entry& entry : entries) content.tensors.emplace(entry.name, std::move(entry.view));
    return content;
  }

 private:
  struct Entry {
    std::string name;
    TensorView view;
    std::uint64_t begin = 0, end = 0;  // bytes from the start of the data
  };

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, origin_ + ": " + message);
  }
  [[noreturn]] void fail(const std::string& name, const std::string& message) const {
    fail("tensor " + name + ": " + message);
  }

  std::string_view read_header() const {
    if (bytes_.size() < kLengthBytes) {
      fail("not a safetensors file: " + std::to_string(bytes_.size()) + " bytes, and 8 are the least");
    }
    std::uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), kLengthBytes);
    const std::uint64_t rest = bytes_.size() - kLengthBytes;
    if (length > kMaxHeader) {
      fail("not a safetensors file, or a damaged one: the header's length of " + std::to_string(length) +
           " bytes is over the limit of 100000000");
    }
    if (length > rest) {
      fail("truncated: the header's length is " + std::to_string(length) + " bytes, and " +
           std::to_string(rest) + " follow; download the file again");
    }
    const std::string_view header(reinterpret_cast<const char*>(bytes_.data()) + kLengthBytes, length);
    if (const std::size_t bad = base::find_invalid_utf8(header); bad != header.size()) {
      fail("not a safetensors file, or a damaged one: byte " + std::to_string(bad) +
           " of the header is not UTF-8");
    }
    return header;
  }

  void check_duplicates(std::string_view header) const {
    boost::json::parse_options options;
    options.max_depth = 1000;  // parse_json, which was first, has a lower limit
    boost::json::basic_parser<DuplicateKeys> parser(options);
    boost::system::error_code error;
    parser.write_some(false, header.data(), header.size(), error);
    if (error) fail("header: the key " + parser.handler().duplicate + " occurs twice");
  }

  std::map<std::string, std::string> read_metadata(const value& entry) const {
    const base::JsonObject object(entry, origin_ + ": header: " + std::string(kMetadata));
    std::map<std::string, std::string> metadata;
    for (const auto& [key, text] : object.raw()) metadata.emplace(key, object.string(key));
    return metadata;
  }

  Entry read_entry(const std::string& name, const value& description) const {
    const base::JsonObject object(description, origin_ + ": tensor " + name);
    Entry entry;
    entry.name = name;
    entry.view.dtype = read_dtype(name, object.string("dtype"));
    std::uint64_t elements = 1;
    for (const std::uint64_t size : read_sizes(name, object, "shape")) {
      if (size > static_cast<std::uint64_t>(INT64_MAX) || __builtin_mul_overflow(elements, size, &elements)) {
        fail(name, "the product of its shape overflows");
      }
      entry.view.shape.push_back(static_cast<std::int64_t>(size));
    }
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(elements, tensor::dtype_size(entry.view.dtype), &bytes)) {
      fail(name, "its size in bytes overflows");
    }
    const std::vector<std::uint64_t> offsets = read_sizes(name, object, "data_offsets");
    if (offsets.size() != 2) fail(name, "data_offsets must be two numbers");
    entry.begin = offsets[0];
    entry.end = offsets[1];
    const std::string range =
        "data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + ")";
    if (entry.end < entry.begin) fail(name, range + " end before they begin");
    if (entry.end > data_.size()) {
      fail(name, range + " go beyond the end of the data (" + std::to_string(data_.size()) +
                     " bytes): the file is truncated; download it again");
    }
    if (entry.end - entry.begin != bytes) {
      fail(name, range + " hold " + std::to_string(entry.end - entry.begin) + " bytes, and shape " +
                     tensor::shape_text(entry.view.shape) + " of " + tensor::dtype_name(entry.view.dtype) +
                     " needs " + std::to_string(bytes));
    }
    entry.view.data = data_.data() + entry.begin;
    return entry;
  }

  DType read_dtype(const std::string& name, const std::string& text) const {
    if (const std::optional<DType> dtype = tensor::parse_dtype(text)) return *dtype;
    if (std::ranges::find(kOtherDtypes, text) != std::end(kOtherDtypes)) {
      throw Error(ErrorCode::kUnsupported, origin_ + ": tensor " + name + ": dtype " + text +
                                               " is not supported; convert the file to F32, F16 or BF16");
    }
    fail(name, "unknown dtype " + text);
  }

  std::vector<std::uint64_t> read_sizes(const std::string& name, const base::JsonObject& object,
                                        std::string_view key) const {
    const value& list = object.at(key);
    std::vector<std::uint64_t> sizes;
    if (!list.is_array()) fail(name, std::string(key) + " is not a list");
    for (const value& size : list.get_array()) {
      if (size.is_uint64()) {
        sizes.push_back(size.get_uint64());
      } else if (size.is_int64() && size.get_int64() >= 0) {
        sizes.push_back(static_cast<std::uint64_t>(size.get_int64()));
      } else {
        fail(name, std::string(key) + " holds " + base::json::serialize(size) + ", which is not a size");
      }
    }
    return sizes;
  }

  // The tensors must tile the data: each begins where the one before it ends, and the last ends the file.
  void check_layout(std::vector<Entry>& entries) const {
    std::ranges::sort(entries, [](const Entry& a, const Entry& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    std::uint64_t end = 0;
    for (const Entry& entry : entries) {
      if (entry.begin != end) {
        fail(entry.name, "invalid data_offsets: it begins at byte " + std::to_string(entry.begin) +
                             (entry.begin < end ? ", inside the tensor before it, which ends at byte "
                                                : ", and the tensor before it ends at byte ") +
                             std::to_string(end));
      }
      end = entry.end;
    }
    if (end != data_.size()) {
      fail(std::to_string(data_.size() - end) + " bytes follow the last tensor; the file is damaged");
    }
  }

  std::span<const std::byte> bytes_;
  std::span<const std::byte> data_;
  const std::string& origin_;
};

}  // namespace

SafetensorsContent parse_safetensors(std::span<const std::byte> bytes, const std::string& origin) {
  return Parser(bytes, origin).parse();
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), content_(parse_safetensors(file_.bytes(), path.string())) {}

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor*> order;
  std::set<std::string_view> names;
  for (const NamedTensor& tensor : tensors) {
    if (tensor.name == kMetadata || !names.insert(tensor.name).second) {
      throw Error(ErrorCode::kInvalidArgument,
                  path.string() + ": tensor name " + tensor.name + " is given twice or reserved");
    }
    order.push_back(&tensor);
  }
  std::ranges::sort(order, [](const NamedTensor* a, const NamedTensor* b) {
    return a->view.dtype != b->view.dtype ? a->view.dtype > b->view.dtype : a->name < b->name;
  });

  // Boost.JSON keeps the order of insertion, and so does the reference's writer.
  base::json::object header;
  header[kMetadata] =
      base::json::object{{"format", "pt"}};  // transformers refuses a file that does not say so
  std::uint64_t offset = 0;
  for (const NamedTensor* tensor : order) {
    const std::uint64_t end = offset + tensor->view.bytes();
    header[tensor->name] = base::json::object{{"dtype", tensor::dtype_name(tensor->view.dtype)},
                                              {"shape", base::json::value_from(tensor->view.shape)},
                                              {"data_offsets", base::json::array{offset, end}}};
    offset = end;
  }
  std::string text = base::json::serialize(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxHeader) {
    throw Error(ErrorCode::kInvalidArgument, path.string() + ": too many tensors for one file; write shards");
  }

  base::AtomicFile file(path);
  const std::uint64_t length = text.size();
  file.write({reinterpret_cast<const char*>(&length), sizeof(length)});
  file.write(text);
  for (const NamedTensor* tensor : order) {
    file.write({reinterpret_cast<const char*>(tensor->view.data), tensor->view.bytes()});
  }
  file.commit();
}

}  // namespace kvasir::formats
