#include "hub/pull.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "hub/cache.h"
#include "hub/download.h"
#include "hub/names.h"
#include "kvasir/error.h"

namespace kvasir::hub {

namespace {

// Files that a reader may open, beside the weights.
constexpr std::string_view kAlways[] = {"config.json",           "tokenizer.json",
                                        "tokenizer_config.json", "special_tokens_map.json",
                                        "added_tokens.json",     "kvasir_reader.json"};
// Only where there is no tokenizer.json, which holds the same.
constexpr std::string_view kVocabularies[] = {"vocab.txt",      "vocab.json", "merges.txt",
                                              "spiece.model",   "spm.model",  "sentencepiece.bpe.model",
                                              "tokenizer.model"};
constexpr std::string_view kWeights[] = {"model.safetensors", "model.safetensors.index.json",
                                         "pytorch_model.bin", "pytorch_model.bin.index.json"};
constexpr std::string_view kIndexSuffix = ".index.json";
// Of sentence models, whose modules have folders of their own ("1_Pooling") beside modules.json.
constexpr std::string_view kModules = "modules.json";
constexpr std::string_view kSentenceSettings = "config_sentence_transformers.json";
constexpr std::string_view kModuleFiles[] = {"config.json", "model.safetensors", "pytorch_model.bin"};

struct Listing {
  std::string commit;
  std::vector<std::string> names;
};

Listing fetch_listing(const PullRequest& request, const HubOptions& options) {
  const std::string url = options.endpoint + "/api/models/" + request.id + "/revision/" +
                          url_quote(request.revision, Slashes::kEncode);
  const http::Answer answer = http::exchange({.url = url}, http_options(options));
  check_status(answer.response, {.id = request.id, .revision = request.revision, .path = ""}, options);
  const base::json::value document = base::parse_json(answer.response.body, url);
  const base::JsonObject object(document, url);
  Listing listing{.commit = object.string("sha"), .names = {}};
  if (!is_commit(listing.commit)) object.fail("sha is no commit");
  const base::json::array* siblings = object.at("siblings").if_array();
  if (siblings == nullptr) object.fail("siblings is not a list");
  for (const base::json::value& sibling : *siblings) {
    std::string name = base::JsonObject(sibling, url + ": siblings").string("rfilename");
    if (!is_safe_path(name)) {
      object.fail("the model lists a file \"" + name +
                  "\", which would lie outside its folder; do not trust it");
    }
    listing.names.push_back(std::move(name));
  }
  return listing;
}

class Puller {
 public:
  Puller(const PullRequest& request, const HubOptions& options)
      : request_(request), options_(options), cache_(options.cache) {}

  PulledModel run() {
    const Listing listing = fetch_listing(request_, options_);
    commit_ = listing.commit;
    const Selection selection = select_files(listing.names);
    if (std::ranges::find(selection.files, "config.json") == selection.files.end()) {
      throw Error(ErrorCode::kUnsupported, request_.id + ": has no config.json; it is no model of this kind");
    }
    if (selection.weights.empty()) {
      throw Error(ErrorCode::kUnsupported,
                  request_.id + ": has neither model.safetensors nor pytorch_model.bin");
    }
    for (const std::string& name : selection.files) fetch(name);
    if (selection.weights.ends_with(kIndexSuffix)) {
      for (const std::string& name : shards(selection.weights)) fetch(name);
    }
    // Last, so that a revision that was not fetched whole is not found.
    cache_.write_ref(request_.id, request_.revision, commit_);
    return {.folder = cache_.snapshot(request_.id, commit_), .commit = commit_};
  }

  // That the hub named; empty before.
  const std::string& commit() const noexcept { return commit_; }

