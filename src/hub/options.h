// Where the hub and the cache are. The environment is read elsewhere (cli/hub_options.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace kvasir::hub {

struct HubOptions {
  std::filesystem::path cache;  // holds models--ORG--NAME
  std::string endpoint = "https://huggingface.co";
  std::string token = {};  // sent to the endpoint and to no other host
  bool offline = false;    // never ask, use what is in the cache
  double timeout = 10;     // seconds without an answer or without a byte
  double first_wait = 1;   // seconds before the second try; doubled for each further one
  int tries = 5;           // of one request
  // If set and *cancel becomes true, the call throws Error{kCancelled}.
  const std::atomic<bool>* cancel = nullptr;
};

}  // namespace kvasir::hub
