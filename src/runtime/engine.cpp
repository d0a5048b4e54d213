#include "runtime/engine.h"

#include <algorithm>
#include <string>

#include "base/numa.h"
#include "kvasir/error.h"
#include "models/inventory.h"
#include "runtime/engine_pass.h"

namespace kvasir::runtime {

namespace {

// Keeps token counts within 32 bits, whatever the options say.
constexpr std::size_t kMaxBatchTokens = std::size_t{1} << 24;

[[noreturn]] void refuse(std::size_t sequence, const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, "sequence " + std::to_string(sequence) + ": " + what);
}

// Throws if an id is outside [0, size).
void check_ids(std::size_t sequence, std::span<const std::int32_t> ids, const char* what, std::size_t size) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && static_cast<std::size_t>(ids[i]) < size) continue;
    refuse(sequence, std::string(what) + " " + std::to_string(ids[i]) + " at position " + std::to_string(i) +
                         " is out of range [0, " + std::to_string(size) +
                         "); was it tokenised for another model?");
  }
}

void check(const models::EncoderFacts& model, std::size_t index, const Sequence& s) {
  const std::size_t length = s.input_ids.size();
  if (length == 0) refuse(index, "it has no tokens");
  if (length > model.max_positions) {
    refuse(index, "it has " + std::to_string(length) + " tokens, and the model takes " +
                      std::to_string(model.max_positions) + "; cut it into windows");
  }
  check_ids(index, s.input_ids, "token id", model.vocab_size);
  if (!s.token_type_ids.empty() && s.token_type_ids.size() != length) {
    refuse(index, std::to_string(s.token_type_ids.size()) + " token types for " + std::to_string(length) +
                      " tokens");
  }
  if (model.type_vocab_size > 0) {
    check_ids(index, s.token_type_ids, "token type", model.type_vocab_size);
  }
  if (s.wanted.begin > s.wanted.end || s.wanted.end > length) {
    refuse(index,
           "it has no tokens " + std::to_string(s.wanted.begin) + " to " + std::to_string(s.wanted.end));
  }
  if (s.unpooled > 0 && s.unpooled >= length) {
    refuse(index, "of its " + std::to_string(length) + " tokens none would be pooled");
  }
  if (s.keys > length) {
    refuse(index, std::to_string(s.keys) + " keys for " + std::to_string(length) + " tokens");
  }
}

// Of the first matrix: the others are the same, but for heads and what quantising spared.
models::Precision precision_of(const models::Inventory& inventory) {
  for (const models::Inventory::Entry& entry : inventory.entries) {
    if (entry.linear == nullptr) continue;
    if (entry.linear->is_int8()) return models::Precision::kInt8;
    return entry.linear->is_fp32() ? models::Precision::kFp32 : models::Precision::kBf16;
  }
  return models::Precision::kFp32;
}

// Every core reads all weights in each pass. (What a thread writes and reads alone lies on its own node: that
// of the thread which touches memory first.)
void spread_over_nodes(const models::Inventory& inventory) {
  const std::vector<int> nodes = base::memory_nodes();
  if (nodes.size() < 2) return;
  const models::Linear* last = nullptr;  // several entries may be parts of one
  for (const models::Inventory::Entry& entry : inventory.entries) {
    if (entry.linear == nullptr || entry.linear == last) continue;
    last = entry.linear;
    const auto spread = [&](const auto& matrix) {
      base::interleave(std::as_bytes(matrix.data.span()), nodes);
    };
    if (const auto* stored = std::get_if<models::Linear::Stored>(&last->weight)) {
      for (const auto& part : stored->parts) std::visit(spread, part);
    } else if (const auto* fp32 = std::get_if<kernels::PackedMatrix>(&last->weight)) {
      spread(*fp32);
    } else if (const auto* bf16 = std::get_if<kernels::Bf16Matrix>(&last->weight)) {
      spread(*bf16);
    } else {
      spread(std::get<kernels::Int8Matrix>(last->weight));
    }
  }
}

}  // namespace

void check_threads(int threads) {
  if (threads >= 0) return;
  throw Error(ErrorCode::kInvalidArgument,
              "threads: should be >= 0 (got " + std::to_string(threads) + "); 0 means all cores");
}

struct Engine::Impl : EngineState {
  models::Precision precision = models::Precision::kFp32;
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Engine Engine::load(const formats::ModelFolder& folder, models::Task task, const EngineOptions& options) {
  return load(
      [&](const models::LoadOptions& load_options) {
        return models::load_encoder_model(folder, task, load_options);
      },
      options);
}

Engine Engine::load(const formats::ModelFolder& folder, const EngineOptions& options) {
  return load(
      [&](const models::LoadOptions& load_options) {
        return models::load_encoder_model(folder, load_options);
      },
      options);
}

Engine Engine::load(const LoadModel& load_model, const EngineOptions& options) {
  const int threads = options.threads == 0 ? base::usable_cores() : options.threads;
  auto impl =
      std::unique_ptr<Impl>(new Impl{{.kernels = kernels::kernels_for(options.isa),
                                      .threads = threads,
                                      .batch_tokens = std::min(options.batch_tokens, kMaxBatchTokens)}});
  models::Inventory inventory;
  impl->model = load_model({.kernels = impl->kernels,
                            .pool = impl->teams.take(threads)->pool,
                            .precision = options.precision,
                            .inventory = &inventory});
  impl->precision = precision_of(inventory);
  spread_over_nodes(inventory);
  return Engine(std::move(impl));
}

void Engine::run(std::span<const Sequence> sequences, const Consume& consume,
                 const std::atomic<bool>* cancel) const {
  for (std::size_t i = 0; i < sequences.size(); ++i) check(facts(), i, sequences[i]);
  EnginePass(*impl_, sequences, consume, cancel).run();
}

const models::EncoderModel& Engine::model() const noexcept {
  return impl_->model;
}

base::Isa Engine::isa() const noexcept {
  return impl_->kernels.isa;
}

models::Precision Engine::precision() const noexcept {
  return impl_->precision;
}

int Engine::threads() const noexcept {
  return impl_->threads;
}

std::uint64_t Engine::tokens_run() const noexcept {
  return impl_->tokens_run.load(std::memory_order_relaxed);
}

}  // namespace kvasir::runtime
