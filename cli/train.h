// What main() does for kvasir train qa --config before the command line is parsed.
#pragma once

#include <string>
#include <vector>

namespace kvasir::cli {

// The words of a command line, with the options of the file that --config names in front of those that stand
// there. Other command lines stay as they are. Throws as train::read_config_file.
std::vector<std::string> with_config_file(const std::vector<std::string>& words);

}  // namespace kvasir::cli
