#include "hub_options.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/mapped_file.h"
#include "interrupt.h"
#include "kvasir/error.h"

namespace kvasir::cli {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The first that is set and not empty.
std::string first_of(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (std::string value = variable(name); !value.empty()) return value;
  }
  return {};
}

std::filesystem::path expanded(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return variable("HOME") + path.substr(1);
  return path;
}

bool is_on(const char* name) {
  std::string value = variable(name);
  std::ranges::transform(value, value.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::filesystem::path hf_home() {
  if (const std::string home = variable("HF_HOME"); !home.empty()) return expanded(home);
  const std::string cache = variable("XDG_CACHE_HOME");
  return (cache.empty() ? expanded("~/.cache") : expanded(cache)) / "huggingface";
}

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1));
}

std::string token() {
  std::string token = trimmed(first_of({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}));
  if (token.empty()) {
    const std::string path = variable("HF_TOKEN_PATH");
    try {
      token =
          trimmed(base::read_file(path.empty() ? hf_home() / "token" : expanded(path), {.max_bytes = 65536}));
    } catch (const Error&) {  // most people have none
    }
  }
  return token;
}

}  // namespace

std::filesystem::path hub_cache() {
  const std::string cache = first_of({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"});
  return cache.empty() ? hf_home() / "hub" : expanded(cache);
}

HubOptions hub_options() {
  HubOptions options{.cache = hub_cache(),
                     .token = token(),
                     .offline = is_on("HF_HUB_OFFLINE") || is_on("TRANSFORMERS_OFFLINE"),
                     .cancel = &interrupt_flag()};
  if (std::string endpoint = variable("HF_ENDPOINT"); !endpoint.empty()) {
    options.endpoint = std::move(endpoint);
  }
  return options;
}

std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "KB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace kvasir::cli
