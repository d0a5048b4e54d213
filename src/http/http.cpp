#include "http/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <thread>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::http {

namespace {

constexpr std::size_t kMaxBody = std::size_t{32} << 20;  // of answers that are kept: lists of files
constexpr std::size_t kMaxHeaders = 1000;
constexpr int kMaxRedirects = 5;
constexpr double kLongestWait = 300;      // seconds; what asks for more is refused
constexpr long kBufferSize = 512 * 1024;  // bytes; libcurl's 16 KiB cost as many calls and writes more
constexpr const char* kUserAgent = "kvasir";

void check_cancelled(const Options& options) {
  if (options.cancel != nullptr && *options.cancel) throw Error(ErrorCode::kCancelled, "cancelled");
}

// What libcurl's callbacks, which may not throw, share with send().
struct Transfer {
  const Request& request;
  const Options& options;
  Response response;
  std::exception_ptr thrown;
  // When the last byte of the answer came, for Request::patience.
  curl_off_t received = 0;
  std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
};

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return result;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::size_t on_header(char* data, std::size_t, std::size_t size, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, size);
  Response& response = transfer.response;
  if (line.starts_with("HTTP/")) {  // also after a "100 Continue"
    response.headers.clear();
    const std::size_t space = line.find(' ');
    if (space != std::string_view::npos) {
      std::from_chars(line.data() + space + 1, line.data() + line.size(), response.status);
    }
    return size;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size;
  if (response.headers.size() == kMaxHeaders) return 0;
  response.headers.insert_or_assign(lower(trimmed(line.substr(0, colon))), trimmed(line.substr(colon + 1)));
  return size;
}

std::size_t on_body(char* data, std::size_t, std::size_t size, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  Response& response = transfer.response;
  try {
    const bool success = response.status >= 200 && response.status < 300;
    if (transfer.request.sink && success) {
      return transfer.request.sink(response, {data, size}) ? size : 0;
    }
    if (response.body.size() + size > kMaxBody) {
      throw Error(ErrorCode::kFormat, transfer.request.url + ": the answer is larger than 32 MiB");
    }
    response.body.append(data, size);
    return size;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

// Called about once a second, more often while bytes come.
int on_progress(void* user, curl_off_t, curl_off_t received, curl_off_t, curl_off_t) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const auto* cancel = transfer.options.cancel;
  if (cancel != nullptr && *cancel) return 1;
  const auto now = std::chrono::steady_clock::now();
  if (received != transfer.received) {
    transfer.received = received;
    transfer.last = now;
  }
  const double patience = transfer.request.patience;
  return patience > 0 && std::chrono::duration<double>(now - transfer.last).count() > patience ? 1 : 0;
}

void prepare(CURL* curl, Transfer& transfer) {
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl, option, value); };
  const auto timeout = static_cast<long>(transfer.options.timeout * 1000);
  set(CURLOPT_URL, transfer.request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_USERAGENT, kUserAgent);
  set(CURLOPT_BUFFERSIZE, kBufferSize);
  set(CURLOPT_CONNECTTIMEOUT_MS, timeout);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  // What was sent counts for curl's own limit, so it is not the one for patience.
  set(CURLOPT_LOW_SPEED_TIME, transfer.request.patience > 0 ? 0L : std::max(1L, timeout / 1000));
  if (const auto& post = transfer.request.post) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(post->size()));
    set(CURLOPT_POSTFIELDS, post->c_str());
  }
  if (transfer.request.head) set(CURLOPT_NOBODY, 1L);
  set(CURLOPT_HEADERFUNCTION, on_header);
  set(CURLOPT_HEADERDATA, &transfer);
  set(CURLOPT_WRITEFUNCTION, on_body);
  set(CURLOPT_WRITEDATA, &transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, on_progress);
  set(CURLOPT_XFERINFODATA, &transfer);
}

// Seconds that the server asks to wait: Retry-After, or the t of RateLimit: "api";r=0;t=55.
double asked_wait(const Response& response, double fallback) {
  std::string_view text = response.header("retry-after");
  if (text.empty()) {
    text = response.header("ratelimit");
    const std::size_t at = text.find(";t=");
    text = at == std::string_view::npos ? std::string_view() : text.substr(at + 3);
  }
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  return error == std::errc() && seconds >= 0 ? seconds : fallback;
}

