#include "base/thread_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <type_traits>
#include <vector>

#include "kvasir/error.h"

namespace kvasir::base {
namespace {

TEST(ThreadPool, RunsEachTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const std::size_t tasks : {0U, 1U, 2U, 3U, 7U, 64U, 1000U}) {
      std::vector<int> runs(tasks, 0);  // plain ints: the pool must order our reads after the tasks' writes
      pool.parallel_for(tasks, [&](std::size_t task, int worker) noexcept {
        runs[task] += worker >= 0 && worker < threads ? 1 : 1000;
      });
      EXPECT_THAT(runs, testing::Each(1)) << threads << " threads, " << tasks << " tasks";
    }
  }
}

TEST(ThreadPool, OneWorkerRunsOneTaskAtATime) {
  ThreadPool pool(4);
  struct alignas(64) Slot {
    std::atomic<int> inside{0};
  };
  std::vector<Slot> slots(4);
  std::atomic<int> clashes{0};
  pool.parallel_for(2000, [&](std::size_t, int worker) noexcept {
    std::atomic<int>& inside = slots[static_cast<std::size_t>(worker)].inside;
    if (inside.fetch_add(1) != 0) ++clashes;
    inside.fetch_sub(1);
  });
  EXPECT_EQ(clashes, 0);
}

TEST(ThreadPool, ManySmallLoopsBackToBack) {
  ThreadPool pool(3);
  std::vector<int> data(5);
  long sum = 0;
  for (int loop = 0; loop < 20000; ++loop) {
    pool.parallel_for(data.size(), [&](std::size_t task, int) noexcept { data[task] = loop; });
    sum += std::accumulate(data.begin(), data.end(), 0L);
  }
  EXPECT_EQ(sum, 5L * 20000 * 19999 / 2);
}

TEST(ThreadPool, LoopsAfterTheWorkersFellAsleep) {
  ThreadPool pool(2);
  int runs = 0;
  for (int loop = 0; loop < 20; ++loop) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // far beyond the bounded spinning
    std::atomic<int> tasks{0};
    pool.parallel_for(4, [&](std::size_t, int) noexcept { ++tasks; });
    runs += tasks;
  }
  EXPECT_EQ(runs, 80);
}

// The caller stops spinning and sleeps until the worker reports; the worker's task is the last to end.
TEST(ThreadPool, WaitsForASlowWorker) {
  ThreadPool pool(2);
  for (int loop = 0; loop < 5; ++loop) {
    int ended = 0;
    std::atomic<bool> both{false};
    pool.parallel_for(2, [&](std::size_t, int worker) noexcept {
      if (worker == 1) {
        both = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        ended = 1;
      } else {
        while (!both) std::this_thread::yield();  // so that the worker has the other task
      }
    });
    EXPECT_EQ(ended, 1);
  }
}

TEST(ThreadPool, ConcurrentCallersTakeTurns) {
  ThreadPool pool(2);
  std::atomic<int> loops_inside{0};
  std::atomic<int> clashes{0};
  std::atomic<long> total{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int loop = 0; loop < 500; ++loop) {
        std::atomic<int> mine{0};
        pool.parallel_for(6, [&](std::size_t task, int) noexcept {
          if (mine.fetch_add(1) == 0 && loops_inside.fetch_add(1) != 0) ++clashes;
          total += static_cast<long>(task);
          if (mine.fetch_add(1) == 11) loops_inside.fetch_sub(1);
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(clashes, 0);
  EXPECT_EQ(total, 4L * 500 * 15);
}

TEST(ThreadPool, ManyPoolsComeAndGo) {
  for (int i = 0; i < 200; ++i) {
    ThreadPool pool(1 + i % 5);
    if (i % 3 == 0) continue;  // also pools that never work
    std::atomic<int> tasks{0};
    pool.parallel_for(3, [&](std::size_t, int) noexcept { ++tasks; });
    EXPECT_EQ(tasks, 3);
  }
}

TEST(ThreadPool, RefusesFewerThanOneThread) {
  for (const int threads : {0, -1}) {
    try {
      ThreadPool pool(threads);
      FAIL() << threads << " threads were accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), testing::StartsWith("threads: "));
    }
  }
}

}  // namespace
}  // namespace kvasir::base
