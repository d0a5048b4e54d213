// Texts to search: files, standard input, the command line. Bytes are taken as they are.
#pragma once

#include <string>
#include <string_view>

namespace kvasir::cli {

struct TextSource {
  enum class Kind { kFile, kStandardInput, kCommandLine };
  Kind kind = Kind::kFile;
  std::string path;  // of a file; "-" for standard input
  std::string text;

  // As people read it: the path, "standard input", "the text of --context".
  std::string display_name() const;
};

// Reads FILE, or standard input for "-", and checks that it is text that can be searched: not a folder, not
// larger than 256 MiB, not empty, not binary, well-formed UTF-8. Throws kvasir::Error saying which and what
// to do; Interrupted.
TextSource read_text(const std::string& path);
// The same checks for --context.
TextSource command_line_text(std::string text);

// Throws kvasir::Error{kInvalidArgument} if bytes are not well-formed UTF-8, naming the offset. `where`
// begins the message.
void check_utf8(std::string_view bytes, const std::string& where);

}  // namespace kvasir::cli
