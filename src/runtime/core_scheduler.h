// Shares the cores out among the callers of an engine. A caller that is alone gets all of them for each batch
// (lowest latency); several callers divide them, each running a batch of its own (highest throughput);
// callers for whom no core is free wait in the order in which they asked.
//
//   CoreScheduler::Caller caller(scheduler);     // as long as the caller has work
//   for (…) {
//     CoreScheduler::Lease lease(scheduler);     // waits until a core is free
//     … one batch on lease.cores() threads …
//   }
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace kvasir::runtime {

class CoreScheduler {
 public:
  explicit CoreScheduler(int cores) : cores_(cores), free_(cores) {}

  int cores() const noexcept { return cores_; }
  // Whether there are more callers than cores; their batches then run on BatchThreads.
  bool has_more_callers_than_cores();

  class Caller {
   public:
    explicit Caller(CoreScheduler& scheduler) : scheduler_(scheduler) { scheduler.enter(); }
    ~Caller() { scheduler_.leave(); }
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;

   private:
    CoreScheduler& scheduler_;
  };

  // The cores for one batch. A caller holds one lease at a time; a thread of BatchThreads may hold one on
  // behalf of callers.
  class Lease {
   public:
    explicit Lease(CoreScheduler& scheduler)
        : scheduler_(scheduler), cores_(scheduler.take(scheduler.cores_)) {}
    Lease(CoreScheduler& scheduler, int most) : scheduler_(scheduler), cores_(scheduler.take(most)) {}
    ~Lease() { scheduler_.end(cores_); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    // At first all cores there are, or a power of two.
    int cores() const noexcept { return cores_; }
    // Whether other callers have work: then this lease should end soon.
    bool others_have_work() const { return scheduler_.has_others(); }
    // Whether another caller waits for a core.
    bool others_wait() const { return scheduler_.is_awaited(); }

    // Returns one core; takes one back unless none is free or others wait. Any thread may call these.
    void give_back_one() { scheduler_.give_one(cores_); }
    bool regain_one() { return scheduler_.regain_one(cores_); }

   private:
    CoreScheduler& scheduler_;
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
  int callers_ = 0, running_ = 0;       // callers that have entered, and leases
  std::deque<Clock::time_point> left_;  // when callers left that may soon be back, earliest first
  std::uint64_t next_ = 0, serving_ = 0;
};

}  // namespace kvasir::runtime
