#include "runtime/core_scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace kvasir::runtime {
namespace {

using namespace std::chrono_literals;

TEST(CoreScheduler, OneCallerHasAllCores) {
  CoreScheduler scheduler(6);
  for (int i = 0; i < 3; ++i) {
    const CoreScheduler::Caller caller(scheduler);  // again right after leaving: still the only one
    EXPECT_EQ(CoreScheduler::Lease(scheduler).cores(), 6);
    EXPECT_EQ(CoreScheduler::Lease(scheduler).cores(), 6);
    EXPECT_FALSE(CoreScheduler::Lease(scheduler).others_have_work());
  }
}

// The cores of so many callers who ask at the same time, in the order of asking.
std::vector<int> shares(int cores, int callers) {
  CoreScheduler scheduler(cores);
  std::vector<std::unique_ptr<CoreScheduler::Caller>> entered;
  for (int i = 0; i < callers; ++i) entered.push_back(std::make_unique<CoreScheduler::Caller>(scheduler));
  std::vector<std::unique_ptr<CoreScheduler::Lease>> held;
  std::vector<int> shares;
  for (int left = cores; left > 0 && static_cast<int>(shares.size()) < callers; left -= shares.back()) {
    held.push_back(std::make_unique<CoreScheduler::Lease>(scheduler));
    EXPECT_EQ(held.back()->others_have_work(), callers > 1);
    shares.push_back(held.back()->cores());
  }
  return shares;
}

TEST(CoreScheduler, SeveralShareTheCoresOut) {
  using Shares = std::vector<int>;
  EXPECT_EQ(shares(1, 1), (Shares{1}));
  EXPECT_EQ(shares(1, 3), (Shares{1}));
  EXPECT_EQ(shares(2, 2), (Shares{1, 1}));
  EXPECT_EQ(shares(2, 4), (Shares{1, 1}));
  EXPECT_EQ(shares(3, 2), (Shares{2, 1}));
  EXPECT_EQ(shares(4, 3), (Shares{2, 1, 1}));
  EXPECT_EQ(shares(6, 2), (Shares{2, 4})) << "few sizes of teams, but no core is left";
  EXPECT_EQ(shares(16, 2), (Shares{8, 8}));
  EXPECT_EQ(shares(16, 3), (Shares{4, 4, 8}));
  EXPECT_EQ(shares(16, 9), (Shares{2, 2, 2, 2, 2, 2, 2, 1, 1}));
}

// Cores of a caller who asks again at once are kept for him, but not for long.
TEST(CoreScheduler, WhoIsAwayForAMomentStillCounts) {
  CoreScheduler scheduler(4);
  const CoreScheduler::Caller stays(scheduler);
  std::optional<CoreScheduler::Caller> asks(std::in_place, scheduler);
  EXPECT_EQ(CoreScheduler::Lease(scheduler).cores(), 2);
  const auto left = std::chrono::steady_clock::now();
  asks.reset();
  const int cores = CoreScheduler::Lease(scheduler).cores();
  const bool soon = std::chrono::steady_clock::now() - left < 1ms;
  EXPECT_TRUE(cores == 2 || !soon) << cores;
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(CoreScheduler::Lease(scheduler).cores(), 4);
}

TEST(CoreScheduler, KnowsWhenItHasMoreCallersThanCores) {
  CoreScheduler scheduler(2);
  EXPECT_EQ(scheduler.cores(), 2);
  const CoreScheduler::Caller first(scheduler), second(scheduler);
  EXPECT_FALSE(scheduler.has_more_callers_than_cores());
  {
    const CoreScheduler::Caller third(scheduler);
    EXPECT_TRUE(scheduler.has_more_callers_than_cores());
  }
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(scheduler.has_more_callers_than_cores());
  const CoreScheduler::Lease one(scheduler, 1);
  EXPECT_EQ(one.cores(), 1);
  EXPECT_FALSE(one.others_wait());
}

TEST(CoreScheduler, CoresAreGivenBackOneByOne) {
  CoreScheduler scheduler(2);
  const CoreScheduler::Caller first(scheduler), second(scheduler);
  {
    CoreScheduler::Lease lease(scheduler);  // 1 of 2
    CoreScheduler::Lease other(scheduler);
    lease.give_back_one();
    EXPECT_EQ(lease.cores(), 0);
    EXPECT_TRUE(lease.regain_one());
    EXPECT_FALSE(lease.regain_one()) << "the other has it";
    other.give_back_one();
    EXPECT_TRUE(lease.regain_one());
    EXPECT_EQ(lease.cores(), 2);
  }
  CoreScheduler::Lease again(scheduler), and_again(scheduler);  // all came back
  EXPECT_EQ(again.cores() + and_again.cores(), 2);
}

// However many callers there are, no core has two of them, and each caller gets its lease.
TEST(CoreScheduler, NeverMoreCoresThanThereAre) {
  constexpr int kCores = 3, kCallers = 8, kTurns = 300;
  CoreScheduler scheduler(kCores);
  std::atomic<int> used{0}, most{0}, taken{0};
  {
    std::vector<std::jthread> callers;
    for (int thread = 0; thread < kCallers; ++thread) {
      callers.emplace_back([&] {
        const CoreScheduler::Caller caller(scheduler);
        for (int i = 0; i < kTurns; ++i) {
          const CoreScheduler::Lease lease(scheduler);
          ++taken;
          const int now = used += lease.cores();
          for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
          }
          std::this_thread::yield();
          used -= lease.cores();
        }
      });
    }
  }
  EXPECT_EQ(taken, kCallers * kTurns);
  EXPECT_LE(most, kCores);
}

}  // namespace
}  // namespace kvasir::runtime
