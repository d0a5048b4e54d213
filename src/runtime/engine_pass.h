// One call of Engine::run: cuts its sequences into batches, runs them when the scheduler has cores for the
// caller, and hands out the outputs in order.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "runtime/batch_threads.h"
#include "runtime/core_scheduler.h"
#include "runtime/engine.h"
#include "runtime/team.h"

namespace kvasir::runtime {

// State that the passes of an engine share.
struct EngineState {
  const kernels::Kernels& kernels;
  int threads;
  std::size_t batch_tokens;
  models::EncoderModel model = {};
  std::atomic<std::uint64_t> tokens_run{0};
  Teams teams = {};
  CoreScheduler scheduler{threads};
  BatchThreads batch_threads{scheduler, teams};
};

class EnginePass {
 public:
  // The sequences have been checked.
  EnginePass(EngineState& engine, std::span<const Sequence> sequences, const Engine::Consume& consume,
             const std::atomic<bool>* cancel);
  void run();

 private:
  struct Range {
    std::size_t begin, end;  // of sequences
  };

  bool cancelled() const noexcept;
  void run_next_batches();
  void run_next_on(Team& team) noexcept;
  void run_on_each_core(CoreScheduler::Lease& lease);
  void make_room(Range range);
  void run_on(Team& team, Range range);
  std::optional<Range> claim(const CoreScheduler::Lease& lease, std::size_t cores);
  std::size_t finished();
  void consume_until(std::size_t last);
  std::size_t tokens(Range range) const noexcept { return begins_[range.end] - begins_[range.begin]; }
  // The number of outputs of the head for these sequences.
  std::size_t output_size(Range range) const noexcept;

  EngineState& engine_;
  std::span<const Sequence> sequences_;
  const Engine::Consume& consume_;
  const std::atomic<bool>* cancel_;
  std::vector<std::size_t> begins_;  // token at which each sequence begins, and the end of the last

  Range room_{0, 0};  // the sequences whose outputs fit into outputs_ now
  std::vector<float> outputs_;
  std::size_t consumed_ = 0;  // sequences

  std::mutex mutex_;  // guards the following while several threads run batches
  std::size_t claimed_ = 0, first_unfinished_ = 0;
  std::vector<bool> is_finished_;  // by sequence
  std::exception_ptr failure_;
};

}  // namespace kvasir::runtime
