// Texts to search: files of many formats, folders, standard input, the command line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kvasir/convert.h"

namespace kvasir::cli {

struct TextSource {
  enum class Kind { kFile, kStandardInput, kCommandLine };
  Kind kind = Kind::kFile;
  std::string path;  // of a file; "-" for standard input
  std::string text;
  ConvertedText layout;  // its own `text` has moved into the one above

  // As people read it: the path, "standard input", "the text of --context".
  std::string display_name() const;
};

// Reads FILE, or standard input for "-", and converts it to text (see kvasir/convert.h); at most 256 MiB.
// Throws kvasir::Error saying which and what to do; Interrupted.
TextSource read_text(const std::string& path);
// Standard input byte for byte, whatever it looks like: it has to be UTF-8.
TextSource read_plain_input();
// As read_text for several; a folder stands for the files in it and its folders that can be read, in the
// order of their names, without hidden ones. Of those, files that are no documents are left out, and what
// went wrong with documents is told on standard error. Throws as read_text for files that were named, and for
// a folder without any text.
std::vector<TextSource> read_texts(const std::vector<std::string>& paths);
// The text of --context, which has to be UTF-8.
TextSource command_line_text(std::string text);

// Throws kvasir::Error{kInvalidArgument} if bytes are not well-formed UTF-8, naming the offset. `where`
// begins the message.
void check_utf8(std::string_view bytes, const std::string& where);

}  // namespace kvasir::cli
