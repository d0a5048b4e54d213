// ZIP archives whose files are stored as they are, as torch.save writes them: a list of names and byte
// ranges.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace kvasir::formats {

bool is_zip(std::span<const std::byte> bytes) noexcept;

// The files of an archive by name; the spans lie within `bytes`. Sizes come from the central directory (torch
// leaves them out of the local headers), zip64 included. Every range is checked: within the archive, before
// the directory, without overlaps. Throws kFormat, kUnsupported for files that are compressed or encrypted
// and for archives of several parts. Checksums are not verified: torch can be told to leave them out.
std::map<std::string, std::span<const std::byte>> read_stored_zip(std::span<const std::byte> bytes,
                                                                  const std::string& origin);

}  // namespace kvasir::formats
