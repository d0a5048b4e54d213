#include "formats/zip.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "kvasir/error.h"

namespace kvasir::formats {

namespace {

// Signatures and sizes without the variable parts: APPNOTE.TXT of PKWARE, sections 4.3.7 to 4.3.16.
constexpr std::uint32_t kLocalHeader = 0x04034b50, kDirectoryEntry = 0x02014b50, kEnd = 0x06054b50,
                        kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr std::size_t kLocalHeaderSize = 30, kDirectoryEntrySize = 46, kEndSize = 22, kEnd64Size = 56,
                      kEnd64LocatorSize = 20;
constexpr std::size_t kMaxComment = 0xFFFF;
constexpr std::uint16_t kZip64Extra = 1, kEncrypted = 1, kStored = 0;
constexpr std::uint32_t kIn64 = 0xFFFFFFFF;  // a size or offset that stands in the zip64 extra field
constexpr std::uint64_t kMaxEntries = 1'000'000;

struct Directory {
  std::uint64_t offset = 0, size = 0, entries = 0;
};

struct Entry {
  std::string name;
  std::uint64_t header = 0;  // offset of the local header
  std::uint64_t size = 0;
  std::uint64_t begin = 0, end = 0;  // of the local header and the data
  std::span<const std::byte> data;
};

class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  std::map<std::string, std::span<const std::byte>> read() {
    const Directory directory = find_directory();
    std::vector<Entry> entries = read_directory(directory);
    std::map<std::string, std::span<const std::byte>> files;
    for (Entry& entry : entries) {
      locate(entry, directory.offset);
      if (!files.emplace(entry.name, entry.data).second) fail("the archive holds " + entry.name + " twice");
    }
    check_overlaps(entries);
    return files;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, origin_ + ": " + message);
  }
  [[noreturn]] void unsupported(const std::string& message) const {
    throw Error(ErrorCode::kUnsupported, origin_ + ": " + message);
  }

