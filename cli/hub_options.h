// The hub and its cache, as the environment describes them: the variables of huggingface_hub.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "kvasir/hub.h"

namespace kvasir::cli {

// HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME: the first that is set.
std::filesystem::path hub_cache();

// The cache; HF_ENDPOINT; HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME/token; HF_HUB_OFFLINE,
// TRANSFORMERS_OFFLINE.
HubOptions hub_options();

// "90.9 MB", in decimal units.
std::string size_text(std::uint64_t bytes);

}  // namespace kvasir::cli
