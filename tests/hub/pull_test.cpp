// Fetching models from a server that behaves like the hub, and from one that does not.
#include "hub/pull.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/mapped_file.h"
#include "hub/cache.h"
#include "hub_server.h"
#include "kvasir/error.h"
#include "kvasir/log.h"
#include "temporary_folder.h"

namespace kvasir::hub {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using tests::HubFile;
using tests::HubReply;
using tests::HubRequest;
using tests::HubServer;
using tests::TemporaryFolder;

const std::string kCommit = tests::HubRepo().commit;
constexpr const char* kId = "some-org/tiny-qa";

class Pull : public testing::Test {
 protected:
  Pull() {
    for (int i = 0; i < 100000; ++i) weights_ += static_cast<char>(i * 31 >> 4);
    server_.repos[kId].files = {{"config.json", {R"({"model_type":"bert"})"}},
                                {"tokenizer.json", {"{}"}},
                                {"vocab.txt", {"[PAD]"}},
                                {"README.md", {"# Tiny"}},
                                {"model.safetensors", {weights_, true}},
                                {"pytorch_model.bin", {"other weights", true}},
                                {"onnx/model.onnx", {"onnx", true}}};
    options_.cache = folder_.path() / "hub";
    options_.endpoint = server_.endpoint();
    options_.first_wait = 0.01;
    options_.timeout = 2;
  }

  PulledModel run(const std::string& revision = "main") {
    return pull({.id = kId, .revision = revision, .progress = progress_}, options_);
  }
  std::string error() {
    try {
      run();
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      return std::string(error_code_name(error.code())) + ": " + error.what();
    }
    return "none";
  }
  std::string contents(const std::string& name) const {
    return base::read_file(Cache(options_.cache).snapshot(kId, kCommit) / name);
  }
  // What lies in the blobs folder, by ending.
  std::size_t blobs(const std::string& ending = "") const {
    std::size_t count = 0;
    std::error_code ignored;
    for (const auto& entry :
         std::filesystem::directory_iterator(Cache(options_.cache).repo_folder(kId) / "blobs", ignored)) {
      count += entry.path().string().ends_with(ending);
    }
    return count;
  }
  static bool is_weights(const HubRequest& request) { return request.cdn && request.method == "GET"; }

  TemporaryFolder folder_;
  HubServer server_;
  HubOptions options_;
  std::string weights_;
  std::function<void(const FileProgress&)> progress_;
};

TEST_F(Pull, FetchesWhatAReaderNeeds) {
  std::vector<std::string> done;
  progress_ = [&](const FileProgress& file) {
    EXPECT_LE(file.done, file.total);
    if (file.done == file.total) done.push_back(file.name + (file.cached ? " cached" : ""));
  };
  const PulledModel model = run();
  EXPECT_EQ(model.commit, kCommit);
  EXPECT_EQ(model.folder, options_.cache / "models--some-org--tiny-qa" / "snapshots" / kCommit);
  EXPECT_THAT(done, ElementsAre("config.json", "tokenizer.json", "model.safetensors"));
  EXPECT_EQ(contents("config.json"), R"({"model_type":"bert"})");
  EXPECT_EQ(contents("model.safetensors"), weights_);
  EXPECT_EQ(server_.count("GET", "README.md"), 0U);

  // The layout that the other programs expect, byte for byte.
  const std::filesystem::path repo = Cache(options_.cache).repo_folder(kId);
  EXPECT_EQ(base::read_file(repo / "refs/main"), kCommit);  // no line feed
  EXPECT_EQ(std::filesystem::read_symlink(model.folder / "model.safetensors").string(),
            "../../blobs/" + HubServer::sha256(weights_));
  EXPECT_EQ(std::filesystem::read_symlink(model.folder / "tokenizer.json").string(),
            "../../blobs/" + HubServer::git_sha1("{}"));
  EXPECT_EQ(blobs(), 3U);
  EXPECT_TRUE(std::filesystem::exists(options_.cache / ".locks/models--some-org--tiny-qa" /
                                      (HubServer::sha256(weights_) + ".lock")));

  // A second time nothing is fetched but what the hub says of the files.
  done.clear();
  const std::size_t gets = server_.count("GET", "");
  run();
  EXPECT_THAT(done, ElementsAre("config.json cached", "tokenizer.json cached", "model.safetensors cached"));
  EXPECT_EQ(server_.count("GET", ""), gets + 1);  // the list
}

// File by file what huggingface_hub left when it fetched the same model (scripts/check-hub-client --record).
TEST_F(Pull, LeavesWhatThePythonClientLeaves) {
  const std::filesystem::path data = KVASIR_TEST_DATA;
  auto& files = server_.repos[kId].files;
  files.clear();
  for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}) {
    files[name] = {base::read_file(data / "encoders-qa/bert-uncased" / name),
                   std::string(name).starts_with("model")};
  }
  run();
  std::vector<std::string> lines;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(options_.cache)) {
    std::string line = entry.path().lexically_relative(options_.cache).string();
    if (entry.is_symlink()) {
      line += " -> " + std::filesystem::read_symlink(entry.path()).string();
    } else if (entry.is_directory()) {
      continue;
    } else if (line.find("/refs/") != std::string::npos) {
      line += " = " + base::read_file(entry.path());
    }
    lines.push_back(std::move(line));
  }
  std::ranges::sort(lines);
  std::string layout;
  for (const std::string& line : lines) layout += line + "\n";
  EXPECT_EQ(layout, base::read_file(data / "hub/layout.txt"));
}

