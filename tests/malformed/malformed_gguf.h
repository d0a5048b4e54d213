// Malformed GGUF files, made in the same way each time: formats::GgufFile refuses each with a reason.
#pragma once

#include <string>

#include "malformed/malformed.h"

namespace kvasir::tests {

// A tiny file that is good: metadata of every type, tensors of four types.
std::string good_gguf();

// Calls on_file (kind "gguf", name "model.gguf") for more than 150 files.
void for_each_malformed_gguf(const OnMalformed& on_file);

}  // namespace kvasir::tests
