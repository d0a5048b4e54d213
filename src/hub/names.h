// Checks of names that users, files and servers give, and that become parts of URLs and paths.
#pragma once

#include <string>
#include <string_view>

namespace kvasir::hub {

// "org/name" or "name" by the hub's rules: 1 to 96 characters of [A-Za-z0-9._-], at most one slash, no "--"
// or "..", no ".git" at the end, no part that begins or ends with "-" or ".".
bool is_repo_id(std::string_view id) noexcept;
// Throws kInvalidArgument.
void check_repo_id(const std::string& id);
// "models--org--name": the id as typed, also without an organisation.
std::string repo_folder_name(const std::string& id);
// The id of a folder's name; "" if it is not that of a model.
std::string repo_id_of_folder(std::string_view folder);

bool is_commit(std::string_view text) noexcept;  // 40 hexadecimal digits
// A branch, a tag, refs/pr/N or a commit: no part that is empty, "." or "..". Throws kInvalidArgument.
void check_revision(const std::string& revision);

// Whether a file of this name may be written below a folder: not if it is absolute, has "..", "." or empty
// parts, a drive, a backslash or control characters.
bool is_safe_path(std::string_view path) noexcept;

// Percent-encodes all characters that are not unreserved; slashes are kept or encoded.
enum class Slashes { kKeep, kEncode };
std::string url_quote(std::string_view text, Slashes slashes);

}  // namespace kvasir::hub
