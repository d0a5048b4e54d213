// Owned, 64-byte aligned memory, for loads of one cache line at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>

namespace kvasir::tensor {

inline constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector (AVX-512)

// An uninitialised array of trivially copyable T. Movable, not copyable. Memory of 2 MiB and more is aligned
// to 2 MiB and offered to transparent huge pages (packed weights are streamed end to end; 4 KiB pages cost
// TLB misses).
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size);  // throws Error{kResourceExhausted} if there is not enough memory

  T* data() noexcept { return data_.get(); }
  const T* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  std::span<T> span() noexcept { return {data_.get(), size_}; }
  std::span<const T> span() const noexcept { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(T* p) const noexcept;
  };
  std::unique_ptr<T[], Free> data_;
  std::size_t size_ = 0;
};

extern template class Buffer<float>;
extern template class Buffer<std::byte>;
extern template class Buffer<std::int8_t>;
extern template class Buffer<std::uint8_t>;
extern template class Buffer<std::uint16_t>;
extern template class Buffer<std::int32_t>;

// Grow-only scratch memory, reused from call to call. One owner, one thread.
class Workspace {
 public:
  // At least `size` floats, 64-byte aligned, contents undefined; invalidates what the same slot returned
  // before.
  float* floats(std::size_t slot, std::size_t size);
  std::byte* bytes(std::size_t slot, std::size_t size) {
    return reinterpret_cast<std::byte*>(floats(slot, (size + sizeof(float) - 1) / sizeof(float)));
  }

 private:
  static constexpr std::size_t kSlots = 12;
  Buffer<float> slots_[kSlots];
};

}  // namespace kvasir::tensor
