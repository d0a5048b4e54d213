// The share of the processor that control groups leave to this process.
#pragma once

#include <filesystem>

namespace kvasir::base {

// Cores' worth of time that the CPU quotas of this process's control group and of those around it grant, the
// least of them; 0: there is no limit. Version 2 (cpu.max) and version 1 (cpu.cfs_quota_us). Under `root` are
// proc and sys. What cannot be read or understood sets no limit.
double cgroup_cores(const std::filesystem::path& root = "/");

}  // namespace kvasir::base