void wait(double seconds, const Options& options) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
    check_cancelled(options);
    const auto left = end - std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::min<std::chrono::duration<double>>(left, std::chrono::milliseconds(50)));
  }
}

[[noreturn]] void refuse_redirect(const std::string& from, const std::string& to) {
  throw Error(ErrorCode::kFormat, from + ": redirected to " + to + ", which is refused");
}

bool is_passing(int status) {
  return status == 408 || status == 429 || status >= 500;
}

}  // namespace

const std::string& Response::header(const std::string& name) const {
  static const std::string none;
  const auto found = headers.find(name);
  return found == headers.end() ? none : found->second;
}

Response send(const Request& request, const Options& options) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (initialized != CURLE_OK || curl == nullptr)
    throw Error(ErrorCode::kInternal, "libcurl cannot be set up");
  Transfer transfer{.request = request, .options = options, .response = {}, .thrown = nullptr};
  prepare(curl.get(), transfer);
  curl_slist* list = nullptr;
  for (const std::string& header : request.headers) list = curl_slist_append(list, header.c_str());
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, curl_slist_free_all);
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, list);
  const CURLcode code = curl_easy_perform(curl.get());
  if (transfer.thrown) std::rethrow_exception(transfer.thrown);
  check_cancelled(options);
  if (code == CURLE_ABORTED_BY_CALLBACK) throw ConnectionFailed{"no answer came for too long"};
  if (code != CURLE_OK) throw ConnectionFailed{curl_easy_strerror(code)};
  return std::move(transfer.response);
}

std::string origin_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  const std::string name = lower(url.substr(0, scheme));
  if (name != "http" && name != "https") return {};
  const std::string_view rest = url.substr(scheme + 3);
  std::string host = lower(rest.substr(0, rest.find_first_of("/?#")));
  if (host.find('@') != std::string::npos) return {};  // a name before the host only misleads
  const std::string port = name == "http" ? ":80" : ":443";
  if (host.ends_with(port)) host.resize(host.size() - port.size());
  return name + "://" + host;
}

std::string resolve_location(const std::string& url, const std::string& location) {
  if (location.starts_with("//")) return url.substr(0, url.find(':') + 1) + location;
  if (location.starts_with("/")) return origin_of(url) + location;
  return location;
}

Answer exchange(const Exchange& what, const Options& options) {
  std::string url = what.url;
  int redirects = 0;
  double pause = options.first_wait;
  for (int attempt = 1;; ++attempt) {
    check_cancelled(options);
    Request request{
        .head = what.head, .url = url, .headers = {"Accept-Encoding: identity"}, .sink = what.sink};
    if (!options.token.empty() && origin_of(url) == origin_of(options.endpoint)) {
      request.headers.push_back("Authorization: Bearer " + options.token);
    }
    if (what.headers) std::ranges::copy(what.headers(), std::back_inserter(request.headers));
    std::string reason;
    double asked = pause;
    try {
      Response response = send(request, options);
      if (response.is_redirect()) {
        const std::string target = resolve_location(url, response.header("location"));
        const std::string origin = origin_of(target);
        if (origin.empty() || (origin.starts_with("http:") && origin_of(url).starts_with("https:"))) {
          refuse_redirect(url, target);
        }
        if (what.stay && origin != origin_of(url)) return {std::move(response), url};
        if (++redirects > kMaxRedirects) throw Error(ErrorCode::kIo, what.url + ": too many redirects");
        url = target;
        --attempt;
        continue;
      }
      const bool success = response.status < 300;
      if (!is_passing(response.status) && (!success || !what.complete || what.complete())) {
        return {std::move(response), url};
      }
      reason = success ? "the connection was cut" : "the server answered " + std::to_string(response.status);
      asked = asked_wait(response, pause);
    } catch (const ConnectionFailed& failed) {
      reason = failed.reason;
      if (what.complete && what.complete()) return {{.status = 200, .headers = {}, .body = {}}, url};
    }
    if (attempt >= options.tries || asked > kLongestWait) {
      throw Error(ErrorCode::kIo, what.url + ": " + reason +
                                      (asked > kLongestWait ? "; try again later" : "") + " (tried " +
                                      std::to_string(attempt) + " times)");
    }
    wait(asked, options);
    pause *= 2;
    url = what.url;  // a redirect's target may have run out
    redirects = 0;
  }
}

}  // namespace kvasir::http
