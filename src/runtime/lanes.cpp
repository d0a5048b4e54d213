#include "runtime/lanes.h"

#include <string>
#include <system_error>

#include "kvasir/error.h"

namespace kvasir::runtime {

Lanes::~Lanes() {
  {
    const std::lock_guard guard(mutex_);
    stop_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Lanes::run(const Job& job) {
  Asked asked{.job = job};
  std::unique_lock guard(mutex_);
  const std::size_t idle = threads_.size() - busy_;
  if (idle <= asked_.size() && threads_.size() < static_cast<std::size_t>(turns_.cores())) start_thread();
  asked_.push_back(&asked);
  wanted_.notify_one();
  asked.changed.wait(guard, [&] { return asked.done; });
}

void Lanes::start_thread() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    if (!threads_.empty()) return;  // fewer will do
    throw Error(ErrorCode::kResourceExhausted,
                std::string("threads: the system starts no more (") + error.what() + "); ask for fewer");
  }
}

void Lanes::work() {
  std::unique_lock guard(mutex_);
  while (true) {
    wanted_.wait(guard, [&] { return stop_ || !asked_.empty(); });
    if (stop_) return;
    ++busy_;
    guard.unlock();
    run_jobs();
    guard.lock();
    --busy_;
  }
}

// On one core, until there are no more or somebody waits for a core who does not come to us.
void Lanes::run_jobs() {
  const Turns::Turn turn(turns_, 1);
  const Teams::Loan team = teams_.take(1);
  std::unique_lock guard(mutex_);
  while (!asked_.empty() && !turn.awaited()) {
    Asked& asked = *asked_.front();
    asked_.pop_front();
    guard.unlock();
    asked.job(*team);
    guard.lock();
    asked.done = true;
    asked.changed.notify_one();
  }
}

}  // namespace kvasir::runtime
