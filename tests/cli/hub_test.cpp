// kvasir pull, list, show and rm, and --model with an id.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "hub_server.h"
#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kId = "some-org/tiny-qa";

class Hub : public testing::Test {
 protected:
  Hub() {
    HubRepo& repo = server_.repos[kId];
    for (const char* name : {"config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}) {
      repo.files[name] = {base::read_file(tiny_model() + "/" + name)};
    }
    repo.files["model.safetensors"] = {base::read_file(tiny_model() + "/model.safetensors"), true};
  }

  Outcome kvasir(const std::vector<std::string>& args, std::vector<std::string> env = {}) const {
    std::vector<std::string> all = {"HF_HOME=" + folder_.path() + "/home",
                                    "HF_ENDPOINT=" + server_.endpoint() + "/"};
    all.insert(all.end(), env.begin(), env.end());
    return run({.args = args, .env = all});
  }
  std::string cache() const { return folder_.path() + "/home/hub"; }
  std::string snapshot() const {
    return cache() + "/models--some-org--tiny-qa/snapshots/" + server_.repos.at(kId).commit;
  }
  static void expect_refused(const Outcome& outcome, const std::string& message, int exit_code = 1) {
    EXPECT_EQ(outcome.exit_code, exit_code);
    EXPECT_THAT(outcome.err, AllOf(StartsWith("kvasir: "), HasSubstr(message)));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }

  TemporaryFolder folder_;
  HubServer server_;
};

TEST_F(Hub, ACacheThatCannotBeWrittenIsAFailure) {
  std::filesystem::create_directories(cache());
  const auto pull = [&] {
    return run({.args = {"pull", kId},
                .env = {"HF_HUB_CACHE=" + cache(), "HF_ENDPOINT=" + server_.endpoint()},
                .respect_permissions = true});
  };
  ASSERT_EQ(::chmod(cache().c_str(), 0500), 0);
  const Outcome outcome = pull();
  ASSERT_EQ(::chmod(cache().c_str(), 0700), 0);
  if (outcome.exit_code == kNotPossible) GTEST_SKIP() << "permissions do not hold for these tests";
  expect_refused(outcome, "cannot be made: Permission denied");
  EXPECT_TRUE(std::filesystem::is_empty(cache()));
}

TEST_F(Hub, FromPullToAnswerToRm) {
  const std::vector<std::string> ask = {"ask",    "-q",     "Where?", "--context", "It was in Lund.",
                                        "--json", "--model"};
  const auto ask_model = [&](const std::string& model) {
    std::vector<std::string> args = ask;
    args.push_back(model);
    return kvasir(args);
  };
  expect_refused(ask_model(kId), "some-org/tiny-qa: neither a folder nor a model in " + cache() +
                                     "; kvasir pull some-org/tiny-qa fetches one of that name");
  EXPECT_EQ(kvasir({"list"}).out, "no models in " + cache() + "\n");

  const Outcome pulled = kvasir({"pull", kId});
  EXPECT_EQ(pulled.exit_code, 0) << pulled.err;
  EXPECT_EQ(pulled.out,
            "config.json  587 bytes\ntokenizer.json  66.0 KB\ntokenizer_config.json  1.3 KB\n"
            "model.safetensors  507.0 KB\n" +
                snapshot() + "\n");
  EXPECT_EQ(pulled.err, "");
  EXPECT_THAT(kvasir({"pull", kId}).out, HasSubstr("model.safetensors  507.0 KB  (was there)\n"));
  EXPECT_EQ(kvasir({"pull", "--quiet", kId}).out, snapshot() + "\n");

  const std::size_t requests = server_.requests().size();
  const std::string answer = ask_model(tiny_model()).out;
  EXPECT_NE(answer, "");
  EXPECT_EQ(ask_model(kId).out, answer);
  EXPECT_EQ(ask_model(std::string(kId) + "@main").out, answer);
  EXPECT_EQ(ask_model(std::string(kId) + "@" + server_.repos.at(kId).commit).out, answer);
  EXPECT_EQ(run({.args = {"ask", "-q", "Where?", "--context", "It was in Lund.", "--json"},
                 .env = {"HF_HOME=" + folder_.path() + "/home", std::string("KVASIR_MODEL=") + kId}})
                .out,
            answer);
  EXPECT_EQ(kvasir({"tokenize", "Lund", "--model", kId}).exit_code, 0);

  EXPECT_EQ(kvasir({"list"}).out, "some-org/tiny-qa   574.9 KB  main\n");
  const json::value listed = json::parse(kvasir({"list", "--json"}).out);
  EXPECT_EQ(listed.at("id"), kId);
  EXPECT_EQ(listed.at("revisions").at(0).at("folder"), json::value(snapshot()));
  EXPECT_EQ(listed.at("revisions").at(0).at("complete"), true);
  const json::value shown = json::parse(kvasir({"show", kId, "--json"}).out);
  EXPECT_EQ(shown.at("model_type"), "bert");
  EXPECT_EQ(shown.at("weights"), "model.safetensors");
  EXPECT_EQ(shown.at("files").at("model.safetensors"), 507016);
  EXPECT_THAT(kvasir({"show", kId}).out, AllOf(HasSubstr("family        bert\n"), HasSubstr("0.1 million\n"),
                                               HasSubstr("model.safetensors (F32)\n")));
  EXPECT_EQ(server_.requests().size(), requests);  // none of this asks the hub

  // As after a download that was interrupted.
  std::filesystem::remove(snapshot() + "/model.safetensors");
  EXPECT_THAT(kvasir({"list"}).out, HasSubstr("main (incomplete)\n"));
  EXPECT_EQ(json::parse(kvasir({"list", "--json"}).out).at("revisions").at(0).at("complete"), false);
  EXPECT_EQ(kvasir({"pull", kId}).exit_code, 0);

  EXPECT_THAT(kvasir({"rm", kId}).out, StartsWith("deleted some-org/tiny-qa, 575.0 KB"));
  expect_refused(kvasir({"rm", kId}), "some-org/tiny-qa: not in " + cache());
  expect_refused(ask_model(kId), "neither a folder nor a model");
}

TEST_F(Hub, ShowsTheDefaultModelAndFolders) {
  EXPECT_THAT(kvasir({"show"}).out, AllOf(HasSubstr("kvasir-base"), HasSubstr("22.6 million")));
  EXPECT_THAT(kvasir({"show", tiny_model("distilbert")}).out, HasSubstr("family        distilbert\n"));
  expect_refused(kvasir({"show", "/nonexistent"}), "/nonexistent/config.json");
}

TEST_F(Hub, TheEnvironmentSaysWhereAndWho) {
  server_.repos[kId].token = "hf_secret";
  expect_refused(kvasir({"pull", kId}), "if it is private, set HF_TOKEN");
  const std::string other = folder_.path() + "/other";
  EXPECT_EQ(kvasir({"pull", kId}, {"HF_TOKEN=hf_secret", "HF_HUB_CACHE=" + other}).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(other + "/models--some-org--tiny-qa/refs/main"));
  EXPECT_FALSE(std::filesystem::exists(cache() + "/models--some-org--tiny-qa/refs/main"));
  // As huggingface_hub's login leaves it.
  std::filesystem::create_directories(folder_.path() + "/home");
  folder_.file("home/token", "hf_secret\n");
  EXPECT_EQ(kvasir({"pull", kId}).exit_code, 0);
  EXPECT_EQ(kvasir({"pull", kId}, {"HF_TOKEN=wrong"}).exit_code, 1);
  expect_refused(kvasir({"pull", kId}, {"HF_TOKEN=a\nb: c"}), "(HF_TOKEN) holds what no token does");
  // Without HF_HOME: below XDG_CACHE_HOME, then below HOME.
  const std::vector<std::string> offline = {"HF_HOME", "HF_HUB_OFFLINE=1"};
  const auto with = [&](std::vector<std::string> env) {
    env.insert(env.end(), offline.begin(), offline.end());
    return kvasir({"pull", kId}, env);
  };
  expect_refused(with({"XDG_CACHE_HOME=/tmp/x"}), "not in /tmp/x/huggingface/hub; the hub is not asked");
  expect_refused(with({"XDG_CACHE_HOME", "HOME=/tmp/y"}), "not in /tmp/y/.cache/huggingface/hub");
}

TEST_F(Hub, Offline) {
  expect_refused(kvasir({"pull", kId}, {"HF_HUB_OFFLINE=1"}),
                 "the hub is not asked (HubOptions::offline, HF_HUB_OFFLINE)");
  EXPECT_EQ(server_.requests().size(), 0U);
  EXPECT_EQ(kvasir({"pull", kId}).exit_code, 0);
  EXPECT_EQ(kvasir({"pull", kId}, {"TRANSFORMERS_OFFLINE=yes"}).out, snapshot() + "\n");
}

TEST_F(Hub, CommandLinesThatMakeNoSense) {
  expect_refused(kvasir({"pull"}), "ID", 2);
  expect_refused(kvasir({"pull", "a/b/c"}), "a/b/c: no id of a model");
  expect_refused(kvasir({"pull", "a", "--revision", "../x"}), "no revision");
  expect_refused(kvasir({"rm", "../../x"}), "no id of a model");
  expect_refused(kvasir({"pull", "no/such"}), "no/such: no such model");
  EXPECT_EQ(folder_.names().size(), 0U);
}

TEST_F(Hub, ABarPerFileOnATerminal) {
  if (!terminals_exist()) GTEST_SKIP() << kNoTerminal;
  server_.change = [](const HubRequest& request, HubReply& reply) {
    if (request.cdn && !request.headers.contains("range")) reply.cut_after = 200000;
  };
  Terminal terminal(
      {"pull", kId},
      {.columns = 100, .env = {"HF_HOME=" + folder_.path() + "/home", "HF_ENDPOINT=" + server_.endpoint()}});
  // The second try waits for a second, and its first bytes show what there is.
  EXPECT_TRUE(terminal.wait_for("model.safetensors ["));
  EXPECT_TRUE(terminal.wait_for(" of 507.0 KB, "));
  EXPECT_TRUE(terminal.wait_for("model.safetensors  507.0 KB"));
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(Hub, CtrlCKeepsWhatWasFetched) {
  if (!terminals_exist()) GTEST_SKIP() << kNoTerminal;
  server_.change = [](const HubRequest& request, HubReply& reply) {
    if (!request.cdn) return;
    if (request.headers.contains("range")) {
      reply = {.status = 429, .headers = {{"Retry-After", "60"}}};
    } else {
      reply.cut_after = 200000;
    }
  };
  Terminal terminal({"pull", kId},
                    {.env = {"HF_HOME=" + folder_.path() + "/home", "HF_ENDPOINT=" + server_.endpoint()}});
  while (server_.count("GET", "?signature=1%2F2") < 2) ::usleep(10000);
  terminal.signal(SIGINT);
  EXPECT_EQ(terminal.finish(), 130);
  server_.change = {};
  EXPECT_EQ(kvasir({"pull", kId}).exit_code, 0);
  EXPECT_EQ(server_.requests().back().headers.at("range"), "bytes=200000-");
}

}  // namespace
}  // namespace kvasir::tests
