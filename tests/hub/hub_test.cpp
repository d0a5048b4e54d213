// kvasir/hub.h, and models that are loaded by their names.
#include "kvasir/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "hub_server.h"
#include "kvasir/generator.h"
#include "kvasir/reader.h"
#include "temporary_folder.h"

namespace kvasir {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

const std::string kCommit = tests::HubRepo().commit;

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return std::string(error_code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

class Hub : public testing::Test {
 protected:
  Hub() {
    offer("some-org/tiny-qa", "encoders-qa/bert-uncased");
    offer("tiny-llama", "decoders/llama-gqa");
  }

  void offer(const std::string& id, const std::string& folder) {
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::path(KVASIR_TEST_DATA) / folder)) {
      const std::string name = entry.path().filename().string();
      server_.repos[id].files[name] = {base::read_file(entry.path()), name.ends_with(".safetensors")};
    }
  }
  HubOptions options() const { return {.cache = cache_, .endpoint = server_.endpoint() + "/"}; }

  tests::TemporaryFolder folder_;
  std::filesystem::path cache_ = folder_.path() / "hub";
  tests::HubServer server_;
};

TEST_F(Hub, AModelIsFetchedAndLoadedByItsName) {
  const auto load = [&](const std::string& name) { return Reader::load(name, {.hub_cache = cache_}); };
  EXPECT_EQ(error_of([&] { load("some-org/tiny-qa"); }),
            "not_found: some-org/tiny-qa: neither a folder nor a model in " + cache_.string() +
                "; kvasir pull some-org/tiny-qa fetches one of that name");
  EXPECT_TRUE(server_.requests().empty());

  const PulledModel pulled = pull_model("some-org/tiny-qa", options());
  EXPECT_EQ(pulled.commit, kCommit);
  EXPECT_EQ(resolve_model("some-org/tiny-qa", options()), pulled.folder);
  EXPECT_EQ(resolve_model("some-org/tiny-qa@" + kCommit, options()), pulled.folder);
  const std::size_t requests = server_.requests().size();
  for (const std::string& name : {std::string("some-org/tiny-qa"), "some-org/tiny-qa@" + kCommit}) {
    const Reader reader = load(name);
    EXPECT_EQ(reader.family(), "bert");
    EXPECT_EQ(reader.ask("Where?", reader.prepare("It was signed in Lund.")).answers.size(), 1U);
  }
  EXPECT_EQ(server_.requests().size(), requests);
  EXPECT_THAT(error_of([&] { load("some-org/tiny-qa@other"); }),
              AllOf(HasSubstr("not_found: "), HasSubstr("kvasir pull some-org/tiny-qa@other")));
}

TEST_F(Hub, ALanguageModelIsLoadedByItsName) {
  const GeneratorOptions here = {.threads = 1, .hub_cache = cache_};
  EXPECT_THAT(error_of([&] { Generator::load("tiny-llama", here); }), HasSubstr("kvasir pull tiny-llama"));
  pull_model("tiny-llama", options());
  EXPECT_EQ(Generator::load("tiny-llama", here).family(), "llama");
}

TEST_F(Hub, PathsStayPaths) {
  EXPECT_EQ(resolve_model(folder_.path(), options()), folder_.path());
  for (const char* path : {"", "/no/such/folder", "./folder", "a/b/c", "model.gguf", "folder/model.gguf"}) {
    EXPECT_EQ(resolve_model(path, options()), path);
  }
  EXPECT_THAT(error_of([&] { resolve_model("some-org/tiny-qa@../..", options()); }),
              HasSubstr("invalid_argument: "));
}

TEST_F(Hub, ProgressTellsOfEachFile) {
  HubOptions watched = options();
  std::vector<std::string> files, cached;
  watched.progress = [&](const FileProgress& file) {
    if (file.done != file.total) return;
    files.push_back(file.name);
    if (file.cached) cached.push_back(file.name);
  };
  pull_model("some-org/tiny-qa", watched);
  EXPECT_THAT(files,
              AllOf(Contains("config.json"), Contains("tokenizer.json"), Contains("model.safetensors")));
  EXPECT_TRUE(cached.empty());
  pull_model("some-org/tiny-qa", watched);
  EXPECT_EQ(files.size(), 2 * cached.size());

  watched.cache = folder_.path() / "other";
  watched.progress = [](const FileProgress&) { throw std::runtime_error("enough"); };
  EXPECT_THROW(pull_model("some-org/tiny-qa", watched), std::runtime_error);
}

TEST_F(Hub, OptionsReachTheHub) {
  server_.repos.at("some-org/tiny-qa").token = "hf_secret";
  EXPECT_THAT(error_of([&] { pull_model("some-org/tiny-qa", options()); }), HasSubstr("not_found: "));
  HubOptions known = options();
  known.token = "hf_secret";
  EXPECT_EQ(pull_model("some-org/tiny-qa", known).commit, kCommit);
  known.token = "hf_secret\r\nHost: elsewhere";
  EXPECT_THAT(error_of([&] { pull_model("some-org/tiny-qa", known); }), HasSubstr("invalid_argument: "));

  HubOptions offline = options();
  offline.offline = true;
  EXPECT_EQ(pull_model("some-org/tiny-qa", offline).commit, kCommit);
  EXPECT_THAT(error_of([&] { pull_model("tiny-llama", offline); }),
              AllOf(HasSubstr("not_found: "), HasSubstr("HubOptions::offline")));

  const std::atomic<bool> cancel = true;
  HubOptions cancelled = options();
  cancelled.cancel = &cancel;
  EXPECT_THAT(error_of([&] { pull_model("tiny-llama", cancelled); }), HasSubstr("cancelled: "));
  EXPECT_THAT(error_of([&] { pull_model("no id of a model", options()); }), HasSubstr("invalid_argument: "));
}

TEST(HubCache, ThatOfTheUserNeedsNoEnvironment) {
  EXPECT_TRUE(default_hub_cache().is_absolute());
  EXPECT_TRUE(default_hub_cache().string().ends_with("/.cache/huggingface/hub"));
}

}  // namespace
}  // namespace kvasir
