#include "runtime/turns.h"

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

TEST(Turns, OneCallerHasAllCores) {
  Turns turns(6);
  for (int i = 0; i < 3; ++i) {
    const Turns::Visit visit(turns);  // again right after leaving: still the only one
    EXPECT_EQ(Turns::Turn(turns).cores(), 6);
    EXPECT_EQ(Turns::Turn(turns).cores(), 6);
    EXPECT_FALSE(Turns::Turn(turns).wanted());
  }
}

// The cores of so many callers who ask at the same time, in the order of asking.
std::vector<int> shares(int cores, int callers) {
  Turns turns(cores);
  std::vector<std::unique_ptr<Turns::Visit>> visits;
  for (int i = 0; i < callers; ++i) visits.push_back(std::make_unique<Turns::Visit>(turns));
  std::vector<std::unique_ptr<Turns::Turn>> held;
  std::vector<int> shares;
  for (int left = cores; left > 0 && static_cast<int>(shares.size()) < callers; left -= shares.back()) {
    held.push_back(std::make_unique<Turns::Turn>(turns));
    EXPECT_EQ(held.back()->wanted(), callers > 1);
    shares.push_back(held.back()->cores());
  }
  return shares;
}

TEST(Turns, SeveralShareTheCoresOut) {
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
TEST(Turns, WhoIsAwayForAMomentStillCounts) {
  Turns turns(4);
  const Turns::Visit stays(turns);
  std::optional<Turns::Visit> asks(std::in_place, turns);
  EXPECT_EQ(Turns::Turn(turns).cores(), 2);
  const auto left = std::chrono::steady_clock::now();
  asks.reset();
  const int cores = Turns::Turn(turns).cores();
  const bool soon = std::chrono::steady_clock::now() - left < 1ms;
  EXPECT_TRUE(cores == 2 || !soon) << cores;
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(Turns::Turn(turns).cores(), 4);
}

TEST(Turns, KnowWhenTheyAreCrowded) {
  Turns turns(2);
  EXPECT_EQ(turns.cores(), 2);
  const Turns::Visit first(turns), second(turns);
  EXPECT_FALSE(turns.crowded());
  {
    const Turns::Visit third(turns);
    EXPECT_TRUE(turns.crowded());
  }
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(turns.crowded());
  const Turns::Turn one(turns, 1);
  EXPECT_EQ(one.cores(), 1);
  EXPECT_FALSE(one.awaited());
}

TEST(Turns, CoresAreGivenBackOneByOne) {
  Turns turns(2);
  const Turns::Visit first(turns), second(turns);
  {
    Turns::Turn turn(turns);  // 1 of 2
    Turns::Turn other(turns);
    turn.give_back_one();
    EXPECT_EQ(turn.cores(), 0);
    EXPECT_TRUE(turn.regain_one());
    EXPECT_FALSE(turn.regain_one()) << "the other has it";
    other.give_back_one();
    EXPECT_TRUE(turn.regain_one());
    EXPECT_EQ(turn.cores(), 2);
  }
  Turns::Turn again(turns), and_again(turns);  // all came back
  EXPECT_EQ(again.cores() + and_again.cores(), 2);
}

// However many callers there are, no core has two of them, and each caller's turn comes.
TEST(Turns, NeverMoreCoresThanThereAre) {
  constexpr int kCores = 3, kCallers = 8, kTurns = 300;
  Turns turns(kCores);
  std::atomic<int> used{0}, most{0}, taken{0};
  {
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < kCallers; ++caller) {
      callers.emplace_back([&] {
        const Turns::Visit visit(turns);
        for (int i = 0; i < kTurns; ++i) {
          const Turns::Turn turn(turns);
          ++taken;
          const int now = used += turn.cores();
          for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
          }
          std::this_thread::yield();
          used -= turn.cores();
        }
      });
    }
  }
  EXPECT_EQ(taken, kCallers * kTurns);
  EXPECT_LE(most, kCores);
}

}  // namespace
}  // namespace kvasir::runtime
