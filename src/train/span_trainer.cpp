#include "train/span_trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvasir/error.h"

namespace kvasir::train {

namespace {

// Of the weights of a new head, as in transformers (initializer_range).
constexpr float kInitializerRange = 0.02F;

// Numbers of N(0, 1) by the Box-Muller transform of random bits.
class Normal {
 public:
  explicit Normal(std::uint64_t seed)
      : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32U) ^ 0x51ED270BU} {}

  float next() {
    const double u = uniform(), v = uniform();
    return static_cast<float>(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v));
  }

 private:
  double uniform() { return (static_cast<double>(kernels::random_bits(key_, place_++)) + 0.5) * 0x1p-32; }

  std::uint32_t key_[2];
  std::uint32_t place_ = 0;
};

}  // namespace

SpanTrainer::SpanTrainer(const formats::ModelFolder& folder, const SpanTrainerOptions& options)
    : options_(options),
      kernels_(kernels::kernels_for(options.isa)),
      pool_(options.threads == 0 ? base::usable_cores() : options.threads),
      model_(models::load_trainable_reader(folder, {.kernels = kernels_, .pool = pool_})),
      parameters_(*model_.encoder, *model_.head, model_.prefix),
      lora_(make_lora()),
      tape_({.kernels = kernels_,
             .pool = pool_,
             .parameters = parameters_,
             .pad_token_id = model_.pad_token_id,
             .lora = lora_.get()}) {
  if (!options_.freeze.empty()) frozen_ = freeze(options_.freeze, parameters_);
  if (options_.layerwise_lr_decay != 1) decay_by_layer(options_.layerwise_lr_decay, parameters_);
  if (options_.ema > 0) start_averages();
}

void SpanTrainer::start_averages() {
  for (const Parameter& parameter : parameters_.all()) {
    tensor::Buffer<float>& average = averages_.emplace_back(parameter.trains ? parameter.value.size() : 0);
    if (parameter.trains) std::ranges::copy(parameter.value, average.data());
  }
}

void SpanTrainer::update_averages() {
  const auto decay = static_cast<float>(options_.ema);
  pool_.parallel_for(averages_.size(), [&](std::size_t i, int) noexcept {
    const std::span<const float> value = parameters_.all()[i].value;
    for (std::size_t j = 0; j < averages_[i].size(); ++j) {
      averages_[i].data()[j] = decay * averages_[i].data()[j] + (1 - decay) * value[j];
    }
  });
}

// With the adapter's own options if there is one to start from, whose head then replaces the model's.
std::unique_ptr<Lora> SpanTrainer::make_lora() {
  if (model_.head_is_new) draw_head();
  const bool starts_from_adapter = !options_.adapter.empty();
  if (options_.lora.r == 0 && !starts_from_adapter) return nullptr;
  if (starts_from_adapter) {
    const double dropout = options_.lora.dropout;
    const std::size_t rank = options_.lora.r;
    options_.lora = read_lora_options(options_.adapter);
    if (rank > 0 && rank != options_.lora.r) {
      throw Error(ErrorCode::kInvalidArgument, "lora_r: " + std::to_string(rank) + " is not the rank of " +
                                                   options_.adapter.string() + ", " +
                                                   std::to_string(options_.lora.r));
    }
    if (rank > 0) options_.lora.dropout = dropout;
  }
  auto lora = std::make_unique<Lora>(options_.lora, model_, parameters_, options_.seed);
  if (starts_from_adapter) lora->load(options_.adapter, parameters_);
  return lora;
}

// The matrices of a new head; its biases are zeros, the weights of its norms ones.
void SpanTrainer::draw_head() {
  Normal normal(options_.seed);
  std::vector<float> rows;
  for (const Parameter& parameter : parameters_.all()) {
    if (!parameter.is_head || parameter.layout != Parameter::Layout::kPacked) continue;
    for (const NamedTensor& tensor : parameter.tensors) {
      rows.resize(tensor.rows * parameter.columns);
      for (float& value : rows) value = kInitializerRange * normal.next();
      parameter.write(tensor, rows.data(), parameter.value);
    }
  }
}

SpanLossCall SpanTrainer::loss_call(const SpanBatch& batch, const tensor::RaggedBatch& view,
                                    std::span<const float> logits) const {
  return {.batch = view,
          .logits = logits,
          .labels = batch.labels(),
          .teacher = {.start_logits = batch.teacher_start,
                      .end_logits = batch.teacher_end,
                      .alpha = options_.distil_alpha,
                      .temperature = options_.distil_temperature}};
}

std::span<const float> SpanTrainer::run(const BackwardTape::Pass& pass) {
  tape_.begin(pass);
  models::ForwardContext context{
      .kernels = kernels_, .pool = pool_, .workspace = workspace_, .workers = {}, .tape = &tape_};
  const std::span<float> states = model_.encoder->hidden_states(pass.batch, context);
  const std::size_t size = pass.batch.tokens() * 2;
  const std::span<float> logits(tape_.floats(size), size);
  model_.head->outputs(pass.batch, states, context, logits);
  return logits;
}

SpanLoss SpanTrainer::add_batch(const SpanBatch& batch, const Whole& whole) {
  const tensor::RaggedBatch view = batch.view();
  const std::span<const float> logits = run({.batch = view,
                                             .key = {.seed = options_.seed, .step = steps_},
                                             .examples = batch.examples,
                                             .drops = options_.dropout});
  SpanLossCall call = loss_call(batch, view, logits);
  call.counted_starts = whole.counted_starts;
  call.counted_ends = whole.counted_ends;
  call.sequences = whole.sequences;
  std::vector<float> gradient(logits.size());
  const SpanLoss loss = span_loss(call, gradient);
  tape_.backward(logits.data(), gradient);
  return loss;
}

StepResult SpanTrainer::step(double learning_rate) {
  for (const FrozenRows& part : frozen_) {
    if (!part.parameter->has_gradient) continue;
    part.parameter->write(*part.tensor, std::vector<float>(part.rows.size()).data(),
                          part.parameter->gradient.span());
  }
  const StepResult result{.gradient_norm = gradient_norm(kernels_.backward, pool_, parameters_)};
  if (!std::isfinite(result.gradient_norm)) {
    parameters_.clear_gradients();
    throw Error(ErrorCode::kDiverged, "the gradients are no numbers any more; lower the learning rate");
  }
  adamw_step(kernels_.backward, pool_, options_.adamw,
             {.learning_rate = learning_rate, .step = ++steps_, .gradient_norm = result.gradient_norm},
             parameters_);
  // Their gradients were 0, but weights also decay.
  for (const FrozenRows& part : frozen_)
    part.parameter->write(*part.tensor, part.rows.data(), part.parameter->value);
  parameters_.clear_gradients();
  if (!averages_.empty()) update_averages();
  return result;
}

// With the tape: DeBERTa projects its distances anew only then.
SpanLoss SpanTrainer::evaluate(const SpanBatch& batch) {
  const tensor::RaggedBatch view = batch.view();
  const std::span<const float> logits = run({.batch = view, .drops = false});
  std::vector<float> gradient(logits.size());
  return span_loss(loss_call(batch, view, logits), gradient);
}

}  // namespace kvasir::train
