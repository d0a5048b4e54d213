// AdamW, the clipping of gradients, and learning rates over time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "train/parameters.h"

namespace kvasir::train {

enum class Scheduler { kLinear, kCosine, kConstant };
// "linear", "cosine", "constant", as Hugging Face's lr_scheduler_type. Throws kInvalidArgument.
Scheduler parse_scheduler(std::string_view name);
const char* scheduler_name(Scheduler scheduler) noexcept;

struct Schedule {
  Scheduler scheduler = Scheduler::kLinear;
  double learning_rate = 5e-5;  // the highest
  std::uint64_t warmup_steps = 0, total_steps = 0;
};
// Of the step after `done` steps (transformers' optimization.py): rises linearly from 0 during the warm-up,
// then falls to 0 at total_steps, linearly or as half a cosine, or stays. So the first step of a warm-up has
// a rate of 0.
double learning_rate(const Schedule& schedule, std::uint64_t done) noexcept;

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 0;
  double max_grad_norm = 1;  // 0: no clipping
};

// The L2 norm of all gradients, in an order that does not depend on threads.
double gradient_norm(const kernels::BackwardKernels& kernels, base::ThreadPool& pool,
                     const Parameters& parameters);

struct StepCall {
  double learning_rate = 0;
  std::uint64_t step = 1;    // counts from 1
  double gradient_norm = 0;  // for clipping
};
// Clips and applies the gradients: p and moments change, gradients do not.
void adamw_step(const kernels::BackwardKernels& kernels, base::ThreadPool& pool, const AdamWOptions& options,
                const StepCall& call, Parameters& parameters);

}  // namespace kvasir::train
