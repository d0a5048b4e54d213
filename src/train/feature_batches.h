// Batches of windows of training files.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/model_folder.h"
#include "kvasir/trainer.h"
#include "models/encoder.h"
#include "train/batch_sampler.h"
#include "train/batch_source.h"
#include "train/model_card.h"
#include "train/span_features.h"
#include "train/training_data.h"

namespace kvasir::train {

// Whether the model is fed token types: its tokenizer makes them, and it has a table for them.
bool feeds_types(const formats::ModelFolder& model, const models::EncoderFacts& facts);

class FeatureBatches final : public BatchSource {
 public:
  // Reads the files and makes their windows. Throws as load_training_data and make_span_features.
  FeatureBatches(const TrainOptions& options, const formats::ModelFolder& model,
                 const models::EncoderFacts& facts);

  std::uint64_t steps(std::uint64_t epoch) override;
  std::vector<SpanBatch> batches(std::uint64_t epoch, std::uint64_t step) override;
  std::string describe(const SpanBatch& batch) const override;

  // What a person should know: how many questions and windows, which rows were left out and why.
  std::vector<std::string> messages() const;
  std::vector<CardFile> files() const;

 private:
  const std::vector<std::vector<std::uint32_t>>& batches_of(std::uint64_t epoch);

  std::size_t accumulation_;
  TrainingData data_;
  SpanFeatures features_;
  std::unique_ptr<BatchSampler> sampler_;
  std::uint64_t epoch_ = UINT64_MAX;  // whose batches these are
  std::vector<std::vector<std::uint32_t>> chosen_;
  std::map<std::uint64_t, std::uint64_t> steps_;  // of epochs that were asked for
};

}  // namespace kvasir::train
