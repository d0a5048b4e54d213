#include "text/encoding.h"

#include <algorithm>

#include "kvasir/error.h"

namespace kvasir::text {

std::vector<ContextSlice> slice_context(std::size_t context_tokens, std::size_t room, std::size_t stride) {
  if (room == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "the question leaves no room for the context: it is too long for the window (max_seq_len); "
                "shorten it or raise max_seq_len");
  }
  if (context_tokens <= room) return {{0, context_tokens}};
  if (stride >= room) {
    throw Error(ErrorCode::kInvalidArgument,
                "doc_stride (" + std::to_string(stride) + ") must be less than the " + std::to_string(room) +
                    " tokens that the question leaves for the context; lower it, or raise max_seq_len");
  }
  std::vector<ContextSlice> slices;
  for (std::size_t begin = 0;; begin += room - stride) {
    const std::size_t end = std::min(begin + room, context_tokens);
    slices.push_back({begin, end});
    if (end == context_tokens) return slices;
  }
}

}  // namespace kvasir::text
