#include "runtime/batch_threads.h"

#include <string>
#include <system_error>

#include "kvasir/error.h"

namespace kvasir::runtime {

BatchThreads::~BatchThreads() {
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BatchThreads::run(const Job& job) {
  Pending own{.job = job};
  std::unique_lock guard(mutex_);
  const std::size_t idle = threads_.size() - busy_;
  if (idle <= pending_.size() && threads_.size() < static_cast<std::size_t>(scheduler_.cores()))
    start_thread();
  pending_.push_back(&own);
  changed_.notify_one();
  own.changed.wait(guard, [&] { return own.done; });
}

void BatchThreads::start_thread() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    if (!threads_.empty()) return;  // fewer will do
    throw Error(ErrorCode::kResourceExhausted,
                std::string("threads: the system starts no more (") + error.what() + "); ask for fewer");
  }
}

void BatchThreads::work() {
  std::unique_lock guard(mutex_);
  while (true) {
    changed_.wait(guard, [&] { return stop_ || !pending_.empty(); });
    if (stop_) return;
    ++busy_;
    guard.unlock();
    run_jobs();
    guard.lock();
    --busy_;
  }
}

// On one core, until there are no more jobs or a caller waits for a core without these threads.
void BatchThreads::run_jobs() {
  const CoreScheduler::Lease lease(scheduler_, 1);
  const Teams::Loan team = teams_.take(1);
  std::unique_lock guard(mutex_);
  while (!pending_.empty() && !lease.others_wait()) {
    Pending& next = *pending_.front();
    pending_.pop_front();
    guard.unlock();
    next.job(*team);
    guard.lock();
    next.done = true;
    next.changed.notify_one();
  }
}

}  // namespace kvasir::runtime
