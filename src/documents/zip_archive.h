// A ZIP archive in memory, read with limits on the unpacked size of its parts.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kvasir/convert.h"

namespace kvasir::documents {

class ZipArchive {
 public:
  // bytes must outlive the archive. Throws kFormat.
  ZipArchive(std::string_view bytes, const ConvertOptions& options);
  ~ZipArchive();
  ZipArchive(const ZipArchive&) = delete;
  ZipArchive& operator=(const ZipArchive&) = delete;

  bool has(const std::string& entry) const;
  // The unpacked part. Throws kFormat if it is missing, broken or encrypted, kResourceExhausted if it is
  // larger than options.max_entry_bytes, or all that was read together than max_text_bytes.
  std::string read(const std::string& entry);
  std::optional<std::string> read_if_any(const std::string& entry);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "word/media/../x" → "word/x"; a target that begins with "/" counts from the root of the archive.
std::string resolve_entry(std::string_view base_entry, std::string_view target);

}  // namespace kvasir::documents
