// The hub and its cache, as the environment describes them: the variables of huggingface_hub.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "hub/options.h"

namespace kvasir::cli {

// HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME: the first that is set; HF_ENDPOINT; HF_TOKEN,
// HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME/token; HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE.
hub::HubOptions hub_options();

// "ID" or "ID@REVISION".
struct ModelName {
  std::string id;
  std::string revision = "main";
};
ModelName parse_model_name(const std::string& text);

// "90.9 MB", in decimal units.
std::string size_text(std::uint64_t bytes);

}  // namespace kvasir::cli
