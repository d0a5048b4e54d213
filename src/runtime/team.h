// The threads that run a batch, and the memory that they need. Several teams run at the same time.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "models/encoder_model.h"
#include "runtime/engine.h"

namespace kvasir::runtime {

// Sequences joined into a ragged batch; memory is kept from batch to batch.
class Batch {
 public:
  // head: the head that the outputs are for.
  void fill(std::span<const Sequence> sequences, const models::Head& head);
  std::size_t tokens() const noexcept { return input_ids_.size(); }
  tensor::RaggedBatch view() const;

 private:
  void want(const Sequence& sequence, std::size_t begin, const models::Head& head);

  std::vector<std::int32_t> input_ids_, token_type_ids_, cu_seqlens_, key_lengths_, unpooled_, wanted_;
};

struct Team {
  base::ThreadPool pool;
  tensor::Workspace workspace;
  std::unique_ptr<models::Worker[]> workers;
  Batch batch;

  explicit Team(int threads)
      : pool(threads), workers(std::make_unique<models::Worker[]>(static_cast<std::size_t>(threads))) {}

  // The outputs of the team's batch.
  void run(const models::EncoderModel& model, const kernels::Kernels& kernels, std::span<float> out);
};

// A pool of teams, which are made when first needed and kept.
class Teams {
 public:
  // Gives the team back.
  struct Return {
    Teams* teams;
    void operator()(Team* team) const noexcept { teams->give(team); }
  };
  using Loan = std::unique_ptr<Team, Return>;

  // Throws as base::ThreadPool.
  Loan take(int threads);

 private:
  void give(Team* team) noexcept;

  std::mutex mutex_;
  std::vector<std::unique_ptr<Team>> teams_;  // all
  std::vector<Team*> idle_;                   // of those; has room for all
};

}  // namespace kvasir::runtime
