#include "runtime/core_scheduler.h"

#include <algorithm>
#include <bit>

namespace kvasir::runtime {

namespace {

// A caller that asks one question after another is away for some 0.2 ms in between, to decode the answer and
// tokenise the next question. Its share of the cores is kept for it this long: if the other callers got it,
// it would be gone for a whole batch.
constexpr std::chrono::milliseconds kAbsence{2};

}  // namespace

void CoreScheduler::enter() {
  const std::lock_guard guard(mutex_);
  ++callers_;
  if (!left_.empty()) left_.pop_front();  // taken to be the one that left
}

void CoreScheduler::leave() {
  const std::lock_guard guard(mutex_);
  --callers_;
  left_.push_back(Clock::now());
  if (left_.size() > static_cast<std::size_t>(cores_)) left_.pop_front();  // more would change nothing
}

int CoreScheduler::take(int most) {
  std::unique_lock guard(mutex_);
  const std::uint64_t ticket = next_++;
  changed_.wait(guard, [&] { return ticket == serving_ && free_ > 0; });
  ++serving_;
  // An equal share of the free cores for each caller that has none; the last gets all that are left.
  const int others = std::max(0, callers() - running_ - 1);
  const int share = std::min((free_ + others) / (others + 1), most);
  // Few sizes, because each size has threads of its own.
  const int cores = share == cores_ ? share : static_cast<int>(std::bit_floor(static_cast<unsigned>(share)));
  ++running_;
  free_ -= cores;
  if (free_ > 0) changed_.notify_all();
  return cores;
}

void CoreScheduler::end(int cores) {
  const std::lock_guard guard(mutex_);
  --running_;
  free_ += cores;
  changed_.notify_all();
}

void CoreScheduler::give_one(int& cores) {
  const std::lock_guard guard(mutex_);
  --cores;
  ++free_;
  changed_.notify_all();
}

bool CoreScheduler::regain_one(int& cores) {
  const std::lock_guard guard(mutex_);
  if (free_ == 0 || next_ != serving_) return false;  // none, or others are waiting
  --free_;
  ++cores;
  return true;
}

bool CoreScheduler::has_more_callers_than_cores() {
  const std::lock_guard guard(mutex_);
  return callers() > cores_;
}

bool CoreScheduler::has_others() {
  const std::lock_guard guard(mutex_);
  return callers_ > 1;
}

bool CoreScheduler::is_awaited() {
  const std::lock_guard guard(mutex_);
  return next_ != serving_;
}

// Including those that may soon be back.
int CoreScheduler::callers() {
  const Clock::time_point now = Clock::now();
  while (!left_.empty() && now - left_.front() > kAbsence) left_.pop_front();
  return callers_ + static_cast<int>(left_.size());
}

}  // namespace kvasir::runtime
