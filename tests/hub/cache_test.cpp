// The cache as other programs write it, names, checksums.
#include "hub/cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "hub/checksum.h"
#include "hub/names.h"
#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::hub {
namespace {

using testing::ElementsAre;
using tests::TemporaryFolder;

// A cache with what the layout allows: several refs, folders in a snapshot, other kinds of repositories,
// downloads that were cut.
struct FullCache {
  TemporaryFolder folder;
  Cache cache{folder.path()};
  std::string commit = "5b8e1c0a7d4f3e2b1a09f8e7d6c5b4a392817060";

  FullCache() {
    const auto write = [&](const std::string& path, const std::string& bytes) {
      std::filesystem::create_directories((folder / path).parent_path());
      std::ofstream(folder / path, std::ios::binary) << bytes;
    };
    const std::string repo = "models--deepset--tiny/";
    write(repo + "blobs/2ee404d32d2e5c5fd87e5dc3d5cb5dfb0ae3fd4b", R"({"model_type":"bert"})");
    write(repo + "blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b", "{}");
    write(repo + "blobs/9e26dfeeb6e641a33dae4961196235bdb965b21c.incomplete", "x");
    write(repo + "refs/main", commit);
    write(repo + "refs/refs/pr/3", commit);
    write(repo + ".no_exist/" + commit + "/adapter_config.json", "");
    link(repo + "snapshots/" + commit + "/config.json",
         "../../blobs/2ee404d32d2e5c5fd87e5dc3d5cb5dfb0ae3fd4b");
    link(repo + "snapshots/" + commit + "/1_Pooling/config.json",
         "../../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b");
    write(".locks/models--deepset--tiny/2ee404d32d2e5c5fd87e5dc3d5cb5dfb0ae3fd4b.lock", "");
    write("models--no-snapshot/refs/main", commit);
    write("datasets--squad/refs/main", commit);
    write("version.txt", "1");
  }
  void link(const std::string& path, const std::string& target) const {
    std::filesystem::create_directories((folder / path).parent_path());
    std::filesystem::create_symlink(target, folder / path);
  }
};

TEST(Cache, FindsWhatOthersWrote) {
  const FullCache recorded;
  const auto found = recorded.cache.find("deepset/tiny");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->filename(), recorded.commit);
  EXPECT_EQ(recorded.cache.find("deepset/tiny", "refs/pr/3"), found);
  EXPECT_EQ(recorded.cache.find("deepset/tiny", recorded.commit), found);
  EXPECT_FALSE(recorded.cache.find("deepset/tiny", "v1"));
  EXPECT_FALSE(recorded.cache.find("deepset/tiny", std::string(40, '0')));
  EXPECT_FALSE(recorded.cache.find("deepset/other"));
  EXPECT_FALSE(recorded.cache.find("no-snapshot"));
  EXPECT_THROW(recorded.cache.find("../x"), Error);
  EXPECT_THROW(recorded.cache.find("deepset/tiny", "../../x"), Error);
  std::ofstream(recorded.folder / "models--deepset--tiny/refs/main") << recorded.commit << "\n";
  EXPECT_EQ(recorded.cache.find("deepset/tiny"), found);
  std::ofstream(recorded.folder / "models--deepset--tiny/refs/main") << "../../../../etc";
  EXPECT_FALSE(recorded.cache.find("deepset/tiny"));
}

// What the Python client left behind (tests/data/hub/layout.txt): links cannot be stored everywhere, so they
// are made here.
TEST(Cache, FindsWhatThePythonClientWrote) {
  const TemporaryFolder folder;
  std::ifstream layout(std::filesystem::path(KVASIR_TEST_DATA) / "hub/layout.txt");
  int links = 0;
  for (std::string line; std::getline(layout, line);) {
    const std::size_t arrow = line.find(" -> "), equals = line.find(" = ");
    const std::filesystem::path path = folder / line.substr(0, std::min(arrow, equals));
    std::filesystem::create_directories(path.parent_path());
    if (arrow != std::string::npos) {
      std::filesystem::create_symlink(line.substr(arrow + 4), path);
      ++links;
    } else {
      std::ofstream(path) << (equals == std::string::npos ? "blob" : line.substr(equals + 3));
    }
  }
  EXPECT_EQ(links, 4);
  const Cache cache(folder.path());
  const auto found = cache.find("some-org/tiny-qa");
  ASSERT_TRUE(found);
  EXPECT_TRUE(std::filesystem::exists(*found / "model.safetensors"));
  ASSERT_EQ(cache.models().size(), 1U);
  const CachedModel model = cache.models()[0];
  EXPECT_EQ(model.id, "some-org/tiny-qa");
  EXPECT_EQ(model.revisions.at(0).files.size(), 4U);
  EXPECT_THAT(model.revisions.at(0).refs, ElementsAre("main"));
}

