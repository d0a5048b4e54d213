// What one forward pass runs on. A model is shared and const; this belongs to one caller.
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"

namespace kvasir::models {

struct Linear;
struct LinearCall;

// Sees the products of a forward pass before they are computed; see ForwardContext::observer.
class LinearObserver {
 public:
  LinearObserver() = default;
  LinearObserver(const LinearObserver&) = delete;
  LinearObserver& operator=(const LinearObserver&) = delete;
  virtual ~LinearObserver() = default;
  virtual void observe(const Linear& linear, const LinearCall& call) = 0;
};

// What one thread has to itself: memory, and a pool without other threads, so that what runs on a pool also
// runs within a task of another.
struct Worker {
  base::ThreadPool alone{1};
  tensor::Workspace workspace;
};

struct ForwardContext {
  const kernels::Kernels& kernels;
  base::ThreadPool& pool;
  tensor::Workspace& workspace;
  std::span<Worker> workers = {};  // one per thread of the pool, or none: see in_row_chunks
  // Called on the thread that computes the product: the calling one, if there are no workers.
  LinearObserver* observer = nullptr;

  // The same pass on one of its workers.
  ForwardContext on(Worker& worker) const noexcept {
    return {.kernels = kernels,
            .pool = worker.alone,
            .workspace = worker.workspace,
            .workers = {},
            .observer = observer};
  }
};

}  // namespace kvasir::models