TEST_F(Pull, EveryHeadRequestAsksForTheBytesAsTheyAre) {
  run();
  for (const HubRequest& request : server_.requests()) {
    EXPECT_EQ(request.headers.at("accept-encoding"), "identity") << request.target;
  }
}

TEST_F(Pull, SelectsOneKindOfWeights) {
  const auto select = [](std::vector<std::string> names) { return select_files(names); };
  EXPECT_THAT(select({"pytorch_model.bin", "config.json", "tf_model.h5", "vocab.txt"}).files,
              ElementsAre("config.json", "vocab.txt", "pytorch_model.bin"));
  EXPECT_EQ(select({"model.safetensors.index.json", "pytorch_model.bin"}).weights,
            "model.safetensors.index.json");
  EXPECT_EQ(select({"pytorch_model.bin.index.json", "config.json"}).weights, "pytorch_model.bin.index.json");
  EXPECT_EQ(select({"tf_model.h5", "config.json"}).weights, "");
  EXPECT_THAT(select({"vocab.json", "merges.txt", "tokenizer.json"}).files, ElementsAre("tokenizer.json"));
}

TEST(SelectFiles, SentenceModelsBringTheirModules) {
  const std::vector<std::string> names = {"1_Pooling/config.json",
                                          "2_Dense/config.json",
                                          "2_Dense/model.safetensors",
                                          "2_Dense/pytorch_model.bin",
                                          "3_Dense/pytorch_model.bin",
                                          "config.json",
                                          "config_sentence_transformers.json",
                                          "model.safetensors",
                                          "modules.json",
                                          "onnx/model.onnx",
                                          "openvino/config.json",
                                          "sentence_bert_config.json",
                                          "sentence_notes.txt",
                                          "vocab.txt"};
  EXPECT_THAT(select_files(names).files,
              testing::UnorderedElementsAre(
                  "config.json", "vocab.txt", "modules.json", "config_sentence_transformers.json",
                  "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
                  "3_Dense/pytorch_model.bin", "sentence_bert_config.json", "model.safetensors"));
  EXPECT_THAT(select_files(std::vector<std::string>{"config.json", "1_Pooling/config.json"}).files,
              ElementsAre("config.json"));  // no modules.json: other folders are not ours
}

TEST_F(Pull, Shards) {
  auto& files = server_.repos[kId].files;
  files.erase("model.safetensors");
  files["model.safetensors.index.json"] = {
      R"({"weight_map":{"a":"model-1-of-2.safetensors","b":"model-2-of-2.safetensors","c":"model-1-of-2.safetensors"}})"};
  files["model-1-of-2.safetensors"] = {"first", true};
  files["model-2-of-2.safetensors"] = {"second", true};
  files["model-9-of-9.safetensors"] = {"left over", true};
  run();
  EXPECT_EQ(contents("model-1-of-2.safetensors"), "first");
  EXPECT_EQ(contents("model-2-of-2.safetensors"), "second");
  EXPECT_EQ(blobs(), 5U);

  files["model.safetensors.index.json"] = {R"({"weight_map":{"a":"../../../x.safetensors"}})"};
  EXPECT_THAT(error(), AllOf(HasSubstr("format: "), HasSubstr("is no name of a shard")));
}

