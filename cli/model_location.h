// Which model a command uses when none is named.
#pragma once

#include <filesystem>
#include <string>

namespace kvasir::cli {

// `given` (--model) if not empty, else the environment's KVASIR_MODEL: a folder, or the id of a model in the
// cache of the Hugging Face hub (ORG/NAME, NAME, with @REVISION if it is not main). Else the model that ships
// with kvasir:
// beside an installed program (../share/kvasir/models/kvasir-base), or in the checkout that it was built
// from. Throws kvasir::Error{kNotFound} if there is none of these.
std::filesystem::path find_model(const std::string& given);

// For commands that the model which ships is of no use to: throws UsageError if none is named, saying that
// `what`
// ("sentence model") is missing.
std::filesystem::path find_named_model(const std::string& given, const std::string& what);

// The same without the environment's KVASIR_MODEL, which may be a language model.
std::filesystem::path find_reader(const std::string& given);

}  // namespace kvasir::cli
