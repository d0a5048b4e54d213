#include "base/thread_pool.h"

#include <atomic>
#include <cassert>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "kvasir/error.h"

namespace kvasir::base {

namespace {

// How long a thread spins for the next loop (or for the last task of this one) before it sleeps. The gaps
// between the loops of one forward pass are a few microseconds; waking a sleeper takes 5 to 50. Short enough
// to harm no neighbour: beside programs that kept both cores busy, MiniLM took 5 % more time without spinning
// and 3 % less CPU time at most (means), and a way to notice neighbours and stop spinning gained nothing.
constexpr std::chrono::microseconds kSpin{40};
constexpr int kPausesPerLook = 32;  // at the clock: 32 pauses are about 0.4 µs, a look about 25 ns

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until done() or until kSpin has passed; returns done().
template <class Done>
bool spin_until(const Done& done) noexcept {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < kPausesPerLook; ++i) {
      if (done()) return true;
      pause();
    }
  } while (std::chrono::steady_clock::now() - start < kSpin);
  return done();
}

// The unclaimed tasks [first, last) of the share that one thread begins with. Both ends are in one word, so
// that owner and helpers never claim the same task.
class alignas(64) Share {
 public:
  void set(std::size_t first, std::size_t last) noexcept {
    range_.store(word(first, last), std::memory_order_release);
  }
  bool claim_first(std::size_t& task) noexcept {
    return claim(task, [](std::uint64_t first, std::uint64_t) { return first; });
  }
  bool claim_last(std::size_t& task) noexcept {
    return claim(task, [](std::uint64_t, std::uint64_t last) { return last - 1; });
  }

 private:
  static std::uint64_t word(std::uint64_t first, std::uint64_t last) noexcept { return last << 32 | first; }

  template <class Choose>
  bool claim(std::size_t& task, const Choose& choose) noexcept {
    std::uint64_t range = range_.load(std::memory_order_relaxed);
    while (true) {
      const std::uint64_t first = range & 0xFFFFFFFF, last = range >> 32;
      if (first >= last) return false;
      task = choose(first, last);
      const std::uint64_t rest = task == first ? word(first + 1, last) : word(first, last - 1);
      if (range_.compare_exchange_weak(range, rest, std::memory_order_acquire, std::memory_order_relaxed)) {
        return true;
      }
    }
  }

  std::atomic<std::uint64_t> range_{0};
};

}  // namespace

// One loop at a time. Its fields are plain: the caller writes them while no task is claimed, a worker reads
// them only between claiming a task (acquire) and reporting it finished (release). The caller does not wait
// for workers that never claimed one, so a worker that is late or has no core costs nothing.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): apart on purpose, see below
struct ThreadPool::Impl {
  std::mutex turn;  // callers take turns

  Thunk thunk = nullptr;
  const void* body = nullptr;

  std::vector<Share> shares;  // one per thread

  // Each on its own cache line: they are written by different threads at different times.
  alignas(64) std::atomic<std::int64_t> unfinished{0};
  alignas(64) std::atomic<std::uint32_t> loops{0};  // number of loops begun; workers wait for it to change
  alignas(64) std::atomic<std::uint32_t> finished_loops{0};  // a caller that gave up spinning waits for it
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;

  // Runs tasks of the current loop until none is left: first this worker's own share from its front, then the
  // others' from their backs. True if it ran the last one to finish.
  bool help(int worker) noexcept {
    std::int64_t done = 0;
    std::size_t task = 0;
    const auto own = static_cast<std::size_t>(worker);
    while (shares[own].claim_first(task)) thunk(body, task, worker), ++done;
    for (std::size_t i = 1; i < shares.size(); ++i) {
      Share& other = shares[(own + i) % shares.size()];
      while (other.claim_last(task)) thunk(body, task, worker), ++done;
    }
    return done > 0 && unfinished.fetch_sub(done, std::memory_order_acq_rel) == done;
  }

  void work(int worker) noexcept {
    std::uint32_t seen = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      const auto changed = [&]() noexcept { return loops.load(std::memory_order_acquire) != seen; };
      if (!spin_until(changed)) loops.wait(seen, std::memory_order_acquire);
      seen = loops.load(std::memory_order_acquire);
      if (help(worker)) {
        finished_loops.fetch_add(1, std::memory_order_release);
        finished_loops.notify_one();
      }
    }
  }

  void join() noexcept {
    stop.store(true, std::memory_order_relaxed);
    loops.fetch_add(1, std::memory_order_release);
    loops.notify_all();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>()) {
  if (threads < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                "threads: " + std::to_string(threads) + " is not a number of threads; use 1 or more");
  }
  impl_->shares = std::vector<Share>(static_cast<std::size_t>(threads));
  try {
    impl_->workers.reserve(static_cast<std::size_t>(threads - 1));
    for (int worker = 1; worker < threads; ++worker) {
      impl_->workers.emplace_back([impl = impl_.get(), worker] { impl->work(worker); });
    }
  } catch (const std::exception& error) {
    const std::size_t started = impl_->workers.size();
    impl_->join();
    throw Error(ErrorCode::kResourceExhausted, "threads: the system started " + std::to_string(started + 1) +
                                                   " of " + std::to_string(threads) + " (" + error.what() +
                                                   "); ask for fewer");
  }
}

ThreadPool::~ThreadPool() {
  impl_->join();
}

int ThreadPool::size() const noexcept {
  return static_cast<int>(impl_->workers.size()) + 1;
}

void ThreadPool::run(std::size_t tasks, Thunk thunk, const void* body) {
  if (tasks == 0) return;
  assert(tasks <= 0xFFFFFFFF);  // see Share
  Impl& pool = *impl_;
  const std::lock_guard turn(pool.turn);
  if (tasks == 1 || pool.workers.empty()) {
    for (std::size_t task = 0; task < tasks; ++task) thunk(body, task, 0);
    return;
  }
  const std::uint32_t finished = pool.finished_loops.load(std::memory_order_relaxed);
  pool.thunk = thunk;
  pool.body = body;
  pool.unfinished.store(static_cast<std::int64_t>(tasks), std::memory_order_relaxed);
  const std::size_t threads = pool.shares.size();
  for (std::size_t i = 0; i < threads; ++i) {
    pool.shares[i].set(tasks * i / threads, tasks * (i + 1) / threads);
  }
  pool.loops.fetch_add(1, std::memory_order_release);
  pool.loops.notify_all();  // no system call unless a worker sleeps

  if (pool.help(0)) return;
  // A worker has the last task. Wait for its word even if `unfinished` is already 0: only then has the
  // worker left this loop for good, and the next one may use finished_loops.
  const auto over = [&]() noexcept {
    return pool.finished_loops.load(std::memory_order_acquire) != finished;
  };
  while (!spin_until(over)) pool.finished_loops.wait(finished, std::memory_order_acquire);
}

}  // namespace kvasir::base
