// What the process may use of the machine, with control groups as they come on hosts and in containers.
#include "base/cpu.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cmath>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/cgroup.h"
#include "temporary_folder.h"

namespace kvasir::base {
namespace {

// The cores that a machine with these files grants.
double cores_of(const std::vector<std::pair<std::string, std::string>>& files) {
  const tests::TemporaryFolder root;
  for (const auto& [path, text] : files) {
    std::filesystem::create_directories((root.path() / path).parent_path());
    std::ofstream(root.path() / path) << text;
  }
  return cgroup_cores(root.path());
}

const std::string kSelf = "proc/self/cgroup", kMount = "sys/fs/cgroup/";

TEST(Cgroup, Version2) {
  const std::pair<std::string, std::string> self{kSelf, "0::/user.slice/app.scope\n"};
  EXPECT_EQ(cores_of({self, {kMount + "user.slice/app.scope/cpu.max", "150000 100000\n"}}), 1.5);
  EXPECT_EQ(cores_of({self, {kMount + "user.slice/app.scope/cpu.max", "max 100000\n"}}), 0);
  EXPECT_EQ(cores_of({self, {kMount + "user.slice/cpu.max", "300000 100000\n"}}), 3) << "set by a parent";
  EXPECT_EQ(cores_of({self,
                      {kMount + "user.slice/cpu.max", "200000 100000\n"},
                      {kMount + "user.slice/app.scope/cpu.max", "800000 100000\n"}}),
            2)
      << "the least counts";
  EXPECT_EQ(cores_of({self,
                      {kMount + "user.slice/cpu.max", "max 100000\n"},
                      {kMount + "user.slice/app.scope/cpu.max", "50000 100000\n"}}),
            0.5);
  EXPECT_EQ(cores_of({self, {kMount + "other.slice/cpu.max", "100000 100000\n"}}), 0) << "not ours";
}

TEST(Cgroup, Version1) {
  const std::pair<std::string, std::string> self{
      kSelf, "12:cpuset:/set\n4:cpu,cpuacct:/docker/0123\n1:name=systemd:/docker/0123\n"};
  for (const std::string mount : {"cpu,cpuacct/", "cpu/"}) {
    const std::string at = kMount + mount;
    EXPECT_EQ(cores_of({self,
                        {at + "docker/0123/cpu.cfs_quota_us", "250000\n"},
                        {at + "docker/0123/cpu.cfs_period_us", "100000\n"}}),
              2.5);
    EXPECT_EQ(cores_of({self, {at + "cpu.cfs_quota_us", "100000\n"}, {at + "cpu.cfs_period_us", "50000\n"}}),
              2)
        << "a container that sees its own group as the root, under the host's name";
    EXPECT_EQ(cores_of({self, {at + "cpu.cfs_quota_us", "-1\n"}, {at + "cpu.cfs_period_us", "100000\n"}}), 0);
  }
  EXPECT_EQ(cores_of({{kSelf, "3:cpuset:/a\n2:cpuacct:/a\n"},
                      {kMount + "cpu/a/cpu.cfs_quota_us", "100000\n"},
                      {kMount + "cpu/a/cpu.cfs_period_us", "100000\n"}}),
            0)
      << "another controller's group";
}

TEST(Cgroup, BothVersionsSideBySide) {
  EXPECT_EQ(cores_of({{kSelf, "4:cpu:/a\n0::/b\n"},
                      {kMount + "cpu/a/cpu.cfs_quota_us", "400000\n"},
                      {kMount + "cpu/a/cpu.cfs_period_us", "100000\n"},
                      {kMount + "b/cpu.max", "300000 100000"}}),
            3);
}

TEST(Cgroup, Containers) {
  EXPECT_EQ(cores_of({{kSelf, "0::/\n"}, {kMount + "cpu.max", "200000 100000\n"}}), 2);
  EXPECT_EQ(cores_of({{kSelf, "0::/../../x\n"}, {kMount + "cpu.max", "200000 100000\n"}}), 0);
}

TEST(Cgroup, WhatIsNotUnderstoodSetsNoLimit) {
  EXPECT_EQ(cores_of({}), 0);
  for (const char* const self : {"", "\n", "0", "0:", "::", "0::", "nonsense\n\n", "0::/a\n"}) {
    for (const char* const text :
         {"", "max", "150000", "a b", "150000 0", "150000 -1", "-1 100000", "nan 5"}) {
      EXPECT_EQ(cores_of({{kSelf, self}, {kMount + "cpu.max", text}, {kMount + "a/cpu.max", text}}), 0)
          << self << " | " << text;
    }
  }
}

TEST(Cpu, UsableCoresKeepWithinTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), CPU_COUNT(&before));
  const double quota = cgroup_cores();
  EXPECT_TRUE(quota == 0 || usable_cores() <= std::ceil(quota));
  // What a cpuset leaves shows in the mask too.
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);  // of this thread
    EXPECT_EQ(usable_cores(), 1);
  }).join();
}

}  // namespace
}  // namespace kvasir::base
