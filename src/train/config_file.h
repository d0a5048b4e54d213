// The options of a run from a file, YAML or JSON:
//
//   learning_rate: 3e-5
//   train-file: [squad.json, mine.json]
//   fp16: false
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kvasir::train {

// Names and values as on a command line: names with dashes ("learning-rate" for learning_rate, which the
// Trainer of Hugging Face calls it), values as they are written ("3e-5", "true"), several of a list.
using ConfigOptions = std::vector<std::pair<std::string, std::vector<std::string>>>;

// In the order of the file. Throws kFormat "FILE:LINE: …" for what is no flat mapping of names to words or
// lists of words, and for a name that appears twice; kNotFound, kIo; kResourceExhausted beyond 1 MiB.
ConfigOptions read_config_file(const std::filesystem::path& path);
// The same of a text.
ConfigOptions parse_config(std::string_view text, const std::string& origin);

}  // namespace kvasir::train
