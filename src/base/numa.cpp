#include "base/numa.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <string>

namespace kvasir::base {

namespace {

// Of Linux' <numaif.h>, which comes with libnuma and not with the C library.
constexpr long kPolicyInterleave = 3;  // MPOL_INTERLEAVE
constexpr long kMovePages = 2;         // MPOL_MF_MOVE: also those that lie somewhere already
constexpr int kMostNodes = 1024;       // the kernel's own limit

std::string read_word(const std::filesystem::path& file) {
  std::string word;
  std::ifstream(file) >> word;
  return word;
}

// "0-3" of the line "Mems_allowed_list:	0-3".
std::string allowed_nodes(const std::filesystem::path& status) {
  std::ifstream file(status);
  for (std::string word; file >> word;) {
    if (word != "Mems_allowed_list:") continue;
    file >> word;
    return word;
  }
  return {};
}

}  // namespace

std::vector<int> parse_node_list(std::string_view list) {
  std::vector<int> nodes;
  const char* at = list.data();
  const char* const end = at + list.size();
  const auto number = [&](int& value) {
    const auto [next, error] = std::from_chars(at, end, value);
    at = next;
    return error == std::errc() && value >= 0 && value < kMostNodes;
  };
  while (at != end) {
    int first = 0;
    if (!number(first)) return {};
    int last = first;
    if (at != end && *at == '-' && (++at, !number(last))) return {};
    for (int node = first; node <= last; ++node) nodes.push_back(node);
    if (at != end && (*at++ != ',' || at == end)) return {};
  }
  return nodes;
}

std::vector<int> memory_nodes(const std::filesystem::path& root) {
  const std::vector<int> present = parse_node_list(read_word(root / "sys/devices/system/node/has_memory"));
  const std::vector<int> allowed = parse_node_list(allowed_nodes(root / "proc/self/status"));
  std::vector<int> nodes;
  std::ranges::set_intersection(present, allowed, std::back_inserter(nodes));
  return nodes;
}

bool interleave(std::span<const std::byte> memory, std::span<const int> nodes) noexcept {
  constexpr std::size_t kBits = 8 * sizeof(unsigned long);
  std::array<unsigned long, kMostNodes / kBits> mask{};
  for (const int node : nodes) {
    const auto bit = static_cast<std::size_t>(node);
    if (bit < kMostNodes) mask[bit / kBits] |= 1UL << bit % kBits;
  }
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::uintptr_t begin = (address + page - 1) / page * page,
                       end = (address + memory.size()) / page * page;
  if (begin >= end) return true;  // no whole page
  // The kernel counts the bits of the mask from 1.
  return ::syscall(SYS_mbind, begin, end - begin, kPolicyInterleave, mask.data(), kMostNodes + 1,
                   kMovePages) == 0;
}

}  // namespace kvasir::base
