#include "runtime/engine_pass.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::runtime {

namespace {

// From this many sequences per core on, each core runs batches of its own. The threads then synchronise only
// at the end; with fewer sequences they would spend too much of the time waiting there.
constexpr std::size_t kSequencesPerCore = 4;
// The maximum per core before the threads synchronise: 1 MB of span logits.
constexpr std::size_t kMostSequencesPerCore = 256;
// Tokens of a core's batch: a share of what is left, so that all cores end together, but no less than this,
// the length of a common sequence. (One thread is as fast with one sequence as with ten.) The activations of
// more than some hundred do not stay in its L2 cache between the parts of a layer: with 1024, MiniLM in int8
// was 3 % slower (Zen 5, 1 MiB).
constexpr std::size_t kLeastTokens = 192, kMostTokens = 256;
constexpr std::size_t kBatchesLeft = 4;

// As many of the sequences, from the first on, as fit into `tokens`; at least one.
std::size_t take_batch(std::span<const Sequence> sequences, std::size_t tokens) {
  std::size_t sum = 0, taken = 0;
  for (const Sequence& s : sequences) {
    sum += s.input_ids.size();
    if (taken > 0 && sum > tokens) break;
    ++taken;
  }
  return taken;
}

}  // namespace

EnginePass::EnginePass(EngineState& engine, std::span<const Sequence> sequences,
                       const Engine::Consume& consume, const std::atomic<bool>* cancel)
    : engine_(engine),
      sequences_(sequences),
      consume_(consume),
      cancel_(cancel),
      is_finished_(sequences.size(), false) {
  begins_.reserve(sequences.size() + 1);
  begins_.push_back(0);
  for (const Sequence& s : sequences) begins_.push_back(begins_.back() + s.input_ids.size());
}

bool EnginePass::cancelled() const noexcept {
  return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
}

void EnginePass::run() {
  if (sequences_.empty()) return;
  const CoreScheduler::Caller caller(engine_.scheduler);
  while (consumed_ < sequences_.size()) {
    if (cancelled()) {
      throw Error(ErrorCode::kCancelled, "cancelled after " + std::to_string(consumed_) + " of " +
                                             std::to_string(sequences_.size()) + " windows");
    }
    run_next_batches();
    if (failure_) std::rethrow_exception(failure_);
    consume_until(finished());
  }
}

void EnginePass::run_next_batches() {
  if (engine_.scheduler.has_more_callers_than_cores()) {
    engine_.batch_threads.run([this](Team& team) { run_next_on(team); });
    return;
  }
  CoreScheduler::Lease lease(engine_.scheduler);
  const auto cores = static_cast<std::size_t>(lease.cores());
  if (cores > 1 && sequences_.size() - consumed_ >= cores * kSequencesPerCore) {
    run_on_each_core(lease);
  } else {
    run_next_on(*engine_.teams.take(lease.cores()));
  }
}

// The next batch, by all threads of a team together.
void EnginePass::run_next_on(Team& team) noexcept {
  try {
    const std::size_t count = take_batch(sequences_.subspan(consumed_), engine_.batch_tokens);
    make_room({consumed_, consumed_ + count});
    run_on(team, room_);
  } catch (...) {
    failure_ = std::current_exception();
  }
}

// Batches by one thread each, until none are left or other callers have work. Between its batches the calling
// thread, which is thread 0, hands out what is finished, and holds no core meanwhile: what is done with the
// logits may take long, and may even wait for another caller.
void EnginePass::run_on_each_core(CoreScheduler::Lease& lease) {
  const Teams::Loan all = engine_.teams.take(lease.cores());
  std::vector<Teams::Loan> cores;
  for (int i = 0; i < lease.cores(); ++i) cores.push_back(engine_.teams.take(1));
  const std::size_t left = sequences_.size() - consumed_;
  make_room({consumed_, consumed_ + std::min(left, cores.size() * kMostSequencesPerCore)});
  all->pool.parallel_for(cores.size(), [&](std::size_t, int thread) noexcept {
    bool has_core = true;
    try {
      while (has_core) {
        const std::optional<Range> range = claim(lease, cores.size());
        if (!range) break;
        run_on(*cores[static_cast<std::size_t>(thread)], *range);
        if (thread != 0 || finished() == consumed_) continue;
        lease.give_back_one();
        has_core = false;
        consume_until(finished());
        has_core = lease.regain_one();
      }
    } catch (...) {
      const std::lock_guard guard(mutex_);
      failure_ = std::current_exception();
    }
    if (has_core) lease.give_back_one();
  });
}

void EnginePass::make_room(Range range) {
  room_ = range;
  claimed_ = range.begin;
  outputs_.resize(output_size(range));
}

void EnginePass::run_on(Team& team, Range range) {
  team.batch.fill(sequences_.subspan(range.begin, range.end - range.begin), *engine_.model.head);
  team.run(engine_.model, engine_.kernels,
           std::span(outputs_).subspan(output_size({room_.begin, range.begin}), output_size(range)));
  engine_.tokens_run.fetch_add(tokens(range), std::memory_order_relaxed);
  const std::lock_guard guard(mutex_);
  std::fill_n(is_finished_.begin() + static_cast<std::ptrdiff_t>(range.begin), range.end - range.begin, true);
}

// The next batch for one of so many cores.
std::optional<EnginePass::Range> EnginePass::claim(const CoreScheduler::Lease& lease, std::size_t cores) {
  const std::lock_guard guard(mutex_);
  if (failure_ || claimed_ == room_.end) return {};
  if (claimed_ > room_.begin && (cancelled() || lease.others_have_work())) return {};
  const std::size_t share = tokens({claimed_, room_.end}) / (cores * kBatchesLeft);
  const std::size_t most = std::min(std::clamp(share, kLeastTokens, kMostTokens), engine_.batch_tokens);
  const Range range{claimed_,
                    claimed_ + take_batch(sequences_.subspan(claimed_, room_.end - claimed_), most)};
  claimed_ = range.end;
  return range;
}

// The first sequence whose outputs are still to come.
std::size_t EnginePass::finished() {
  const std::lock_guard guard(mutex_);
  while (first_unfinished_ < sequences_.size() && is_finished_[first_unfinished_]) ++first_unfinished_;
  return first_unfinished_;
}

std::size_t EnginePass::output_size(Range range) const noexcept {
  const models::Head& head = *engine_.model.head;
  const std::size_t rows =
      head.rows() == models::Head::Rows::kTokens ? tokens(range) : range.end - range.begin;
  return rows * head.columns();
}

void EnginePass::consume_until(std::size_t last) {
  for (; consumed_ < last; ++consumed_) {
    consume_(consumed_, std::span<const float>(outputs_).subspan(output_size({room_.begin, consumed_}),
                                                                 output_size({consumed_, consumed_ + 1})));
  }
}

}  // namespace kvasir::runtime
