// NUMA: machines whose processors each have memory of their own. A node is some cores and the memory next to
// them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace kvasir::base {

// The nodes with memory that this process may use; empty if the system does not say. `root` is the folder
// that holds proc and sys.
std::vector<int> memory_nodes(const std::filesystem::path& root = "/");

// The numbers of a list as the kernel writes it, "0-2,5"; empty if it is not such a list.
std::vector<int> parse_node_list(std::string_view list);

// Spreads the pages of `memory` over the nodes in turn, so that weights, which every core reads all the time,
// come through all memory controllers and not only through that of the node that happened to load them. False
// if the system refused, which affects only speed.
bool interleave(std::span<const std::byte> memory, std::span<const int> nodes) noexcept;

}  // namespace kvasir::base
