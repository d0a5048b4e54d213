// Most machines have one node: there it is shown that nothing breaks, not that anything gets faster.
#include "base/numa.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <fstream>

#include "temporary_folder.h"

namespace kvasir::base {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Numa, ReadsTheKernelsLists) {
  EXPECT_THAT(parse_node_list("0"), ElementsAre(0));
  EXPECT_THAT(parse_node_list("0-2,5"), ElementsAre(0, 1, 2, 5));
  EXPECT_THAT(parse_node_list("1,3-4"), ElementsAre(1, 3, 4));
  for (const char* const bad :
       {"", "-", "a", "0-", "0,", "0;1", "-1", "0-x", "2-1", "9999", "0-99999999999"}) {
    EXPECT_THAT(parse_node_list(bad), IsEmpty()) << bad;
  }
}

TEST(Numa, NodesAreThoseWithMemoryThatAreAllowed) {
  const tests::TemporaryFolder root;
  EXPECT_THAT(memory_nodes(root.path()), IsEmpty());
  std::filesystem::create_directories(root / "sys/devices/system/node");
  std::filesystem::create_directories(root / "proc/self");
  std::ofstream(root / "sys/devices/system/node/has_memory") << "0,2-3\n";
  EXPECT_THAT(memory_nodes(root.path()), IsEmpty());
  std::ofstream(root / "proc/self/status") << "Name:\tx\nMems_allowed_list:\t0-2\nThreads:\t1\n";
  EXPECT_THAT(memory_nodes(root.path()), ElementsAre(0, 2));
}

TEST(Numa, InterleavingKeepsWhatMemoryHolds) {
  const std::vector<int> nodes = memory_nodes();
  if (nodes.empty()) GTEST_SKIP() << "the system does not tell its nodes";
  for (const std::size_t size : {0U, 1U, 4096U, 10'000'000U}) {
    for (const std::size_t offset : {0U, 1U, 64U}) {
      if (offset > size) continue;
      std::vector<std::byte> memory(size);
      for (std::size_t i = 0; i < size; ++i) memory[i] = static_cast<std::byte>(i * 7 + i / 4096);
      const bool done = interleave(std::span(memory).subspan(offset), nodes);
      // Containers may forbid the call.
      EXPECT_TRUE(done || errno == EPERM || errno == ENOSYS) << errno;
      for (std::size_t i = 0; i < size; i += 97) {
        ASSERT_EQ(memory[i], static_cast<std::byte>(i * 7 + i / 4096)) << i;
      }
    }
  }
  const std::vector<std::byte> memory(100'000);
  EXPECT_FALSE(interleave(memory, std::array{1023})) << "no such node";
}

}  // namespace
}  // namespace kvasir::base