TEST(Cache, ListsModels) {
  const FullCache recorded;
  const std::vector<CachedModel> models = recorded.cache.models();
  ASSERT_EQ(models.size(), 1U);
  EXPECT_EQ(models[0].id, "deepset/tiny");
  EXPECT_EQ(models[0].size, 21U + 2 + 1);
  ASSERT_EQ(models[0].revisions.size(), 1U);
  EXPECT_THAT(models[0].revisions[0].refs, testing::UnorderedElementsAre("main", "refs/pr/3"));
  ASSERT_EQ(models[0].revisions[0].files.size(), 2U);
  EXPECT_EQ(models[0].revisions[0].files[1].name, "config.json");
  EXPECT_EQ(models[0].revisions[0].files[1].size, 21U);
  EXPECT_TRUE(Cache(recorded.folder / "nothing").models().empty());
}

TEST(Cache, Removes) {
  const FullCache recorded;
  EXPECT_EQ(recorded.cache.remove("deepset/tiny"), 21U + 2 + 1 + 80);
  EXPECT_FALSE(std::filesystem::exists(recorded.folder / "models--deepset--tiny"));
  EXPECT_FALSE(std::filesystem::exists(recorded.folder / ".locks/models--deepset--tiny"));
  EXPECT_TRUE(std::filesystem::exists(recorded.folder / "datasets--squad/refs/main"));
  EXPECT_THROW(recorded.cache.remove("deepset/tiny"), Error);
  EXPECT_THROW(recorded.cache.remove("../.."), Error);
}

TEST(Names, RepoIds) {
  for (const char* id : {"foo", "foo/bar", "123", "Foo-BAR_foo.bar123", "bert-large-uncased"}) {
    EXPECT_TRUE(is_repo_id(id)) << id;
    EXPECT_EQ(repo_id_of_folder(repo_folder_name(id)), id);
  }
  for (const char* id :
       {"", "a/b/c", ".repo", "foo--bar", "foo.git", "a b", "foo/", "/foo", "a..b", "-a", "a-", "é"}) {
    EXPECT_FALSE(is_repo_id(id)) << id;
  }
  EXPECT_EQ(repo_folder_name("org/name"), "models--org--name");
  EXPECT_EQ(repo_id_of_folder("datasets--squad"), "");
  EXPECT_EQ(repo_id_of_folder("models--a--b--c"), "");
}

TEST(Names, SafePaths) {
  for (const char* path : {"config.json", "1_Pooling/config.json", "a..b", ".gitattributes", "a/.b"}) {
    EXPECT_TRUE(is_safe_path(path)) << path;
  }
  for (const char* path :
       {"", "/", "/x", "x/", "..", "../x", "x/../y", "x/..", ".", "./x", "x//y", "C:x", "a\\b", "a\nb"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
  EXPECT_EQ(url_quote("refs/pr/1", Slashes::kEncode), "refs%2Fpr%2F1");
  EXPECT_EQ(url_quote("a b/\u00e9?#", Slashes::kKeep), "a%20b/%C3%A9%3F%23");
}

TEST(Checksum, OfFiles) {
  const TemporaryFolder folder;
  const std::string git(40, '0'), sha256(64, '0');
  std::ofstream(folder / "abc") << "abc";
  std::ofstream(folder / "empty").close();
  // By `git hash-object` and `sha256sum`.
  EXPECT_EQ(checksum_of_file(folder / "abc", git), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
  EXPECT_EQ(checksum_of_file(folder / "empty", git), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(checksum_of_file(folder / "abc", sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(is_checksum(git));
  EXPECT_TRUE(is_checksum(sha256));
  EXPECT_FALSE(is_checksum(std::string(40, 'A')));
  EXPECT_FALSE(is_checksum(std::string(41, '0')));
  EXPECT_FALSE(is_checksum(""));
}

}  // namespace
}  // namespace kvasir::hub
