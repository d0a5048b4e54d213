// Readers whose logits a student learns from.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/engine.h"
#include "train/batch_source.h"

namespace kvasir::train {

// The batches of another source with the mean of the teachers' logits. Those of a sequence are computed once
// and kept.
class TaughtBatches final : public BatchSource {
 public:
  struct Options {
    std::vector<std::string> teachers;  // folders or ids
    std::filesystem::path student;      // whose tokenizer they must share
    int threads = 0;
    std::string isa;
  };
  // Throws as runtime::Engine::load; kInvalidArgument if a teacher's tokenizer makes other tokens than the
  // student's.
  TaughtBatches(std::unique_ptr<BatchSource> source, const Options& options);

  std::uint64_t steps(std::uint64_t epoch) override { return source_->steps(epoch); }
  std::vector<SpanBatch> batches(std::uint64_t epoch, std::uint64_t step) override;
  std::string describe(const SpanBatch& batch) const override { return source_->describe(batch); }

 private:
  void teach(SpanBatch& batch);

  std::unique_ptr<BatchSource> source_;
  std::vector<runtime::Engine> teachers_;
  std::unordered_map<std::uint64_t, std::vector<float>> known_;  // by example: [tokens, 2]
};

}  // namespace kvasir::train
