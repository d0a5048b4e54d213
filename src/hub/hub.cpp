#include "kvasir/hub.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "hub/cache.h"
#include "hub/names.h"
#include "hub/pull.h"

namespace kvasir {

namespace {

struct ModelName {
  std::string id;
  std::string revision = "main";
};

ModelName parse_model_name(const std::string& text) {
  const std::size_t at = text.find('@');
  if (at == std::string::npos) return {.id = text};
  return {.id = text.substr(0, at), .revision = text.substr(at + 1)};
}

std::filesystem::path cache_of(const HubOptions& options) {
  return options.cache.empty() ? default_hub_cache() : options.cache;
}

}  // namespace

std::filesystem::path default_hub_cache() {
  struct passwd entry {};
  struct passwd* found = nullptr;
  std::vector<char> strings(1U << 16U);
  if (::getpwuid_r(::geteuid(), &entry, strings.data(), strings.size(), &found) != 0 || found == nullptr ||
      *entry.pw_dir != '/') {
    throw Error(ErrorCode::kNotFound, "user " + std::to_string(::geteuid()) +
                                          " has no home folder on this system; set HubOptions::cache to the "
                                          "folder that holds fetched models");
  }
  return std::filesystem::path(entry.pw_dir) / ".cache" / "huggingface" / "hub";
}

std::filesystem::path resolve_model(const std::filesystem::path& model, const HubOptions& options) {
  std::error_code ignored;
  if (model.extension() == ".gguf" || std::filesystem::exists(model, ignored)) return model;
  const std::string given = model.string();
  const ModelName name = parse_model_name(given);
  if (!hub::is_repo_id(name.id)) return model;
  const hub::Cache cache([&] {
    try {
      return cache_of(options);
    } catch (const Error& error) {
      throw Error(error.code(), given + ": no such folder, and no cache to look it up: " + error.what());
    }
  }());
  if (const auto folder = cache.find(name.id, name.revision)) return *folder;
  throw Error(ErrorCode::kNotFound, given + ": neither a folder nor a model in " + cache.root().string() +
                                        "; kvasir pull " + given + " fetches one of that name");
}

PulledModel pull_model(const std::string& name, const HubOptions& options) {
  // It becomes part of a header of HTTP.
  if (std::ranges::any_of(options.token, [](unsigned char c) { return c <= 0x20 || c >= 0x7F; })) {
    throw Error(ErrorCode::kInvalidArgument,
                "HubOptions::token (HF_TOKEN) holds what no token does: a space, a control character or one "
                "beyond ASCII; pass the token alone");
  }
  std::string endpoint = options.endpoint;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  ModelName parsed = parse_model_name(name);
  hub::PullRequest request{.id = std::move(parsed.id), .revision = std::move(parsed.revision)};
  if (options.progress) {
    request.progress = [&](const hub::FileProgress& file) {
      options.progress({.name = file.name, .done = file.done, .total = file.total, .cached = file.cached});
    };
  }
  hub::PulledModel pulled = hub::pull(request, {.cache = cache_of(options),
                                                .endpoint = std::move(endpoint),
                                                .token = options.token,
                                                .offline = options.offline,
                                                .timeout = options.timeout_seconds,
                                                .cancel = options.cancel});
  return {.folder = std::move(pulled.folder), .commit = std::move(pulled.commit)};
}

}  // namespace kvasir
