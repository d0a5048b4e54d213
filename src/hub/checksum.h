// The checksums by which the hub names files: SHA-256 for large ones, git's SHA-1 of a blob for the others.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace kvasir::hub {

// Whether this is the checksum of a file, as the hub's ETag gives it: 40 or 64 hexadecimal digits.
bool is_checksum(std::string_view etag) noexcept;

// The checksum of a file, of the kind that `etag` is. Throws kIo.
std::string checksum_of_file(const std::filesystem::path& path, std::string_view etag);

}  // namespace kvasir::hub
