#include "vector_file.h"

#include <bit>
#include <cstring>

#include "kvasir/error.h"

namespace kvasir::cli {

namespace {

static_assert(std::endian::native == std::endian::little, "vectors are written as they lie in memory");

// Room for any number of vectors; both formats let headers end in spaces.
constexpr std::size_t kHeaderBytes = 256;
constexpr std::size_t kFull = std::size_t{1} << 20;

const std::string& ordinary(const std::string& path) {
  if (!VectorFile::has_known_name(path)) {
    throw Error(ErrorCode::kInvalidArgument, path + ": the name should end in .npy or .safetensors");
  }
  if (base::is_special_file(path)) {
    throw Error(ErrorCode::kInvalidArgument,
                path +
                    ": is a device or a pipe, and the number of vectors, which is known last, stands at the "
                    "beginning; name an ordinary file");
  }
  return path;
}

}  // namespace

bool VectorFile::has_known_name(const std::string& path) {
  return path.ends_with(".npy") || path.ends_with(".safetensors");
}

VectorFile::VectorFile(const std::string& path, std::size_t dimension)
    : is_numpy_(path.ends_with(".npy")), dimension_(dimension), file_(ordinary(path)) {
  file_.write(header());
}

// Always kHeaderBytes long.
std::string VectorFile::header() const {
  const std::string shape = std::to_string(count_) + (is_numpy_ ? ", " : ",") + std::to_string(dimension_);
  std::string out;
  if (is_numpy_) {  // NEP 1: magic, version 1.0, length of the rest (16 bits), a Python literal that ends in
                    // \n
    constexpr std::size_t kRest = kHeaderBytes - 10;
    out =
        std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(kRest & 0xFF) + static_cast<char>(kRest >> 8);
    out += "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
    out.resize(kHeaderBytes - 1, ' ');
    return out + '\n';
  }
  const std::uint64_t rest = kHeaderBytes - 8;
  out.resize(8);
  std::memcpy(out.data(), &rest, 8);
  out += R"({"embeddings":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,)" +
         std::to_string(count_ * dimension_ * sizeof(float)) + "]}}";
  out.resize(kHeaderBytes, ' ');
  return out;
}

void VectorFile::add(std::span<const float> vector) {
  buffer_.append(reinterpret_cast<const char*>(vector.data()), vector.size_bytes());
  ++count_;
  if (buffer_.size() < kFull) return;
  file_.write(buffer_);
  buffer_.clear();
}

void VectorFile::commit() {
  file_.write(buffer_);
  file_.overwrite_beginning(header());
  file_.commit();
}

}  // namespace kvasir::cli
