#include "hub_server.h"

#include <openssl/evp.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

namespace kvasir::tests {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace json = boost::json;
using tcp = asio::ip::tcp;

std::string digest(const char* algorithm, const std::string& bytes) {
  unsigned char buffer[EVP_MAX_MD_SIZE];
  std::size_t size = 0;
  EVP_Q_digest(nullptr, algorithm, nullptr, bytes.data(), bytes.size(), buffer, &size);
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", buffer[i]);
    text += digits;
  }
  return text;
}

std::string unquoted(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      result += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

HubReply error_reply(int status, const std::string& code) {
  return {.status = status, .headers = {{"X-Error-Code", code}}, .body = "error"};
}

}  // namespace

struct HubServer::Impl {
  explicit Impl(HubServer& owner)
      : server(owner),
        hub(context, {asio::ip::address_v4::loopback(), 0}),
        cdn(context, {asio::ip::address_v4::loopback(), 0}) {
    accept(hub, false);
    accept(cdn, true);
    thread = std::thread([this] { context.run(); });
  }
  ~Impl() {
    context.stop();
    thread.join();
  }

  // One connection at a time, one request each: our client asks for no more.
  void accept(tcp::acceptor& acceptor, bool is_cdn) {
    acceptor.async_accept(
        [this, &acceptor, is_cdn](const boost::system::error_code& error, tcp::socket socket) {
          if (!error) {
            try {
              serve(socket, is_cdn);
            } catch (const boost::system::system_error&) {  // the client has gone
            }
          }
          accept(acceptor, is_cdn);
        });
  }

  void serve(tcp::socket& socket, bool is_cdn) {
    beast::flat_buffer buffer;
    beast::http::request<beast::http::string_body> message;
    beast::http::read(socket, buffer, message);
    HubRequest request{.cdn = is_cdn,
                       .method = std::string(message.method_string()),
                       .target = std::string(message.target()),
                       .headers = {},
                       .body = message.body()};
    for (const auto& field : message) {
      std::string name(field.name_string());
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      request.headers[name] = std::string(field.value());
    }
    {
      const std::lock_guard lock(mutex);
      log.push_back(request);
    }
    HubReply reply = is_cdn ? cdn_reply(request) : hub_reply(request);
    if (server.change) server.change(request, reply);
    std::this_thread::sleep_for(std::chrono::duration<double>(reply.delay));
    std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " x\r\nConnection: close\r\n";
    if (!reply.headers.contains("Content-Length")) {
      reply.headers["Content-Length"] = std::to_string(reply.body.size());
    }
    for (const auto& [name, value] : reply.headers) text += name + ": " + value + "\r\n";
    text += "\r\n";
    if (request.method != "HEAD") text += reply.body.substr(0, reply.cut_after);
    asio::write(socket, asio::buffer(text));
    std::this_thread::sleep_for(std::chrono::duration<double>(reply.stall));
    boost::system::error_code ignored;
    socket.shutdown(tcp::socket::shutdown_both, ignored);
  }

  // "/api/models/ID/revision/REV" or "/ID/resolve/REV/PATH".
  HubReply hub_reply(const HubRequest& request) const {
    std::string target = request.target;
    const std::string api = "/api/models/";
    const bool listing = target.starts_with(api);
    target = target.substr(listing ? api.size() : 1);
    const std::string marker = listing ? "/revision/" : "/resolve/";
    const std::size_t at = target.find(marker);
    if (at == std::string::npos) return error_reply(404, "");
    const std::string id = target.substr(0, at);
    const std::string rest = target.substr(at + marker.size());
    const auto found = server.repos.find(id);
    if (found == server.repos.end()) return error_reply(401, "RepoNotFound");
    const HubRepo& repo = found->second;
    if (!repo.renamed_to.empty()) {
      const std::string prefix = listing ? api : "/";
      return {.status = 307, .headers = {{"Location", prefix + repo.renamed_to + marker + rest}}};
    }
    const auto authorization = request.headers.find("authorization");
    const bool knows_token =
        authorization != request.headers.end() && authorization->second == "Bearer " + repo.token;
    if (!repo.token.empty() && !knows_token) return error_reply(401, "RepoNotFound");
    if (repo.gated) return error_reply(403, "GatedRepo");
    const std::string revision = unquoted(rest.substr(0, rest.find('/')));
    if (revision != "main" && revision != "refs/pr/1" && revision != repo.commit) {
      return error_reply(404, "RevisionNotFound");
    }
    return listing ? list(repo) : resolve(repo, unquoted(rest.substr(rest.find('/') + 1)), request);
  }

