// The share of the processor that control groups leave to this process.
#pragma once

#include <filesystem>

namespace kvasir::base {

// The number of cores that CPU quotas leave to this process: the smallest quota of its control group and of
// the groups that enclose it; 0: no limit. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us). `root` is
// the folder that holds proc and sys. Files that cannot be read or parsed set no limit.
double cgroup_cores(const std::filesystem::path& root = "/");

}  // namespace kvasir::base
