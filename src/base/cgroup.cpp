#include "base/cgroup.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <string>
#include <string_view>

namespace kvasir::base {

namespace {

// The positive number that a text begins with, or 0: "max", -1.
double positive(std::string_view text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::isfinite(value) && value > 0 ? value : 0;
}

double read_number(const std::filesystem::path& file) {
  std::string word;
  std::ifstream(file) >> word;
  return positive(word);
}

double quota_v2(const std::filesystem::path& group) {
  std::string quota, period;
  std::ifstream(group / "cpu.max") >> quota >> period;  // "max 100000", "150000 100000"
  return positive(period) > 0 ? positive(quota) / positive(period) : 0;
}

double quota_v1(const std::filesystem::path& group) {
  const double quota = read_number(group / "cpu.cfs_quota_us"),
               period = read_number(group / "cpu.cfs_period_us");
  return period > 0 ? quota / period : 0;
}

// The least quota of a group and of those around it, up to where the hierarchy is mounted. In a container the
// group may be named as the host sees it, so that only the last of these directories, the container's, is
// there.
double least_quota(const std::filesystem::path& mount, std::string_view group,
                   double (*quota)(const std::filesystem::path&)) {
  double least = 0;
  std::filesystem::path path = std::filesystem::path(group).relative_path();
  while (true) {
    const double cores = quota(mount / path);
    if (cores > 0) least = least > 0 ? std::min(least, cores) : cores;
    if (path.empty()) return least;
    path = path.parent_path();
  }
}

bool names_cpu(std::string_view controllers) {  // "cpu,cpuacct"
  while (!controllers.empty()) {
    const std::size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "cpu") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

double cgroup_cores(const std::filesystem::path& root) {
  const std::filesystem::path mounts = root / "sys/fs/cgroup";
  double least = 0;
  const auto take = [&least](double cores) {
    if (cores > 0) least = least > 0 ? std::min(least, cores) : cores;
  };
  // Lines of hierarchy:controllers:group; version 2 has hierarchy 0 and names no controllers.
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::string_view text = line;
    const std::size_t first = text.find(':');
    const std::size_t second = first == text.npos ? first : text.find(':', first + 1);
    if (second == text.npos) continue;
    const std::string_view controllers = text.substr(first + 1, second - first - 1);
    const std::string_view group = text.substr(second + 1);
    if (group.find("/..") != group.npos) continue;  // of another cgroup namespace: not to be seen from here
    if (controllers.empty()) {
      take(least_quota(mounts, group, quota_v2));
    } else if (names_cpu(controllers)) {
      for (const char* const mount : {"cpu", "cpu,cpuacct"})
        take(least_quota(mounts / mount, group, quota_v1));
    }
  }
  return least;
}

}  // namespace kvasir::base
