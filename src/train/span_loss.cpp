#include "train/span_loss.h"

#include <algorithm>
#include <cmath>

namespace kvasir::train {

namespace {

struct Sequence {
  std::size_t begin, length;
};

Sequence sequence(const tensor::RaggedBatch& batch, std::size_t s) {
  const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
  return {.begin = begin, .length = static_cast<std::size_t>(batch.cu_seqlens[s + 1]) - begin};
}

// Clamped, as in the reference; length: does not count.
std::size_t clamped(std::int32_t position, std::size_t length) {
  return std::min(static_cast<std::size_t>(std::max(position, 0)), length);
}

// log softmax(x / temperature) in double.
void log_softmax(std::span<const float> x, std::size_t stride, double temperature, std::vector<double>& out) {
  const std::size_t count = (x.size() + stride - 1) / stride;
  out.resize(count);
  double max = -INFINITY, sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<double>(x[i * stride]) / temperature;
    max = std::max(max, out[i]);
  }
  for (const double value : out) sum += std::exp(value - max);
  for (double& value : out) value -= max + std::log(sum);
}

}  // namespace

std::size_t counted(const tensor::RaggedBatch& batch, std::span<const std::int32_t> positions) {
  std::size_t count = 0;
  for (std::size_t s = 0; s < positions.size(); ++s) {
    const std::size_t length = sequence(batch, s).length;
    count += clamped(positions[s], length) < length ? 1 : 0;
  }
  return count;
}

SpanLoss span_loss(const SpanLossCall& call, std::span<float> gradient) {
  std::ranges::fill(gradient, 0.0F);
  const bool distills = !call.teacher.start_logits.empty();
  const double alpha = distills ? static_cast<double>(call.teacher.alpha) : 0;
  const auto temperature = static_cast<double>(call.teacher.temperature);
  const std::size_t sequences = call.sequences == 0 ? call.batch.sequences() : call.sequences;
  SpanLoss result;
  std::vector<double> logs, teacher;
  for (std::size_t side = 0; side < 2; ++side) {
    const std::span<const std::int32_t> positions = side == 0 ? call.labels.start : call.labels.end;
    const std::size_t given = side == 0 ? call.counted_starts : call.counted_ends;
    const std::size_t counts = given == 0 ? counted(call.batch, positions) : given;
    const std::span<const float> teacher_logits =
        side == 0 ? call.teacher.start_logits : call.teacher.end_logits;
    for (std::size_t s = 0; s < call.batch.sequences(); ++s) {
      const auto [begin, length] = sequence(call.batch, s);
      const std::span<const float> own = call.logits.subspan(begin * 2 + side, length * 2 - 1);
      float* d = gradient.data() + begin * 2 + side;
      const std::size_t position = clamped(positions[s], length);
      if (position < length) {
        log_softmax(own, 2, 1, logs);
        const double weight = 0.5 / static_cast<double>(counts);
        result.cross_entropy -= weight * logs[position];
        for (std::size_t i = 0; i < length; ++i) {
          const double error = std::exp(logs[i]) - (i == position ? 1 : 0);
          d[i * 2] += static_cast<float>((1 - alpha) * weight * error);
        }
      }
      if (!distills) continue;
      log_softmax(own, 2, temperature, logs);
      log_softmax(teacher_logits.subspan(begin, length), 1, temperature, teacher);
      const double weight = 0.5 / static_cast<double>(sequences);
      for (std::size_t i = 0; i < length; ++i) {
        const double p = std::exp(teacher[i]);
        if (p != 0) result.divergence += weight * p * (teacher[i] - logs[i]);
        d[i * 2] += static_cast<float>(alpha * temperature * weight * (std::exp(logs[i]) - p));
      }
    }
  }
  result.loss = (1 - alpha) * result.cross_entropy + alpha * temperature * temperature * result.divergence;
  return result;
}

}  // namespace kvasir::train