TEST_F(Pull, RevisionsAndIdsWithoutOrganization) {
  server_.repos["bert-large-qa"] = server_.repos[kId];
  const Cache cache(options_.cache);
  EXPECT_EQ(pull({.id = "bert-large-qa", .revision = "refs/pr/1", .progress = {}}, options_).commit, kCommit);
  EXPECT_GE(server_.count("HEAD", "/bert-large-qa/resolve/" + kCommit + "/config.json"), 1U);
  EXPECT_GE(server_.count("GET", "/api/models/bert-large-qa/revision/refs%2Fpr%2F1"), 1U);
  EXPECT_TRUE(std::filesystem::exists(options_.cache / "models--bert-large-qa/refs/refs/pr/1"));
  EXPECT_TRUE(cache.find("bert-large-qa", "refs/pr/1"));
  EXPECT_FALSE(cache.find("bert-large-qa"));  // main was not fetched
  EXPECT_TRUE(cache.find("bert-large-qa", kCommit));

  run(kCommit);
  EXPECT_FALSE(std::filesystem::exists(cache.repo_folder(kId) / "refs"));
}

TEST_F(Pull, FollowsRenamesButKeepsTheIdAsTyped) {
  server_.repos["old-name"].renamed_to = kId;
  const PulledModel model = pull({.id = "old-name", .revision = "main", .progress = {}}, options_);
  EXPECT_EQ(model.folder, options_.cache / "models--old-name" / "snapshots" / kCommit);
  EXPECT_EQ(base::read_file(model.folder / "model.safetensors"), weights_);
}

// --- who may read

TEST_F(Pull, TheTokenGoesToTheHubAndToNoOtherHost) {
  server_.repos[kId].token = "hf_secret";
  EXPECT_THAT(error(),
              AllOf(HasSubstr("not_found: "), HasSubstr("no such model"), HasSubstr("set HF_TOKEN")));
  options_.token = "hf_wrong";
  EXPECT_THAT(error(), HasSubstr("the token may not read it"));
  options_.token = "hf_secret";
  run();
  std::size_t cdn = 0;
  for (const HubRequest& request : server_.requests()) {
    if (!request.cdn) continue;
    ++cdn;
    EXPECT_FALSE(request.headers.contains("authorization"));
  }
  EXPECT_EQ(cdn, 1U);
}

TEST_F(Pull, TheTokenIsDroppedWhereverARedirectLeaves) {
  options_.token = "hf_secret";
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (request.cdn || !request.target.starts_with("/api/")) return;
    reply = {.status = 302, .headers = {{"Location", server_.cdn() + "/api"}}};
  };
  EXPECT_NE(error(), "none");  // that host knows of no models
  ASSERT_EQ(server_.requests().size(), 2U);
  EXPECT_EQ(server_.requests()[0].headers.at("authorization"), "Bearer hf_secret");
  EXPECT_TRUE(server_.requests()[1].cdn);
  EXPECT_FALSE(server_.requests()[1].headers.contains("authorization"));
}

TEST_F(Pull, GatedAndMissing) {
  server_.repos[kId].gated = true;
  EXPECT_THAT(error(), AllOf(HasSubstr("unsupported: "), HasSubstr("access to this model must be asked for"),
                             HasSubstr("HF_TOKEN must be set")));
  server_.repos[kId].gated = false;
  EXPECT_THROW(run("no-such-branch"), Error);
  try {
    run("no-such-branch");
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no revision no-such-branch"));
  }
  server_.repos.clear();
  EXPECT_THAT(error(), HasSubstr("some-org/tiny-qa: no such model"));
  EXPECT_FALSE(std::filesystem::exists(Cache(options_.cache).repo_folder(kId)));
}

TEST_F(Pull, ModelsThatAreNone) {
  auto& files = server_.repos[kId].files;
  files.erase("model.safetensors");
  files.erase("pytorch_model.bin");
  EXPECT_THAT(error(), AllOf(HasSubstr("unsupported: "), HasSubstr("neither model.safetensors nor")));
  files.erase("config.json");
  EXPECT_THAT(error(), HasSubstr("has no config.json"));
}

