// Malformed files, made from good ones in the same way each time: each must be refused with a reason.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace kvasir::tests {

// One file of a model folder whose other files are good.
struct MalformedFile {
  std::string kind;   // "safetensors", "zip", "legacy", "index", "config", "tokenizer"
  std::string fault;  // "truncated at 4711"
  std::string name;   // "model.safetensors"
  std::string bytes;
};
using OnMalformed = std::function<void(const MalformedFile&)>;

// Calls on_file for more than 500 files made from `model` (a folder with model.safetensors, config.json and
// tokenizer.json).
void for_each_malformed(const std::filesystem::path& model, const OnMalformed& on_file);

// Writes a folder that is good but for the file: the other files are links to those of `model`. Without a
// file the folder is good, with weights of that kind.
void write_malformed(const std::filesystem::path& model, const MalformedFile& file,
                     const std::filesystem::path& folder);
MalformedFile good_file(const std::filesystem::path& model, const std::string& kind);

}  // namespace kvasir::tests
