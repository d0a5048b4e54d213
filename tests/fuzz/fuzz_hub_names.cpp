// Any text as a name from a server: what passes for a path stays below its folder, what passes for an id or a
// revision becomes one folder's name, and a URL's origin has no name before the host.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "http/http.h"
#include "hub/checksum.h"
#include "hub/names.h"

namespace {

void check(bool ok) {
  if (!ok) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (hub::is_safe_path(text)) {
    const std::filesystem::path folder = "/cache/snapshot";
    const std::string path = (folder / text).lexically_normal().string();
    check(path.starts_with("/cache/snapshot/") && path.size() > std::string_view("/cache/snapshot/").size());
  }
  if (hub::is_repo_id(text)) {
    const std::string folder = hub::repo_folder_name(text);
    check(folder.find('/') == std::string::npos && hub::repo_id_of_folder(folder) == text);
  }
  const std::string id = hub::repo_id_of_folder(text);
  check(id.empty() || hub::is_repo_id(id));
  if (hub::is_checksum(text)) check(text.find_first_not_of("0123456789abcdef") == std::string::npos);
  const std::string origin = http::origin_of(text);
  check(origin.empty() || origin.starts_with("http://") || origin.starts_with("https://"));
  check(origin.find('@') == std::string::npos);
  http::resolve_location("https://hub.example/a", text);
  check(hub::url_quote(text, hub::Slashes::kEncode).find_first_of("/?# \n") == std::string::npos);
  return 0;
}
