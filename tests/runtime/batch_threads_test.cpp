#include "runtime/batch_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace kvasir::runtime {
namespace {

TEST(BatchThreads, RunEachJobOnceOnNoMoreCoresThanThereAre) {
  for (const int cores : {1, 2, 3}) {
    CoreScheduler scheduler(cores);
    Teams teams;
    BatchThreads batch_threads(scheduler, teams);
    std::atomic<int> inside{0}, most{0}, runs{0}, other_threads{0};
    std::vector<std::jthread> callers;
    for (int thread = 0; thread < 5; ++thread) {
      callers.emplace_back([&] {
        const std::thread::id own = std::this_thread::get_id();
        for (int i = 0; i < 100; ++i) {
          int mine = 0;  // a plain int: the job's writes are to be seen afterwards
          const CoreScheduler::Caller caller(scheduler);
          batch_threads.run([&](Team& team) {
            const int now = ++inside;
            for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
            }
            EXPECT_EQ(team.pool.size(), 1);
            other_threads += std::this_thread::get_id() != own ? 1 : 0;
            mine += i;
            std::this_thread::yield();
            --inside;
          });
          runs += mine == i ? 1 : 0;
        }
      });
    }
    callers.clear();
    EXPECT_EQ(runs, 500);
    EXPECT_EQ(other_threads, 500);
    EXPECT_LE(most, cores);
  }
}

// A caller with a lease of its own gets it although there is always another job.
TEST(BatchThreads, LetOthersHaveTheirLeases) {
  CoreScheduler scheduler(1);
  Teams teams;
  BatchThreads batch_threads(scheduler, teams);
  std::atomic<bool> stop{false};
  std::vector<std::jthread> callers;
  for (int caller = 0; caller < 2; ++caller) {
    callers.emplace_back([&] {
      while (!stop) batch_threads.run([](Team&) { std::this_thread::yield(); });
    });
  }
  for (int i = 0; i < 20; ++i) {
    const CoreScheduler::Caller caller(scheduler);
    const CoreScheduler::Lease lease(scheduler);
    EXPECT_EQ(lease.cores(), 1);
  }
  stop = true;
}

TEST(BatchThreads, MayNeverBeAsked) {
  CoreScheduler scheduler(2);
  Teams teams;
  const BatchThreads batch_threads(scheduler, teams);
}

}  // namespace
}  // namespace kvasir::runtime
