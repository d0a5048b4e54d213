#include "runtime/turns.h"

#include <algorithm>
#include <bit>

namespace kvasir::runtime {

namespace {

// A caller who asks one question after another is away for some 0.2 ms in between, to decode the answer and
// tokenise the next. His cores wait for him so long: given to the others, who then run on all of them, they
// would be gone for a whole batch.
constexpr std::chrono::milliseconds kAbsence{2};

}  // namespace

void Turns::enter() {
  const std::lock_guard guard(mutex_);
  ++callers_;
  if (!left_.empty()) left_.pop_front();  // it is he, as far as we know
}

void Turns::leave() {
  const std::lock_guard guard(mutex_);
  --callers_;
  left_.push_back(Clock::now());
  if (left_.size() > static_cast<std::size_t>(cores_)) left_.pop_front();  // more change nothing
}

int Turns::take(int most) {
  std::unique_lock guard(mutex_);
  const std::uint64_t ticket = next_++;
  changed_.wait(guard, [&] { return ticket == serving_ && free_ > 0; });
  ++serving_;
  // Of the cores that are free, for one of those who have none; all of them to the last.
  const int others = std::max(0, callers() - running_ - 1);
  const int share = std::min((free_ + others) / (others + 1), most);
  // Few sizes, because each has threads of its own.
  const int cores = share == cores_ ? share : static_cast<int>(std::bit_floor(static_cast<unsigned>(share)));
  ++running_;
  free_ -= cores;
  if (free_ > 0) changed_.notify_all();
  return cores;
}

void Turns::end(int cores) {
  const std::lock_guard guard(mutex_);
  --running_;
  free_ += cores;
  changed_.notify_all();
}

void Turns::give_one(int& cores) {
  const std::lock_guard guard(mutex_);
  --cores;
  ++free_;
  changed_.notify_all();
}

bool Turns::regain_one(int& cores) {
  const std::lock_guard guard(mutex_);
  if (free_ == 0 || next_ != serving_) return false;  // none, or others are waiting
  --free_;
  ++cores;
  return true;
}

bool Turns::crowded() {
  const std::lock_guard guard(mutex_);
  return callers() > cores_;
}

bool Turns::has_others() {
  const std::lock_guard guard(mutex_);
  return callers_ > 1;
}

bool Turns::is_awaited() {
  const std::lock_guard guard(mutex_);
  return next_ != serving_;
}

// Also those who may soon be back.
int Turns::callers() {
  const Clock::time_point now = Clock::now();
  while (!left_.empty() && now - left_.front() > kAbsence) left_.pop_front();
  return callers_ + static_cast<int>(left_.size());
}

}  // namespace kvasir::runtime