 private:
  // All files of one commit, whatever the revision becomes meanwhile.
  void fetch(const std::string& name) {
    const FileLocation file{.id = request_.id, .revision = commit_, .path = name};
    const FileMetadata metadata = fetch_metadata(file, options_);
    if (metadata.commit != commit_) {
      throw Error(ErrorCode::kFormat, request_.id + ": " + name + " comes from commit " + metadata.commit +
                                          ", and " + commit_ + " was asked for");
    }
    FileProgress progress{.name = name, .done = 0, .total = metadata.size};
    progress.cached = fetch_blob(file, metadata, cache_, options_, [&](std::uint64_t done) {
      if (done == metadata.size) return;  // told below, once it is verified
      progress.done = done;
      if (request_.progress) request_.progress(progress);
    });
    cache_.link(request_.id, commit_, name, metadata.etag);
    progress.done = metadata.size;
    if (request_.progress) request_.progress(progress);
  }

  std::set<std::string> shards(const std::string& index) const {
    const std::filesystem::path path = cache_.snapshot(request_.id, commit_) / index;
    const base::json::value document = base::parse_json_file(path);
    const base::JsonObject map = base::JsonObject(document, path.string()).object("weight_map");
    std::set<std::string> names;
    for (const auto& [tensor, value] : map.raw()) {
      const std::string name = map.string(tensor);
      if (!is_safe_path(name) || name.find('/') != std::string::npos) {
        map.fail("\"" + name + "\" is no name of a shard in this folder");
      }
      names.insert(name);
    }
    return names;
  }

  const PullRequest& request_;
  const HubOptions& options_;
  Cache cache_;
  std::string commit_;
};

PulledModel cached(const std::filesystem::path& folder) {
  return {.folder = folder, .commit = folder.filename().string()};
}

// "sentence_bert_config.json", and the same of other families.
bool is_sentence_config(std::string_view name) noexcept {
  return name.starts_with("sentence_") && name.ends_with("_config.json") &&
         name.find('/') == std::string_view::npos;
}

// "2_Dense/config.json"; of the weights there one kind.
bool is_module_file(std::string_view name, const auto& has) {
  const std::size_t slash = name.find('/'), digits = name.find_first_not_of("0123456789");
  if (slash == std::string_view::npos || digits == 0 || digits > slash || name[digits] != '_') return false;
  const std::string_view file = name.substr(slash + 1);
  if (std::ranges::find(kModuleFiles, file) == std::end(kModuleFiles)) return false;
  return file != kModuleFiles[2] ||
         !has(std::string(name.substr(0, slash + 1)) + std::string(kModuleFiles[1]));
}

}  // namespace

Selection select_files(std::span<const std::string> names) {
  const auto has = [&](std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  Selection selection;
  const auto add = [&](std::string_view name) {
    if (has(name)) selection.files.emplace_back(name);
  };
  for (const std::string_view name : kAlways) add(name);
  if (!has("tokenizer.json")) {
    for (const std::string_view name : kVocabularies) add(name);
  }
  if (has(kModules)) {
    add(kModules);
    add(kSentenceSettings);
    for (const std::string& name : names) {
      if (is_sentence_config(name) || is_module_file(name, has)) selection.files.push_back(name);
    }
  }
  for (const std::string_view name : kWeights) {
    if (!has(name)) continue;
    selection.weights = name;
    selection.files.emplace_back(name);
    break;
  }
  return selection;
}

PulledModel pull(const PullRequest& request, const HubOptions& options) {
  check_repo_id(request.id);
  check_revision(request.revision);
  const auto in_cache = Cache(options.cache).find(request.id, request.revision);
  if (options.offline) {
    if (in_cache) return cached(*in_cache);
    throw Error(ErrorCode::kNotFound, request.id + ": not in " + options.cache.string() +
                                          "; the hub is not asked (HubOptions::offline, HF_HUB_OFFLINE)");
  }
  Puller puller(request, options);
  try {
    return puller.run();
  } catch (const Error& error) {
    // What is here may do where the hub cannot be reached, but not for another commit that the hub has.
    const bool outdated = in_cache && !puller.commit().empty() && in_cache->filename() != puller.commit();
    if (error.code() != ErrorCode::kIo || !in_cache || outdated) throw;
    base::log(LogLevel::kWarning, std::string(error.what()) + "; using what is in the cache");
    return cached(*in_cache);
  }
}

}  // namespace kvasir::hub
