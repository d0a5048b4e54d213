// Ready-made batches in a safetensors file: input_ids, attention_mask, start_positions, end_positions and
// perhaps token_type_ids, integers [steps, batch, length] or [steps, batch]. Beside them, in a file of its
// own, perhaps a teacher's start_logits and end_logits [steps, batch, length].
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "models/encoder.h"
#include "train/batch_source.h"

namespace kvasir::train {

class ReadyBatches final : public BatchSource {
 public:
  struct Options {
    std::filesystem::path batches;
    std::filesystem::path teacher_logits = {};  // empty: none
    bool feeds_types = true;                    // whether the model is given token types
    std::size_t accumulation = 1;               // steps of the file that make up one of the optimizer
  };
  // Throws kNotFound, kFormat (a tensor that is missing or of another shape, ids that the model lacks, a mask
  // that is not ones and then zeros), kInvalidArgument (fewer steps than are accumulated).
  ReadyBatches(const Options& options, const models::EncoderFacts& facts);

  std::uint64_t steps(std::uint64_t epoch) override;
  std::vector<SpanBatch> batches(std::uint64_t epoch, std::uint64_t step) override;
  std::string describe(const SpanBatch& batch) const override;

  SpanBatch at(std::size_t step) const;
  std::size_t count() const noexcept { return steps_; }

 private:
  void check(const models::EncoderFacts& facts) const;
  const tensor::TensorView& tensor(const char* name, const tensor::Shape& shape) const;
  std::vector<std::int32_t> integers(const char* name, std::size_t step, std::size_t count) const;

  Options options_;
  formats::SafetensorsFile file_;
  std::unique_ptr<formats::SafetensorsFile> teacher_;
  std::size_t steps_ = 0, rows_ = 0, length_ = 0;
};

}  // namespace kvasir::train
