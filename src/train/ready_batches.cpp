#include "train/ready_batches.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kvasir/error.h"

namespace kvasir::train {

namespace {

constexpr const char* kTypes = "token_type_ids";

[[noreturn]] void refuse(const formats::SafetensorsFile& file, const std::string& what) {
  throw Error(ErrorCode::kFormat, file.file().path().string() + ": " + what);
}

const tensor::TensorView& find(const formats::SafetensorsFile& file, const char* name) {
  const auto found = file.tensors().find(name);
  if (found == file.tensors().end()) refuse(file, std::string("tensor ") + name + " is missing");
  return found->second;
}

std::int64_t integer_at(const tensor::TensorView& view, std::size_t i) {
  if (view.dtype == tensor::DType::kI64) {
    std::int64_t value = 0;
    std::memcpy(&value, view.data + i * sizeof value, sizeof value);
    return value;
  }
  std::int32_t value = 0;
  std::memcpy(&value, view.data + i * sizeof value, sizeof value);
  return value;
}

}  // namespace

ReadyBatches::ReadyBatches(const Options& options, const models::EncoderFacts& facts)
    : options_(options), file_(options.batches) {
  const tensor::Shape& shape = find(file_, "input_ids").shape;
  if (shape.size() != 3 || std::ranges::find(shape, 0) != shape.end()) {
    refuse(file_,
           "tensor input_ids has shape " + tensor::shape_text(shape) + ", expected [steps, batch, length]");
  }
  steps_ = static_cast<std::size_t>(shape[0]);
  rows_ = static_cast<std::size_t>(shape[1]);
  length_ = static_cast<std::size_t>(shape[2]);
  options_.feeds_types = options.feeds_types && file_.tensors().contains(kTypes);
  if (!options.teacher_logits.empty()) {
    teacher_ = std::make_unique<formats::SafetensorsFile>(options.teacher_logits);
    for (const char* name : {"start_logits", "end_logits"}) {
      const tensor::TensorView& view = find(*teacher_, name);
      if (view.shape == shape && view.dtype == tensor::DType::kF32) continue;
      refuse(*teacher_, std::string("tensor ") + name + " is not F32 " + tensor::shape_text(shape) +
                            ", the shape of the batches");
    }
  }
  check(facts);
  if (steps_ < options.accumulation) {
    throw Error(ErrorCode::kInvalidArgument,
                "gradient_accumulation_steps: " + std::to_string(options.accumulation) +
                    " is more than the " + std::to_string(steps_) + " batches of " +
                    options.batches.string());
  }
}

const tensor::TensorView& ReadyBatches::tensor(const char* name, const tensor::Shape& shape) const {
  const tensor::TensorView& view = find(file_, name);
  const bool is_integer = view.dtype == tensor::DType::kI64 || view.dtype == tensor::DType::kI32;
  if (!is_integer || view.shape != shape) {
    refuse(file_, std::string("tensor ") + name + " is " + tensor::dtype_name(view.dtype) + " " +
                      tensor::shape_text(view.shape) + ", expected I64 or I32 " + tensor::shape_text(shape));
  }
  return view;
}

void ReadyBatches::check(const models::EncoderFacts& facts) const {
  const tensor::Shape tokens{static_cast<std::int64_t>(steps_), static_cast<std::int64_t>(rows_),
                             static_cast<std::int64_t>(length_)};
  const tensor::Shape rows{tokens[0], tokens[1]};
  if (length_ > facts.max_positions) {
    refuse(file_, "sequences have " + std::to_string(length_) + " tokens, and the model takes " +
                      std::to_string(facts.max_positions));
  }
  const auto in_vocabulary = [&](const char* name, std::size_t size) {
    const tensor::TensorView& view = tensor(name, tokens);
    for (std::size_t i = 0; i < view.elements(); ++i) {
      const std::int64_t id = integer_at(view, i);
      if (id >= 0 && id < static_cast<std::int64_t>(size)) continue;
      refuse(file_, std::string(name) + " has " + std::to_string(id) + ", which is not in [0, " +
                        std::to_string(size) + ")");
    }
  };
  in_vocabulary("input_ids", facts.vocab_size);
  if (options_.feeds_types && facts.type_vocab_size > 0) in_vocabulary(kTypes, facts.type_vocab_size);
  const tensor::TensorView& mask = tensor("attention_mask", tokens);
  for (std::size_t i = 0; i < mask.elements(); ++i) {
    const std::int64_t value = integer_at(mask, i), before = i % length_ == 0 ? 1 : integer_at(mask, i - 1);
    const bool is_first = i % length_ == 0;
    if ((value == 0 || value == 1) && value <= before && !(is_first && value == 0)) continue;
    refuse(file_, "attention_mask is not ones and then zeros in each row");
  }
  for (const char* name : {"start_positions", "end_positions"}) tensor(name, rows);
}

std::vector<std::int32_t> ReadyBatches::integers(const char* name, std::size_t step,
                                                 std::size_t count) const {
  const tensor::TensorView& view = find(file_, name);
  std::vector<std::int32_t> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    values[i] = static_cast<std::int32_t>(std::clamp(integer_at(view, step * count + i), -kMost, kMost));
  }
  return values;
}

SpanBatch ReadyBatches::at(std::size_t step) const {
  SpanBatch batch;
  const std::size_t tokens = rows_ * length_;
  batch.input_ids = integers("input_ids", step, tokens);
  if (options_.feeds_types) batch.token_type_ids = integers(kTypes, step, tokens);
  batch.start_positions = integers("start_positions", step, rows_);
  batch.end_positions = integers("end_positions", step, rows_);
  const std::vector<std::int32_t> mask = integers("attention_mask", step, tokens);
  for (std::size_t row = 0; row < rows_; ++row) {
    batch.cu_seqlens.push_back(static_cast<std::int32_t>((row + 1) * length_));
    const auto first = mask.begin() + static_cast<std::ptrdiff_t>(row * length_);
    batch.key_lengths.push_back(
        static_cast<std::int32_t>(std::count(first, first + static_cast<std::ptrdiff_t>(length_), 1)));
    batch.examples.push_back(step * rows_ + row);
  }
  if (teacher_ == nullptr) return batch;
  batch.teacher_start.resize(tokens);
  batch.teacher_end.resize(tokens);
  find(*teacher_, "start_logits").read_floats(step * tokens, batch.teacher_start);
  find(*teacher_, "end_logits").read_floats(step * tokens, batch.teacher_end);
  return batch;
}

std::uint64_t ReadyBatches::steps(std::uint64_t) {
  return steps_ / options_.accumulation;
}

std::vector<SpanBatch> ReadyBatches::batches(std::uint64_t, std::uint64_t step) {
  std::vector<SpanBatch> result;
  for (std::size_t i = 0; i < options_.accumulation; ++i)
    result.push_back(at(step * options_.accumulation + i));
  return result;
}

std::string ReadyBatches::describe(const SpanBatch& batch) const {
  return "batch " + std::to_string(batch.examples.front() / rows_) + " of " + options_.batches.string();
}

}  // namespace kvasir::train
