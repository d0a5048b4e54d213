// One file from the hub into the cache.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "http/http.h"
#include "hub/cache.h"
#include "hub/options.h"

namespace kvasir::hub {

// Options of requests to the hub.
http::Options http_options(const HubOptions& options);

// What a HEAD request returns about a file.
struct FileMetadata {
  std::string commit;
  std::string etag;  // its checksum
  std::uint64_t size = 0;
  std::string url;  // where its bytes are; may be on another host
};

struct FileLocation {
  std::string id, revision, path;
};
// Asks for ENDPOINT/ID/resolve/REVISION/PATH. Throws as check_status; kFormat for an answer without commit,
// checksum or size.
FileMetadata fetch_metadata(const FileLocation& file, const HubOptions& options);

// Makes sure that blobs/ETAG exists and is correct. Returns true if it existed. An interrupted transfer is
// continued; other processes that want the same file wait.
bool fetch_blob(const FileLocation& file, const FileMetadata& metadata, const Cache& cache,
                const HubOptions& options, const std::function<void(std::uint64_t done)>& progress);

// Throws the error that an unsuccessful answer means: kNotFound, kUnsupported (gated), kIo.
void check_status(const http::Response& response, const FileLocation& file, const HubOptions& options);

}  // namespace kvasir::hub
