#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "kvasir/error.h"

namespace kvasir::train {

namespace {

// Numbers of one task: half of the smallest L2 holds what AdamW reads and writes of them.
constexpr std::size_t kTaskFloats = std::size_t{1} << 14;

struct Piece {
  std::size_t parameter, begin, count;
};

// Of all parameters that have a gradient.
std::vector<Piece> pieces_of(const Parameters& parameters) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    if (!parameter.trains || !parameter.has_gradient) continue;
    for (std::size_t begin = 0; begin < parameter.value.size(); begin += kTaskFloats) {
      pieces.push_back({i, begin, std::min(kTaskFloats, parameter.value.size() - begin)});
    }
  }
  return pieces;
}

}  // namespace

Scheduler parse_scheduler(std::string_view name) {
  for (const Scheduler scheduler : {Scheduler::kLinear, Scheduler::kCosine, Scheduler::kConstant}) {
    if (name == scheduler_name(scheduler)) return scheduler;
  }
  throw Error(ErrorCode::kInvalidArgument, "unknown learning rate scheduler \"" + std::string(name) +
                                               "\"; use linear, cosine or constant");
}

const char* scheduler_name(Scheduler scheduler) noexcept {
  switch (scheduler) {
    case Scheduler::kLinear:
      return "linear";
    case Scheduler::kCosine:
      return "cosine";
    case Scheduler::kConstant:
      return "constant";
  }
  return "unknown";
}

double learning_rate(const Schedule& schedule, std::uint64_t done) noexcept {
  const auto step = static_cast<double>(done), warmup = static_cast<double>(schedule.warmup_steps);
  if (done < schedule.warmup_steps) return schedule.learning_rate * step / std::max(1.0, warmup);
  const double rest = std::max(1.0, static_cast<double>(schedule.total_steps) - warmup);
  switch (schedule.scheduler) {
    case Scheduler::kConstant:
      return schedule.learning_rate;
    case Scheduler::kCosine:
      return schedule.learning_rate *
             std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * (step - warmup) / rest)));
    case Scheduler::kLinear:
      return schedule.learning_rate *
             std::max(0.0, (static_cast<double>(schedule.total_steps) - step) / rest);
  }
  return schedule.learning_rate;
}

double gradient_norm(const kernels::BackwardKernels& kernels, base::ThreadPool& pool,
                     const Parameters& parameters) {
  const std::vector<Piece> pieces = pieces_of(parameters);
  std::vector<double> squares(pieces.size());
  pool.parallel_for(pieces.size(), [&](std::size_t i, int) noexcept {
    const Piece& piece = pieces[i];
    const float* gradient = parameters.all()[piece.parameter].gradient.data();
    squares[i] = kernels.sum_of_squares(gradient + piece.begin, piece.count);
  });
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum);
}

void adamw_step(const kernels::BackwardKernels& kernels, base::ThreadPool& pool, const AdamWOptions& options,
                const StepCall& call, Parameters& parameters) {
  for (Parameter& parameter : parameters.all()) {
    if (!parameter.trains || !parameter.has_gradient || parameter.m.size() > 0) continue;
    for (tensor::Buffer<float>* moment : {&parameter.m, &parameter.v}) {
      *moment = tensor::Buffer<float>(parameter.value.size());
      std::ranges::fill(moment->span(), 0.0F);
    }
  }
  // torch.nn.utils.clip_grad_norm_
  const double clip =
      options.max_grad_norm > 0 ? std::min(1.0, options.max_grad_norm / (call.gradient_norm + 1e-6)) : 1;
  const auto step = static_cast<double>(call.step);
  const double correction1 = 1 - std::pow(options.beta1, step),
               correction2 = 1 - std::pow(options.beta2, step);
  const std::vector<Piece> pieces = pieces_of(parameters);
  pool.parallel_for(pieces.size(), [&](std::size_t i, int) noexcept {
    const Piece& piece = pieces[i];
    Parameter& parameter = parameters.all()[piece.parameter];
    const double rate = call.learning_rate * parameter.learning_rate_factor;
    const double decay = parameter.decays ? 1 - rate * options.weight_decay : 1;
    kernels.adamw({.p = parameter.value.data() + piece.begin,
                   .m = parameter.m.data() + piece.begin,
                   .v = parameter.v.data() + piece.begin,
                   .gradient = parameter.gradient.data() + piece.begin,
                   .count = piece.count,
                   .gradient_scale = static_cast<float>(clip),
                   .decay = static_cast<float>(decay),
                   .beta1 = static_cast<float>(options.beta1),
                   .beta2 = static_cast<float>(options.beta2),
                   .step_size = static_cast<float>(rate / correction1),
                   .inverse_root2 = static_cast<float>(1 / std::sqrt(correction2)),
                   .epsilon = static_cast<float>(options.epsilon)});
  });
}

}  // namespace kvasir::train
