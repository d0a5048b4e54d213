// Who computes when, and on how many cores: a caller who is alone gets all of them for each of his batches
// (latency), several share them out, each with a batch of his own (throughput), and those for whom there are
// none left wait in the order of asking.
//
//   Turns::Visit visit(turns);             // while a caller has work
//   for (…) {
//     Turns::Turn turn(turns);             // waits
//     … one batch on turn.cores() threads …
//   }
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace kvasir::runtime {

class Turns {
 public:
  explicit Turns(int cores) : cores_(cores), free_(cores) {}

  int cores() const noexcept { return cores_; }
  // More callers than cores? See Lanes.
  bool crowded();

  class Visit {
   public:
    explicit Visit(Turns& turns) : turns_(turns) { turns.enter(); }
    ~Visit() { turns_.leave(); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    Turns& turns_;
  };

  // During a visit, one at a time. (Or on behalf of visitors.)
  class Turn {
   public:
    explicit Turn(Turns& turns) : turns_(turns), cores_(turns.take(turns.cores_)) {}
    Turn(Turns& turns, int most) : turns_(turns), cores_(turns.take(most)) {}
    ~Turn() { turns_.end(cores_); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    // At first all there are, or a power of two of them.
    int cores() const noexcept { return cores_; }
    // Has anybody else work? Then it is time to end this turn soon.
    bool wanted() const { return turns_.has_others(); }
    // Does anybody wait for a core?
    bool awaited() const { return turns_.is_awaited(); }

    // One core less, and one more unless others want it. Any thread may call these.
    void give_back_one() { turns_.give_one(cores_); }
    bool regain_one() { return turns_.regain_one(cores_); }

   private:
    Turns& turns_;
    int cores_;
  };

 private:
  using Clock = std::chrono::steady_clock;

  void enter();
  void leave();
  int take(int most);
  void end(int cores);
  void give_one(int& cores);
  bool regain_one(int& cores);
  bool has_others();
  bool is_awaited();
  int callers();

  const int cores_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int free_;
  int callers_ = 0, running_ = 0;       // visits, and turns among them
  std::deque<Clock::time_point> left_;  // when callers left who may soon be back, earliest first
  std::uint64_t next_ = 0, serving_ = 0;
};

}  // namespace kvasir::runtime
