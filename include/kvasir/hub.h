// kvasir/hub.h: models by their names on the Hugging Face hub.
//
//   auto pulled = kvasir::pull_model("deepset/minilm-uncased-squad2");
//   std::cout << pulled.folder << '\n';
//   auto named = kvasir::Reader::load("deepset/minilm-uncased-squad2");  // from now on, without the network
//
// A name is ORGANISATION/NAME, or NAME for the hub's oldest models, with @REVISION for a branch, a tag or a
// commit other than main. Fetched models are kept in the cache that all Hugging Face programs share.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "kvasir/error.h"

namespace kvasir {

// One file that pull_model() fetches.
struct FileProgress {
  std::string name;
  std::uint64_t done = 0, total = 0;  // bytes
  bool cached = false;                // it was in the cache already
};

struct HubOptions {
  // The folder that holds models--ORGANISATION--NAME; "": default_hub_cache().
  std::filesystem::path cache = {};
  std::string endpoint = "https://huggingface.co";
  // For private and gated models. It is sent to the endpoint and to no other host.
  std::string token = {};
  // pull_model() uses what is in the cache and does not ask the hub.
  bool offline = false;
  // A request fails after this many seconds without an answer or without a byte of one. It is then retried a
  // few times.
  double timeout_seconds = 10;
  // Called from the calling thread as bytes arrive, and once with done == total for each file. What it throws
  // ends the call and reaches the caller.
  std::function<void(const FileProgress& file)> progress = {};
  // If set and *cancel becomes true, the call throws Error{kCancelled}.
  const std::atomic<bool>* cancel = nullptr;
};

// .cache/huggingface/hub in the home folder of the user that runs this process. The library reads no
// environment variable: a program that honours HF_HOME or HF_HUB_CACHE passes its folder in the options.
std::filesystem::path default_hub_cache();

// The folder of a model: `model` itself if it exists or cannot be a name, otherwise the folder of the model
// of that name in the cache. Never contacts the hub. Reader::load and Generator::load do this with what they
// are given. Throws Error: kNotFound (not in the cache), kInvalidArgument (what follows the @ is not a
// revision).
std::filesystem::path resolve_model(const std::filesystem::path& model, const HubOptions& options = {});

struct PulledModel {
  std::filesystem::path folder;  // an ordinary model folder
  std::string commit;
};

// Fetches what is needed to run a model: config.json, the tokenizer's files and one kind of weights,
// safetensors if there are any. Size and checksum of each file are verified. Files that are in the cache are
// not fetched again, and a file whose transfer was interrupted is continued. If the hub cannot be reached and
// the model is in the cache, that one is returned, with a warning (kvasir/log.h). Throws Error:
// kInvalidArgument (not a name), kNotFound (no such model or revision; not in the cache and offline),
// kUnsupported (gated, or without weights that can be read), kIo (connection, disk), kFormat (answers that
// make no sense), kCancelled.
PulledModel pull_model(const std::string& name, const HubOptions& options = {});

}  // namespace kvasir
