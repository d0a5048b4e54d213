// Threads that run the batches of callers when there are more callers than cores. If callers passed the cores
// on to each other, each hand-over would wake a thread that the system may have queued on a busy core while
// the free one idles: MiniLM on two cores ran 13 % fewer questions a second with four callers than with one.
// These threads keep their cores as long as there is work.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/core_scheduler.h"
#include "runtime/team.h"

namespace kvasir::runtime {

class BatchThreads {
 public:
  using Job = std::function<void(Team& team)>;  // may not throw

  // Both must outlive this.
  BatchThreads(CoreScheduler& scheduler, Teams& teams) : scheduler_(scheduler), teams_(teams) {}
  ~BatchThreads();
  BatchThreads(const BatchThreads&) = delete;
  BatchThreads& operator=(const BatchThreads&) = delete;

  // Runs the job on one of these threads, on a core of its own, in the order of the calls; returns when it is
  // done. Throws kResourceExhausted if the system starts no thread.
  void run(const Job& job);

 private:
  struct Pending {
    const Job& job;
    bool done = false;
    std::condition_variable changed = {};
  };

  void start_thread();
  void work();
  void run_jobs();

  CoreScheduler& scheduler_;
  Teams& teams_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Pending*> pending_;
  std::size_t busy_ = 0;  // threads that run jobs or are about to
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace kvasir::runtime
