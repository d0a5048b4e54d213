// Runs a model: owns the threads and the scratch memory, checks inputs, and cuts work into ragged batches.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "formats/model_folder.h"
#include "models/encoder_model.h"

namespace kvasir::runtime {

// Throws kInvalidArgument if it is negative.
void check_threads(int threads);

struct EngineOptions {
  int threads = 0;  // 0 = base::usable_cores()
  base::Isa isa = base::best_isa();
  models::Precision precision = models::Precision::kAuto;
  // Tokens per ragged batch, at most: enough rows to keep the matrix products busy, few enough that the
  // activations stay in cache.
  std::size_t batch_tokens = 1024;
};

// The options of a public struct with threads, isa and precision. Throws kInvalidArgument for unknown values.
template <class Options>
EngineOptions engine_options(const Options& options) {
  check_threads(options.threads);
  return {.threads = options.threads,
          .isa = options.isa.empty() ? base::best_isa() : base::parse_isa(options.isa),
          .precision = models::parse_precision(options.precision)};
}

// One sequence to run. The spans must stay valid until the call returns.
struct Sequence {
  std::span<const std::int32_t> input_ids;
  std::span<const std::int32_t> token_type_ids;  // may be empty
  std::size_t keys = 0;                          // tokens attended to; 0 = all (see RaggedBatch::key_lengths)
  std::size_t unpooled = 0;                      // tokens at the beginning that sentence vectors leave out
  // For heads with outputs for each token: only the logits of the first token and of these are needed; the
  // others may be models::kUnwantedLogit. Empty: all are needed.
  struct Tokens {
    std::size_t begin = 0, end = 0;
    bool empty() const noexcept { return begin == end; }
    friend bool operator==(const Tokens&, const Tokens&) = default;
  };
  Tokens wanted = {};
};

class Engine {
 public:
  // Loads the model of a folder with the head for a task. Throws as models::load_encoder_model.
  static Engine load(const formats::ModelFolder& folder, models::Task task,
                     const EngineOptions& options = {});
  // With the head of the model's kind; see models/model_kind.h.
  static Engine load(const formats::ModelFolder& folder, const EngineOptions& options = {});
  // Loads the model itself, for load().
  using LoadModel = std::function<models::EncoderModel(const models::LoadOptions& options)>;
  static Engine load(const LoadModel& load_model, const EngineOptions& options = {});
  Engine(Engine&&) noexcept;
  Engine& operator=(Engine&&) noexcept;
  ~Engine();

  // The head's outputs for all sequences, in order: consume(i, outputs) is called on the calling thread for i
  // = 0, 1, …, with [rows, columns] numbers that are valid during the call only: one row for each of the
  // sequence's tokens, or one row in all, depending on the head. Thread-safe. A single caller gets all
  // threads: with few sequences they work together on one ragged batch after the other, with many each core
  // runs a batch of its own. Concurrent callers divide the cores or, if there are more callers than cores,
  // take turns, batch by batch. Outputs are the same in any case. Throws kInvalidArgument (an id or a length
  // out of range), kCancelled; whatever consume throws passes through.
  using Consume = std::function<void(std::size_t sequence, std::span<const float> outputs)>;
  void run(std::span<const Sequence> sequences, const Consume& consume,
           const std::atomic<bool>* cancel = nullptr) const;

  const models::EncoderModel& model() const noexcept;
  const models::EncoderFacts& facts() const noexcept { return model().facts(); }
  base::Isa isa() const noexcept;
  models::Precision precision() const noexcept;  // of the layers' products; never kAuto
  int threads() const noexcept;
  std::uint64_t tokens_run() const noexcept;  // in all, since the model was loaded

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::runtime