TEST_F(Pull, BadIdsAndRevisions) {
  for (const char* id : {"", "a/b/c", "../x", "a--b", "a..b", "/x", "x/", "-x", "x.", "a b", "x.git", "é",
                         "a/../b", "https://x"}) {
    EXPECT_THROW(pull({.id = id, .revision = "main", .progress = {}}, options_), Error) << id;
  }
  EXPECT_THROW(pull({.id = std::string(97, 'a'), .revision = "main", .progress = {}}, options_), Error);
  for (const char* revision : {"", "..", "../main", "a//b", "/main", "main/", "a\\b", "a\nb", "a b"}) {
    EXPECT_THROW(run(revision), Error) << revision;
  }
  EXPECT_THAT(server_.requests(), IsEmpty());
}

// --- connections that fail

TEST_F(Pull, ACutConnectionIsContinued) {
  int cuts = 0;
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (is_weights(request) && cuts < 3) {
      ++cuts;
      reply.cut_after = 20000;
    }
  };
  EXPECT_EQ(error(), "none");
  EXPECT_EQ(contents("model.safetensors"), weights_);
  std::vector<std::string> ranges;
  for (const HubRequest& request : server_.requests()) {
    if (is_weights(request))
      ranges.push_back(request.headers.contains("range") ? request.headers.at("range") : "all");
  }
  EXPECT_THAT(ranges, ElementsAre("all", "bytes=20000-", "bytes=40000-", "bytes=60000-"));
}

TEST_F(Pull, AnotherCallContinuesWhatOneLeft) {
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (is_weights(request)) reply.cut_after = request.headers.contains("range") ? 0 : 30000;
  };
  EXPECT_THAT(error(), AllOf(HasSubstr("io: "), HasSubstr("tried 5 times")));
  EXPECT_EQ(blobs(".incomplete"), 1U);
  EXPECT_FALSE(Cache(options_.cache).find(kId));  // what is not whole is not found
  server_.change = {};
  EXPECT_EQ(error(), "none");
  EXPECT_EQ(server_.requests().back().headers.at("range"), "bytes=30000-");
  EXPECT_EQ(contents("model.safetensors"), weights_);
  EXPECT_EQ(blobs(".incomplete"), 0U);
}

TEST_F(Pull, AServerThatCannotResumeBeginsAnew) {
  int answers = 0;
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (!is_weights(request)) return;
    if (answers++ == 0) {
      reply.cut_after = 50000;
    } else {
      reply = {.status = 200, .headers = {}, .body = weights_};
    }
  };
  EXPECT_EQ(error(), "none");
  EXPECT_EQ(contents("model.safetensors"), weights_);
}

TEST_F(Pull, AnAnswerThatContinuesElsewhereIsRefused) {
  int answers = 0;
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (!is_weights(request)) return;
    if (answers++ == 0) reply.cut_after = 50000;
    if (answers == 2) reply.headers["Content-Range"] = "bytes 0-99999/100000";
  };
  EXPECT_THAT(error(), AllOf(HasSubstr("format: "), HasSubstr("continued at another place")));
}

TEST_F(Pull, ARestBeyondTheFileIsThrownAway) {
  const Cache cache(options_.cache);
  std::filesystem::create_directories(cache.repo_folder(kId) / "blobs");
  std::ofstream(cache.repo_folder(kId) / "blobs" / (HubServer::sha256(weights_) + ".incomplete"))
      << std::string(200000, 'x');
  EXPECT_EQ(error(), "none");
  EXPECT_EQ(contents("model.safetensors"), weights_);
}

TEST_F(Pull, WrongSizes) {
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (is_weights(request)) reply = {.status = 200, .headers = {}, .body = weights_ + "more"};
  };
  EXPECT_THAT(error(), AllOf(HasSubstr("format: "), HasSubstr("is longer than the 100000 bytes")));
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (is_weights(request)) reply = {.status = 200, .headers = {}, .body = weights_.substr(0, 99999)};
  };
  EXPECT_THAT(error(), AllOf(HasSubstr("io: "), HasSubstr("the connection was cut")));
  EXPECT_EQ(blobs(HubServer::sha256(weights_)), 0U);
}

