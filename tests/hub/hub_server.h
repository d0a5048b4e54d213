// A server on this machine that answers as the hub does, and a second port that stands for the network of
// hosts where the hub keeps large files.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace kvasir::tests {

struct HubFile {
  std::string bytes;
  bool lfs = false;  // large: its ETag is a SHA-256, and its bytes come from the other host
};

struct HubRepo {
  std::string commit = "0123456789abcdef0123456789abcdef01234567";
  std::map<std::string, HubFile> files = {};
  std::string token = {};       // if not empty: who does not send it learns that there is no such model
  bool gated = false;           // exists, but one has to ask
  std::string renamed_to = {};  // answers point to this id
};

struct HubRequest {
  bool cdn = false;  // came to the other host
  std::string method, target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body = {};
};

struct HubReply {
  int status = 200;
  std::map<std::string, std::string> headers = {};
  std::string body = {};
  std::size_t cut_after = static_cast<std::size_t>(-1);  // bytes of the body; then the connection closes
  double delay = 0;                                      // seconds before the answer
  double stall = 0;                                      // seconds between those bytes and that
};

class HubServer {
 public:
  HubServer();
  ~HubServer();

  std::string endpoint() const;
  std::string cdn() const;

  // Set before the first request.
  std::map<std::string, HubRepo> repos;
  // May change each answer, to misbehave.
  std::function<void(const HubRequest&, HubReply&)> change = {};

  std::vector<HubRequest> requests() const;
  // How many requests had this method and a target that ends like this.
  std::size_t count(const std::string& method, const std::string& ending) const;

  static std::string sha256(const std::string& bytes);
  static std::string git_sha1(const std::string& bytes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::tests