  static HubReply list(const HubRepo& repo) {
    json::array siblings;
    for (const auto& [name, file] : repo.files) siblings.push_back(json::object{{"rfilename", name}});
    return {.body = json::serialize(json::object{{"sha", repo.commit}, {"siblings", siblings}})};
  }

  HubReply resolve(const HubRepo& repo, const std::string& path, const HubRequest& request) const {
    const auto found = repo.files.find(path);
    if (found == repo.files.end()) return error_reply(404, "EntryNotFound");
    const HubFile& file = found->second;
    const std::map<std::string, std::string> commit{{"X-Repo-Commit", repo.commit}};
    if (!file.lfs) {
      HubReply reply = bytes(file.bytes, request);
      reply.headers.insert(commit.begin(), commit.end());
      reply.headers["ETag"] = "W/\"" + git_sha1(file.bytes) + "\"";
      return reply;
    }
    HubReply reply{.status = 302, .headers = commit, .body = "elsewhere"};
    const std::string sum = sha256(file.bytes);
    reply.headers["X-Linked-ETag"] = "\"" + sum + "\"";
    reply.headers["X-Linked-Size"] = std::to_string(file.bytes.size());
    reply.headers["ETag"] = "\"0123\"";  // of the redirect itself
    reply.headers["Location"] = server.cdn() + "/" + sum + "?signature=1%2F2";
    return reply;
  }

  HubReply cdn_reply(const HubRequest& request) const {
    const std::string sum = request.target.substr(1, 64);
    for (const auto& [id, repo] : server.repos) {
      for (const auto& [name, file] : repo.files) {
        if (file.lfs && sha256(file.bytes) == sum) return bytes(file.bytes, request);
      }
    }
    return error_reply(404, "");
  }

  static HubReply bytes(const std::string& all, const HubRequest& request) {
    const auto range = request.headers.find("range");
    if (range == request.headers.end()) {
      return {.headers = {{"Content-Length", std::to_string(all.size())}}, .body = all};
    }
    const std::size_t begin = std::stoul(range->second.substr(6));
    return {
        .status = 206,
        .headers = {{"Content-Range", "bytes " + std::to_string(begin) + "-" +
                                          std::to_string(all.size() - 1) + "/" + std::to_string(all.size())}},
        .body = all.substr(begin)};
  }

  HubServer& server;
  asio::io_context context;
  tcp::acceptor hub, cdn;
  mutable std::mutex mutex;
  std::vector<HubRequest> log;
  std::thread thread;
};

HubServer::HubServer() : impl_(std::make_unique<Impl>(*this)) {}
HubServer::~HubServer() = default;

std::string HubServer::endpoint() const {
  return "http://127.0.0.1:" + std::to_string(impl_->hub.local_endpoint().port());
}
std::string HubServer::cdn() const {
  return "http://127.0.0.1:" + std::to_string(impl_->cdn.local_endpoint().port());
}

std::vector<HubRequest> HubServer::requests() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->log;
}

std::size_t HubServer::count(const std::string& method, const std::string& ending) const {
  std::size_t count = 0;
  for (const HubRequest& request : requests())
    count += request.method == method && request.target.ends_with(ending);
  return count;
}

std::string HubServer::sha256(const std::string& bytes) {
  return digest("SHA256", bytes);
}
std::string HubServer::git_sha1(const std::string& bytes) {
  return digest("SHA1", "blob " + std::to_string(bytes.size()) + '\0' + bytes);
}

}  // namespace kvasir::tests
