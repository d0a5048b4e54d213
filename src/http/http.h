// Requests over HTTP, one at a time.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::http {

struct Options {
  double timeout = 10;    // seconds without an answer or without a byte
  double first_wait = 1;  // seconds before the second try of exchange(); doubled for each further one
  int tries = 5;          // of exchange()
  // What exchange() sends to the endpoint's origin and to no other host; "": nothing.
  std::string token = {}, endpoint = {};
  // If set and *cancel becomes true, the call throws Error{kCancelled}.
  const std::atomic<bool>* cancel = nullptr;
};

struct Response {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // if there is no sink

  // A header's value, "" if it is not there.
  const std::string& header(const std::string& name) const;
  bool is_redirect() const noexcept { return status >= 300 && status < 400 && !header("location").empty(); }
};

struct Request {
  bool head = false;
  std::string url;
  std::vector<std::string> headers = {};
  std::optional<std::string> post = {};  // a body to send; not: GET
  double patience = 0;                   // seconds without a byte of the answer; 0: as for a connection
  // Takes the body of an answer that is a success (2xx), piece by piece; false ends the transfer.
  std::function<bool(const Response& so_far, std::string_view bytes)> sink = {};
};

// The connection failed, or ended too early: the request may be retried.
struct ConnectionFailed {
  std::string reason;
};

// An answer of any status; does not follow redirects. Throws ConnectionFailed; kCancelled; what the sink
// throws; kFormat if there is no sink and the answer is too long.
Response send(const Request& request, const Options& options);

// "https://host:port" of a URL; "" if it is no http or https URL.
std::string origin_of(std::string_view url);
// The target of a redirect: absolute, or on the origin of `url`.
std::string resolve_location(const std::string& url, const std::string& location);

struct Exchange {
  std::string url;
  bool head = false;
  bool stay = false;
  // Headers of each try, for resuming.
  std::function<std::vector<std::string>()> headers = {};
  std::function<bool(const Response& so_far, std::string_view bytes)> sink = {};
  // Whether the answer to a GET is complete; if not, the request is retried.
  std::function<bool()> complete = {};
};
struct Answer {
  Response response;
  std::string url;  // that answered, after redirects
};
// Sends a request, and retries it after a pause where that may help: for connections that fail and for the
// answers 408, 429 and 5xx, with the pause that the server asks for. Follows redirects, at most five, and
// stops before one that leaves the origin if `stay` is set. The token goes to the options' endpoint only.
// Throws kIo if all tries failed.
Answer exchange(const Exchange& what, const Options& options);

}  // namespace kvasir::http
