// Fetching a model from the hub into the cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "hub/options.h"

namespace kvasir::hub {

struct FileProgress {
  std::string name;
  std::uint64_t done = 0, total = 0;  // bytes
  bool cached = false;                // it was there already
};

struct PullRequest {
  std::string id;
  std::string revision = "main";
  // Called as bytes arrive, and once with done == total for each file.
  std::function<void(const FileProgress&)> progress = {};
};

struct PulledModel {
  std::filesystem::path folder;  // the snapshot: an ordinary model folder
  std::string commit;
};

// Fetches what a model needs: config.json, the tokenizer's files and one kind of weights, safetensors if
// there are any; of sentence models also their modules. Files that are in the cache already are not fetched
// again; an interrupted transfer is continued; each file's size and checksum are verified. With
// options.offline, or if the hub cannot be reached and the model is in the cache, nothing is fetched. Throws
// kInvalidArgument (no id), kNotFound (no such model, revision or file; not in the cache and offline),
// kUnsupported (gated: ask for access; no weights that we read), kIo (the connection, the disk), kFormat (the
// server's answers make no sense, or try to write outside the cache), kCancelled.
PulledModel pull(const PullRequest& request, const HubOptions& options);

// Of the files of a repository, those to fetch before an index of shards is read. `weights`: the file of
// weights or the index among them; "" if there is none.
struct Selection {
  std::vector<std::string> files;
  std::string weights;
};
Selection select_files(std::span<const std::string> names);

}  // namespace kvasir::hub
