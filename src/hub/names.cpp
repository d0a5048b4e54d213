#include "hub/names.h"

#include <algorithm>

#include "kvasir/error.h"

namespace kvasir::hub {

namespace {

constexpr std::size_t kMaxId = 96;
constexpr std::size_t kMaxRevision = 255;
constexpr std::string_view kModels = "models--";

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_id_part(std::string_view part) {
  const auto ends_badly = [](char c) { return c == '-' || c == '.'; };
  return !part.empty() && !ends_badly(part.front()) && !ends_badly(part.back()) &&
         std::ranges::all_of(part,
                             [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace

bool is_repo_id(std::string_view id) noexcept {
  if (id.empty() || id.size() > kMaxId || id.ends_with(".git")) return false;
  if (id.find("--") != std::string_view::npos || id.find("..") != std::string_view::npos) return false;
  const std::size_t slash = id.find('/');
  if (slash == std::string_view::npos) return is_id_part(id);
  return is_id_part(id.substr(0, slash)) && is_id_part(id.substr(slash + 1));
}

void check_repo_id(const std::string& id) {
  if (is_repo_id(id)) return;
  throw Error(ErrorCode::kInvalidArgument,
              id + ": no id of a model; it is ORGANISATION/NAME or NAME, of letters, "
                   "digits, \".\", \"_\" and \"-\"");
}

std::string repo_folder_name(const std::string& id) {
  std::string name(kModels);
  for (const char c : id) {
    if (c == '/') {
      name += "--";
    } else {
      name += c;
    }
  }
  return name;
}

std::string repo_id_of_folder(std::string_view folder) {
  if (!folder.starts_with(kModels)) return {};
  const std::string_view rest = folder.substr(kModels.size());
  const std::size_t at = rest.find("--");
  std::string id(rest.substr(0, at));
  if (at != std::string_view::npos) id.append(1, '/').append(rest.substr(at + 2));
  return is_repo_id(id) ? id : std::string();
}

bool is_commit(std::string_view text) noexcept {
  return text.size() == 40 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

void check_revision(const std::string& revision) {
  if (is_safe_path(revision) && revision.size() <= kMaxRevision && revision.find(' ') == std::string::npos)
    return;
  throw Error(
      ErrorCode::kInvalidArgument,
      "\"" + revision + "\": no revision; it is a branch, a tag or a commit of 40 hexadecimal digits");
}

bool is_safe_path(std::string_view path) noexcept {
  if (path.empty()) return false;
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F || c == '\\' || c == ':') return false;
  }
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string url_quote(std::string_view text, Slashes slashes) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string quoted;
  for (const char c : text) {
    if (is_alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~' ||
        (c == '/' && slashes == Slashes::kKeep)) {
      quoted += c;
    } else {
      quoted += '%';
      quoted += kDigits[static_cast<unsigned char>(c) >> 4];
      quoted += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  return quoted;
}

}  // namespace kvasir::hub
