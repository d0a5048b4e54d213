// A fork-join pool for short parallel loops. The calling thread works too, so size() threads work in all.
//
//   base::ThreadPool pool(2);
//   pool.parallel_for(tasks, [&](std::size_t task, int worker) noexcept { … });
//
// Each thread begins with an equal share of the tasks and claims them in order, so that the data of its next
// task is next in memory (products prefetch it). A thread that has finished its share takes tasks from the
// ends of the others' shares, so a core that is slowed down by other programs simply does fewer (with fixed
// halves, 2-thread runs were slower than 1-thread ones on a shared machine). Between loops workers spin for a
// bounded time, then sleep.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

namespace kvasir::base {

class ThreadPool {
 public:
  // threads >= 1; threads - 1 are started, the caller is one of them. Throws kResourceExhausted if the system
  // refuses.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const noexcept;

  // Runs body(task, worker) for each task in [0, tasks), worker in [0, size()); returns when all are done.
  // All writes of the tasks are visible to the caller afterwards. One loop at a time: concurrent callers take
  // turns. Not reentrant. tasks < 2^32.
  template <class Body>
  void parallel_for(std::size_t tasks, const Body& body) {
    static_assert(std::is_nothrow_invocable_v<const Body&, std::size_t, int>,
                  "tasks may not throw: they cross threads");
    run(
        tasks,
        [](const void* b, std::size_t task, int worker) noexcept {
          (*static_cast<const Body*>(b))(task, worker);
        },
        &body);
  }

 private:
  using Thunk = void (*)(const void* body, std::size_t task, int worker) noexcept;
  void run(std::size_t tasks, Thunk thunk, const void* body);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::base
