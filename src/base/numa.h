// Machines whose processors have memory of their own each: a node is some cores and the memory next to them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace kvasir::base {

// The nodes with memory that this process may use; none if the system does not tell. Under `root` are proc
// and sys.
std::vector<int> memory_nodes(const std::filesystem::path& root = "/");

// The numbers of a list as the kernel writes them, "0-2,5"; none if it is not one.
std::vector<int> parse_node_list(std::string_view list);

// Spreads whole pages of memory over the nodes, page by page, whatever they hold: what every core reads all
// the time then comes through all memory controllers, and not from the one whose node happened to load it.
// False if the system did not do so, which changes nothing but the speed.
bool interleave(std::span<const std::byte> memory, std::span<const int> nodes) noexcept;

}  // namespace kvasir::base