  bool holds(std::uint64_t at, std::uint64_t size) const {
    return at <= bytes_.size() && size <= bytes_.size() - at;
  }
  template <class T>
  T number(std::uint64_t at) const {
    if (!holds(at, sizeof(T))) fail("truncated ZIP archive; download the file again");
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof(T));
    return value;
  }

  // The end record is the last thing of an archive but for a comment, whose length it tells.
  std::uint64_t find_end() const {
    for (std::size_t comment = 0; comment <= kMaxComment && kEndSize + comment <= bytes_.size(); ++comment) {
      const std::uint64_t at = bytes_.size() - kEndSize - comment;
      if (number<std::uint32_t>(at) == kEnd && number<std::uint16_t>(at + 20) == comment) return at;
    }
    fail("truncated: the ZIP archive has no end; download the file again");
  }

  Directory find_directory() const {
    const std::uint64_t end = find_end();
    if (number<std::uint16_t>(end + 4) != 0 || number<std::uint16_t>(end + 6) != 0) {
      unsupported("a ZIP archive of several parts");
    }
    Directory directory{.offset = number<std::uint32_t>(end + 16),
                        .size = number<std::uint32_t>(end + 12),
                        .entries = number<std::uint16_t>(end + 10)};
    std::uint64_t limit = end;
    if (end >= kEnd64LocatorSize && number<std::uint32_t>(end - kEnd64LocatorSize) == kEnd64Locator) {
      limit = number<std::uint64_t>(end - kEnd64LocatorSize + 8);
      if (!holds(limit, kEnd64Size) || number<std::uint32_t>(limit) != kEnd64) {
        fail("the ZIP archive's zip64 record is not where it should be");
      }
      directory = {.offset = number<std::uint64_t>(limit + 48),
                   .size = number<std::uint64_t>(limit + 40),
                   .entries = number<std::uint64_t>(limit + 32)};
    }
    if (directory.offset > limit || directory.size != limit - directory.offset) {
      fail("the ZIP archive's directory does not end where the archive ends");
    }
    if (directory.entries > kMaxEntries || directory.entries > directory.size / kDirectoryEntrySize) {
      fail("the ZIP archive claims " + std::to_string(directory.entries) +
           " files, more than it has room for");
    }
    return directory;
  }

  std::vector<Entry> read_directory(const Directory& directory) const {
    std::vector<Entry> entries;
    std::uint64_t at = directory.offset;
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
      if (number<std::uint32_t>(at) != kDirectoryEntry) fail("the ZIP archive's directory is damaged");
      const auto name_size = number<std::uint16_t>(at + 28);
      const auto extra_size = number<std::uint16_t>(at + 30);
      const std::uint64_t size =
          kDirectoryEntrySize + std::uint64_t{name_size} + extra_size + number<std::uint16_t>(at + 32);
      if (size > directory.offset + directory.size - at) fail("the ZIP archive's directory is damaged");
      entries.push_back(read_entry(at, name_size, extra_size));
      at += size;
    }
    if (at != directory.offset + directory.size) fail("the ZIP archive's directory is damaged");
    return entries;
  }

  std::string name_at(std::uint64_t at, std::size_t size) const {
    if (!holds(at, size)) fail("truncated ZIP archive; download the file again");
    const std::string_view name(reinterpret_cast<const char*>(bytes_.data()) + at, size);
    if (base::find_invalid_utf8(name) != name.size() ||
        std::ranges::any_of(name, [](unsigned char c) { return c < 0x20; })) {
      fail("the ZIP archive holds a name that is no text");
    }
    return std::string(name);
  }

  Entry read_entry(std::uint64_t at, std::uint16_t name_size, std::uint16_t extra_size) const {
    Entry entry;
    entry.name = name_at(at + kDirectoryEntrySize, name_size);
    if ((number<std::uint16_t>(at + 8) & kEncrypted) != 0) unsupported(entry.name + " is encrypted");
    if (number<std::uint16_t>(at + 10) != kStored) {
      unsupported(entry.name + " is compressed, which torch.save never does; save the model again");
    }
    std::uint64_t packed = number<std::uint32_t>(at + 20);
    entry.size = number<std::uint32_t>(at + 24);
    entry.header = number<std::uint32_t>(at + 42);
    // In this order, each only if its 32-bit field says so.
    std::vector<std::uint64_t*> wide;
    for (std::uint64_t* field : {&entry.size, &packed, &entry.header}) {
      if (*field == kIn64) wide.push_back(field);
    }
    if (!wide.empty()) read_zip64(entry.name, at + kDirectoryEntrySize + name_size, extra_size, wide);
    if (packed != entry.size) fail(entry.name + " is stored, but its two sizes differ");
    return entry;
  }

  void read_zip64(const std::string& name, std::uint64_t at, std::uint64_t size,
                  const std::vector<std::uint64_t*>& fields) const {
    const std::uint64_t end = at + size;
    while (end - at >= 4) {
      const auto id = number<std::uint16_t>(at), length = number<std::uint16_t>(at + 2);
      at += 4;
      if (length > end - at) break;
      if (id == kZip64Extra && length >= fields.size() * 8) {
        for (std::size_t i = 0; i < fields.size(); ++i) *fields[i] = number<std::uint64_t>(at + 8 * i);
        return;
      }
      at += length;
    }
    fail(name + ": its size is missing from the ZIP archive's directory");
  }

  void locate(Entry& entry, std::uint64_t limit) const {
    if (entry.header > limit || limit - entry.header < kLocalHeaderSize ||
        number<std::uint32_t>(entry.header) != kLocalHeader) {
      fail(entry.name + " is not where the ZIP archive's directory says");
    }
    const auto name_size = number<std::uint16_t>(entry.header + 26);
    const auto extra_size = number<std::uint16_t>(entry.header + 28);
    // Two names of one file are how an archive shows one thing to a scanner and another to a reader.
    if (name_at(entry.header + kLocalHeaderSize, name_size) != entry.name) {
      fail(entry.name + " has another name in the ZIP archive's directory than beside its data");
    }
    entry.begin = entry.header;
    const std::uint64_t data = entry.header + kLocalHeaderSize + name_size + extra_size;
    if (data > limit || entry.size > limit - data) {
      fail(entry.name + " of " + std::to_string(entry.size) + " bytes goes beyond the ZIP archive");
    }
    entry.end = data + entry.size;
    entry.data = bytes_.subspan(data, entry.size);
  }

  void check_overlaps(std::vector<Entry>& entries) const {
    std::ranges::sort(entries, {}, &Entry::begin);
    for (std::size_t i = 1; i < entries.size(); ++i) {
      if (entries[i].begin < entries[i - 1].end) {
        fail(entries[i].name + " and " + entries[i - 1].name + " share bytes of the ZIP archive");
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& origin_;
};

}  // namespace

bool is_zip(std::span<const std::byte> bytes) noexcept {
  std::uint32_t signature = 0;
  if (bytes.size() < sizeof signature) return false;
  std::memcpy(&signature, bytes.data(), sizeof signature);
  return signature == kLocalHeader;
}

std::map<std::string, std::span<const std::byte>> read_stored_zip(std::span<const std::byte> bytes,
                                                                  const std::string& origin) {
  return Archive(bytes, origin).read();
}

}  // namespace kvasir::formats