TEST_F(Pull, WrongBytesNeverBecomeABlob) {
  for (const bool large : {true, false}) {
    server_.change = [&](const HubRequest& request, HubReply& reply) {
      const bool hit =
          large ? is_weights(request) : request.method == "GET" && request.target.ends_with("config.json");
      if (hit) reply.body[reply.body.size() / 2] ^= 1;
    };
    EXPECT_THAT(error(), AllOf(HasSubstr("format: "), HasSubstr("is due; it was changed on its way")));
    EXPECT_EQ(blobs(".incomplete"), 0U);
    EXPECT_FALSE(Cache(options_.cache).find(kId));
    std::filesystem::remove_all(options_.cache);
  }
}

TEST_F(Pull, WaitsAsLongAsTheServerAsks) {
  int refused = 0;
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (!request.target.starts_with("/api/") || refused++ > 0) return;
    reply = {.status = 429, .headers = {{"Retry-After", "1"}}, .body = "slow down"};
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(error(), "none");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(950));
  EXPECT_EQ(refused, 2);
}

TEST_F(Pull, WaitsByTheRateLimitToo) {
  int refused = 0;
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    if (request.method != "HEAD" || refused++ > 0) return;
    reply = {.status = 429, .headers = {{"RateLimit", "\"api\";r=0;t=1"}}};
  };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(error(), "none");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(950));
}

TEST_F(Pull, GivesUpOnAServerThatStaysBroken) {
  server_.change = [](const HubRequest&, HubReply& reply) { reply = {.status = 503}; };
  EXPECT_THAT(error(), AllOf(HasSubstr("io: "), HasSubstr("the server answered 503 (tried 5 times)")));
  server_.change = [](const HubRequest&, HubReply& reply) {
    reply = {.status = 429, .headers = {{"Retry-After", "86400"}}};
  };
  EXPECT_THAT(error(), HasSubstr("try again later (tried 1 times)"));
}

TEST_F(Pull, NoServerAtAll) {
  options_.endpoint = "http://127.0.0.1:1";
  EXPECT_THAT(error(), AllOf(HasSubstr("io: "), HasSubstr("connect")));
  options_.endpoint = "file:///etc";
  EXPECT_NE(error(), "none");
}

TEST_F(Pull, Cancelled) {
  std::atomic<bool> cancel = false;
  options_.cancel = &cancel;
  server_.change = [](const HubRequest&, HubReply& reply) {
    reply = {.status = 429, .headers = {{"Retry-After", "60"}}};
  };
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    cancel = true;
  });
  EXPECT_THAT(error(), HasSubstr("cancelled: "));
  later.join();
}

