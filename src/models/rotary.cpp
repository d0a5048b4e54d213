#include "models/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kvasir/error.h"

namespace kvasir::models {

namespace {

constexpr std::size_t kRowsPerTask = 16;  // some microseconds of work

RotaryScaling::Kind scaling_kind(const base::JsonObject& json) {
  const std::string type = json.string_or("rope_type", json.string_or("type", "default"));
  if (type == "default") return RotaryScaling::Kind::kNone;
  if (type == "linear") return RotaryScaling::Kind::kLinear;
  if (type == "dynamic") return RotaryScaling::Kind::kDynamic;
  if (type == "llama3") return RotaryScaling::Kind::kLlama3;
  throw Error(ErrorCode::kUnsupported, json.origin() + ": rope_type " + type +
                                           " is not supported; known: default, linear, dynamic, llama3");
}

void read_scaling(const base::JsonObject& json, Rotary& rotary) {
  const ConfigReader reader(json);
  RotaryScaling& scaling = rotary.scaling;
  scaling.kind = scaling_kind(json);
  if (scaling.kind != RotaryScaling::Kind::kNone && !json.has("factor")) json.fail("key factor is missing");
  reader.optional("factor", scaling.factor);
  if (scaling.kind != RotaryScaling::Kind::kLlama3) return;
  reader.optional("low_freq_factor", scaling.low_freq_factor);
  reader.optional("high_freq_factor", scaling.high_freq_factor);
  reader.required("original_max_position_embeddings", scaling.original_positions, kMaxPositions);
}

// Llama 3.1's: long waves, which the model has seen too little of, are stretched.
float stretch(const RotaryScaling& scaling, float frequency) noexcept {
  const double wavelength = 2 * std::numbers::pi / static_cast<double>(frequency);
  const auto original = static_cast<double>(scaling.original_positions);
  if (wavelength < original / scaling.high_freq_factor) return frequency;
  const auto factor = static_cast<float>(scaling.factor);
  if (wavelength > original / scaling.low_freq_factor) return frequency / factor;
  const auto smooth = static_cast<float>((original / wavelength - scaling.low_freq_factor) /
                                         (scaling.high_freq_factor - scaling.low_freq_factor));
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

}  // namespace

void read_rotary(const ConfigReader& reader, Rotary& rotary) {
  reader.optional("rope_theta", rotary.theta);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!reader.json().has(key)) continue;
    const base::JsonObject json = reader.json().object(key);
    ConfigReader(json).optional("rope_theta", rotary.theta);
    read_scaling(json, rotary);
  }
}

// In float, and rounded where the reference rounds: at position 8000 a digit of the frequency is 1e-3 of the
// angle.
std::vector<float> rotary_frequencies(const Rotary& rotary, std::size_t length) {
  const RotaryScaling& scaling = rotary.scaling;
  double theta = rotary.theta;
  if (scaling.kind == RotaryScaling::Kind::kDynamic && length > rotary.positions) {
    const double stretch =
        scaling.factor * static_cast<double>(length) / static_cast<double>(rotary.positions);
    const auto dim = static_cast<double>(rotary.head_dim);
    theta *= std::pow(stretch - (scaling.factor - 1), dim / (dim - 2));
  }
  std::vector<float> result(rotary.head_dim / 2);
  for (std::size_t i = 0; i < result.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary.head_dim);
    result[i] = 1 / std::pow(static_cast<float>(theta), exponent);
    if (scaling.kind == RotaryScaling::Kind::kLinear) result[i] /= static_cast<float>(scaling.factor);
    if (scaling.kind == RotaryScaling::Kind::kLlama3) result[i] = stretch(scaling, result[i]);
  }
  return result;
}

void rotary_angles(std::span<const float> frequencies, std::size_t position, float* row) noexcept {
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const float angle = static_cast<float>(position) * frequencies[i];
    row[i] = std::cos(angle);
    row[frequencies.size() + i] = std::sin(angle);
  }
}

void rotate(ForwardContext& context, const RotateRows& call) {
  if (context.tape != nullptr) context.tape->rotate(call);
  context.pool.parallel_for(
      (call.rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task, int) noexcept {
        const std::size_t end = std::min(call.rows, (task + 1) * kRowsPerTask);
        for (std::size_t row = task * kRowsPerTask; row < end; ++row) {
          const std::size_t place = call.angle_rows.empty() ? row : call.angle_rows[row];
          const float* angles = call.angles + place * call.head_dim;
          context.kernels.fp32.rotate({.x = call.x + row * call.x_stride,
                                       .cos = angles,
                                       .sin = angles + call.head_dim / 2,
                                       .heads = call.heads,
                                       .head_dim = call.head_dim});
        }
      });
}

}  // namespace kvasir::models
