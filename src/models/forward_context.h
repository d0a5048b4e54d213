// The threads and memory that one forward pass uses. A model is shared and const; this belongs to one caller.
#pragma once

#include <span>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "models/tape.h"
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

// Memory and a pool without other threads for one thread, so that code that runs on a pool can also run
// within a task of another pool.
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
  // In training: records the steps, and has the memory for their results. Workers have none.
  Tape* tape = nullptr;

  // Memory of a slot, as Workspace::floats. With a tape each call gets memory of its own.
  float* floats(std::size_t slot, std::size_t size) const {
    return tape != nullptr ? tape->floats(size) : workspace.floats(slot, size);
  }
  // The same pass without recording.
  ForwardContext without_tape() const noexcept {
    ForwardContext context = *this;
    context.tape = nullptr;
    return context;
  }
  // The context of the same pass on one of its workers.
  ForwardContext on(Worker& worker) const noexcept {
    return {.kernels = kernels,
            .pool = worker.alone,
            .workspace = worker.workspace,
            .workers = {},
            .observer = observer};
  }
};

}  // namespace kvasir::models