// Who comes second waits for the other's lock, and takes what that one fetched.
TEST_F(Pull, AnotherProcessFetchesTheSameFile) {
  const Cache cache(options_.cache);
  const std::filesystem::path blob = cache.repo_folder(kId) / "blobs" / HubServer::sha256(weights_);
  std::filesystem::create_directories(blob.parent_path());
  std::filesystem::create_directories(cache.lock_folder(kId));
  const std::filesystem::path lock = cache.lock_folder(kId) / (HubServer::sha256(weights_) + ".lock");
  const int fd = ::open(lock.c_str(), O_RDWR | O_CREAT, 0644);
  ASSERT_EQ(::flock(fd, LOCK_EX), 0);
  std::thread other([&] {
    while (server_.count("HEAD", "model.safetensors") == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    std::ofstream(blob.string() + ".tmp") << weights_;
    std::filesystem::rename(blob.string() + ".tmp", blob);
    ::close(fd);  // unlocks
  });
  bool was_cached = false;
  progress_ = [&](const FileProgress& file) { was_cached = file.cached; };
  EXPECT_EQ(error(), "none");
  other.join();
  EXPECT_TRUE(was_cached);
  for (const HubRequest& request : server_.requests()) EXPECT_FALSE(is_weights(request));
}

// --- servers that lie

TEST_F(Pull, NamesThatClimbOutOfTheFolder) {
  for (const char* name :
       {"../../../../.bashrc", "/etc/passwd", "a/../../b", "C:/x", "..\\x", "a//b", "./x"}) {
    server_.repos[kId].files[name] = {"evil"};
    EXPECT_THAT(error(), AllOf(HasSubstr("format: "), HasSubstr("would lie outside its folder"))) << name;
    server_.repos[kId].files.erase(name);
  }
  EXPECT_FALSE(std::filesystem::exists(options_.cache));
}

TEST_F(Pull, HeadersThatMakeNoSense) {
  const auto with = [&](const std::string& name, const std::string& value) {
    server_.change = [=](const HubRequest& request, HubReply& reply) {
      if (request.method == "HEAD" && request.target.ends_with("model.safetensors"))
        reply.headers[name] = value;
    };
    return error();
  };
  EXPECT_THAT(with("X-Linked-ETag", "\"../../evil\""), HasSubstr("has no checksum as its ETag"));
  EXPECT_THAT(with("X-Linked-ETag", "\"abc\""), HasSubstr("has no checksum as its ETag"));
  EXPECT_THAT(with("X-Repo-Commit", "../../x"), HasSubstr("names no commit"));
  EXPECT_THAT(with("X-Repo-Commit", std::string(40, 'a')), HasSubstr("comes from commit aaaa"));
  EXPECT_THAT(with("X-Linked-Size", "many"), HasSubstr("does not tell the file's size"));
  EXPECT_THAT(with("X-Linked-Size", "-1"), HasSubstr("does not tell the file's size"));
  EXPECT_THAT(with("Location", "file:///etc/passwd"), HasSubstr("which is refused"));
}

TEST_F(Pull, ListsThatMakeNoSense) {
  for (const char* body : {"", "[]", "{}", R"({"sha":"x","siblings":[]})", R"({"sha":1,"siblings":[]})",
                           R"({"sha":"0123456789abcdef0123456789abcdef01234567","siblings":{}})",
                           R"({"sha":"0123456789abcdef0123456789abcdef01234567","siblings":[1]})"}) {
    server_.change = [=](const HubRequest& request, HubReply& reply) {
      if (request.target.starts_with("/api/")) reply = {.status = 200, .headers = {}, .body = body};
    };
    EXPECT_THAT(error(), HasSubstr("format: ")) << body;
  }
  server_.change = [&](const HubRequest& request, HubReply& reply) {
    reply = {.status = 302, .headers = {{"Location", request.target}}};
  };
  EXPECT_THAT(error(), HasSubstr("too many redirects"));
}

// --- without the hub

TEST_F(Pull, Offline) {
  options_.offline = true;
  EXPECT_THAT(error(), AllOf(HasSubstr("not_found: "), HasSubstr("HF_HUB_OFFLINE")));
  options_.offline = false;
  run();
  const std::size_t requests = server_.requests().size();
  options_.offline = true;
  EXPECT_EQ(run().commit, kCommit);
  EXPECT_EQ(server_.requests().size(), requests);
}

TEST_F(Pull, AHubThatIsDownDoesNotMatterForWhatIsHere) {
  run();
  std::vector<std::string> warnings;
  set_log_sink([&](LogLevel, std::string_view line) { warnings.emplace_back(line); });
  server_.change = [](const HubRequest&, HubReply& reply) { reply = {.status = 503}; };
  EXPECT_EQ(run().commit, kCommit);
  set_log_sink({});
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], HasSubstr("using what is in the cache"));
}

TEST_F(Pull, AnOldCommitDoesNotStandForANewOneThatCouldNotBeFetched) {
  run();
  server_.repos[kId].commit = std::string(40, 'b');
  server_.change = [](const HubRequest& request, HubReply& reply) {
    if (request.method == "HEAD") reply = {.status = 503};
  };
  EXPECT_THAT(error(), HasSubstr("io: "));
  EXPECT_EQ(Cache(options_.cache).find(kId)->filename(), kCommit);
}

TEST_F(Pull, ANewCommitBecomesTheRevision) {
  run();
  auto& repo = server_.repos[kId];
  repo.commit = std::string(40, 'b');
  repo.files["config.json"] = {R"({"model_type":"distilbert"})"};
  run();
  const Cache cache(options_.cache);
  EXPECT_EQ(cache.find(kId)->filename(), repo.commit);
  EXPECT_TRUE(cache.find(kId, kCommit));
  EXPECT_EQ(blobs(), 4U);  // the weights are shared
  const auto model = cache.model(kId);
  ASSERT_TRUE(model);
  ASSERT_EQ(model->revisions.size(), 2U);
  EXPECT_THAT(model->revisions[1].refs, ElementsAre("main"));
  EXPECT_THAT(model->revisions[0].refs, IsEmpty());
}

}  // namespace
}  // namespace kvasir::hub
