#include "documents/zip_archive.h"

#include <zip.h>

#include <algorithm>
#include <vector>

namespace kvasir::documents {

struct ZipArchive::Impl {
  const ConvertOptions& options;
  zip_t* archive = nullptr;
  std::size_t unpacked = 0;

  explicit Impl(const ConvertOptions& o) : options(o) {}
  ~Impl() {
    if (archive != nullptr) ::zip_discard(archive);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kFormat, options.name + ": " + what);
  }
  [[noreturn]] void fail_size(const std::string& entry) const {
    throw Error(ErrorCode::kResourceExhausted,
                options.name + ": its part " + entry + " unpacks to more than the limit of " +
                    std::to_string(options.max_entry_bytes >> 20) +
                    " MiB (all parts: " + std::to_string(options.max_text_bytes >> 20) + " MiB)");
  }
};

ZipArchive::ZipArchive(std::string_view bytes, const ConvertOptions& options)
    : impl_(std::make_unique<Impl>(options)) {
  zip_error_t error;
  ::zip_error_init(&error);
  zip_source_t* source = ::zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  if (source != nullptr) impl_->archive = ::zip_open_from_source(source, ZIP_RDONLY, &error);
  if (impl_->archive == nullptr) {
    const std::string why = ::zip_error_strerror(&error);
    ::zip_error_fini(&error);
    if (source != nullptr) ::zip_source_free(source);
    impl_->fail("broken ZIP archive: " + why);
  }
  ::zip_error_fini(&error);
}

ZipArchive::~ZipArchive() = default;

bool ZipArchive::has(const std::string& entry) const {
  return ::zip_name_locate(impl_->archive, entry.c_str(), 0) >= 0;
}

std::string ZipArchive::read(const std::string& entry) {
  Impl& zip = *impl_;
  const zip_int64_t index = ::zip_name_locate(zip.archive, entry.c_str(), 0);
  if (index < 0) zip.fail("its part " + entry + " is missing");
  zip_stat_t stat;
  ::zip_stat_init(&stat);
  ::zip_stat_index(zip.archive, static_cast<zip_uint64_t>(index), 0, &stat);
  if ((stat.valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && stat.encryption_method != ZIP_EM_NONE) {
    zip.fail("encrypted; save it without a password first");
  }
  const std::size_t limit =
      std::min(zip.options.max_entry_bytes,
               zip.options.max_text_bytes - std::min(zip.unpacked, zip.options.max_text_bytes));
  if ((stat.valid & ZIP_STAT_SIZE) != 0 && stat.size > limit) zip.fail_size(entry);
  zip_file_t* file = ::zip_fopen_index(zip.archive, static_cast<zip_uint64_t>(index), 0);
  if (file == nullptr) zip.fail("its part " + entry + " cannot be unpacked: " + ::zip_strerror(zip.archive));
  // What the table says of sizes may be a lie, so the limit is kept while reading too.
  std::string out;
  std::vector<char> buffer(std::size_t{64} << 10);
  zip_int64_t got = 0;
  while ((got = ::zip_fread(file, buffer.data(), buffer.size())) > 0) {
    out.append(buffer.data(), static_cast<std::size_t>(got));
    if (out.size() > limit) break;
  }
  const std::string why = got < 0 ? ::zip_file_strerror(file) : "";
  ::zip_fclose(file);
  if (out.size() > limit) zip.fail_size(entry);
  if (got < 0) zip.fail("its part " + entry + " is broken: " + why);
  zip.unpacked += out.size();
  return out;
}

std::optional<std::string> ZipArchive::read_if_any(const std::string& entry) {
  if (!has(entry)) return std::nullopt;
  return read(entry);
}

std::string resolve_entry(std::string_view base_entry, std::string_view target) {
  std::string path;
  if (target.starts_with('/')) {
    target.remove_prefix(1);
  } else {
    const std::size_t slash = base_entry.rfind('/');
    if (slash != std::string_view::npos) path = base_entry.substr(0, slash + 1);
  }
  path += target;
  std::vector<std::string_view> parts;
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    rest.remove_prefix(std::min(slash + 1, rest.size()));
  }
  std::string out;
  for (const std::string_view part : parts) (out += out.empty() ? "" : "/") += part;
  return out;
}

}  // namespace kvasir::documents
