#include "tensor/buffer.h"

#include <sys/mman.h>

#include <cassert>
#include <cstdlib>
#include <limits>
#include <string>
#include <type_traits>

#include "kvasir/error.h"

namespace kvasir::tensor {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;  // of x86-64; elsewhere only an alignment

[[noreturn]] void refuse(std::size_t size, std::size_t item) {
  throw Error(ErrorCode::kResourceExhausted, "memory: the system refused an array of " +
                                                 std::to_string(size) + " items of " + std::to_string(item) +
                                                 " bytes; use a smaller model or batch");
}

void* allocate(std::size_t size, std::size_t item) {
  // Half of the address space: leaves room for the rounding below.
  if (size > std::numeric_limits<std::size_t>::max() / 2 / item) refuse(size, item);
  const std::size_t bytes = (size * item + kAlignment - 1) / kAlignment * kAlignment;
  const bool huge = bytes >= kHugePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, huge ? kHugePage : kAlignment, bytes) != 0) refuse(size, item);
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);  // advice only: a refusal costs speed, nothing else
  return memory;
}

}  // namespace

template <class T>
Buffer<T>::Buffer(std::size_t size) : size_(size) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (size > 0) data_.reset(static_cast<T*>(allocate(size, sizeof(T))));
}

template <class T>
void Buffer<T>::Free::operator()(T* p) const noexcept {
  std::free(p);
}

template class Buffer<float>;
template class Buffer<std::byte>;
template class Buffer<std::int8_t>;
template class Buffer<std::uint8_t>;
template class Buffer<std::uint16_t>;
template class Buffer<std::int32_t>;

float* Workspace::floats(std::size_t slot, std::size_t size) {
  assert(slot < kSlots);
  Buffer<float>& buffer = slots_[slot];
  if (buffer.size() < size) {
    buffer = Buffer<float>();  // free first: old and new need not fit in memory together
    buffer = Buffer<float>(size);
  }
  return buffer.data();
}

}  // namespace kvasir::tensor
