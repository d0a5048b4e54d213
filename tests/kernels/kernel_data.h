// Numbers for kernel tests: random arrays at addresses that no vector likes, and matrices with a guarded
// margin.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace kvasir::tests {

inline constexpr float kGuard = 12345.678F;  // what a kernel must not overwrite

// A matrix whose rows are `stride` floats apart and whose first element is `offset` floats behind an
// aligned address. Its memory ends with the last element of the last row, so that sanitizers see a read
// beyond it.
class Matrix {
 public:
  struct Shape {
    std::size_t rows, columns;
    std::size_t margin = 0;  // floats between rows
    std::size_t offset = 1;
  };
  explicit Matrix(const Shape& shape)
      : shape_(shape),
        stride_(shape.columns + shape.margin),
        memory_(shape.offset + (shape.rows - 1) * stride_ + shape.columns, kGuard) {}
  Matrix(const Shape& shape, std::uint32_t seed, float scale = 1) : Matrix(shape) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, scale);
    for (std::size_t i = 0; i < shape.rows; ++i) {
      for (std::size_t j = 0; j < shape.columns; ++j) at(i, j) = normal(random);
    }
  }

  float* data() { return memory_.data() + shape_.offset; }
  const float* data() const { return memory_.data() + shape_.offset; }
  float* row(std::size_t i) { return data() + i * stride_; }
  const float* row(std::size_t i) const { return data() + i * stride_; }
  float& at(std::size_t i, std::size_t j) { return data()[i * stride_ + j]; }
  float at(std::size_t i, std::size_t j) const { return data()[i * stride_ + j]; }
  std::size_t stride() const { return stride_; }
  std::size_t rows() const { return shape_.rows; }
  std::size_t columns() const { return shape_.columns; }

  // Bit by bit, margins included.
  bool same_bits(const Matrix& other) const {
    return memory_.size() == other.memory_.size() &&
           std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(float)) == 0;
  }
  // Nobody wrote before the first element or between the rows.
  bool guards_intact() const {
    const float* end = memory_.data() + memory_.size();
    const auto is_guard = [](float x) { return x == kGuard; };
    if (!std::all_of(memory_.data(), data(), is_guard)) return false;
    for (std::size_t i = 0; i + 1 < shape_.rows; ++i) {
      if (!std::all_of(row(i) + shape_.columns, row(i + 1), is_guard)) return false;
    }
    return row(shape_.rows - 1) + shape_.columns == end;
  }

 private:
  Shape shape_;
  std::size_t stride_;
  std::vector<float> memory_;
};

}  // namespace kvasir::tests
