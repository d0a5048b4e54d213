// A file of vectors, one below the other: .npy for NumPy, .safetensors for most others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/atomic_file.h"

namespace kvasir::cli {

class VectorFile {
 public:
  // Throws kvasir::Error for a name that ends otherwise, and for a device or a pipe: the number of vectors
  // stands before them, and is known last.
  VectorFile(const std::string& path, std::size_t dimension);

  void add(std::span<const float> vector);  // [dimension]
  void commit();                            // the file appears

  static bool has_known_name(const std::string& path);

 private:
  std::string header() const;

  bool is_numpy_;
  std::size_t dimension_, count_ = 0;
  base::AtomicFile file_;
  std::string buffer_;
};

}  // namespace kvasir::cli
