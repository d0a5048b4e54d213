#include "runtime/engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <string>

#include "base/thread_pool.h"
#include "kvasir/error.h"
#include "models/inventory.h"

namespace kvasir::runtime {

namespace {

// Keeps token counts within 32 bits, whatever the options say.
constexpr std::size_t kMaxBatchTokens = std::size_t{1} << 24;

// A lock that is granted in the order of asking. std::mutex may let one caller, who asks again right after
// each batch, starve the others.
class FairMutex {
 public:
  void lock() {
    std::unique_lock guard(mutex_);
    const std::uint64_t ticket = next_++;
    turn_.wait(guard, [&] { return ticket == serving_; });
  }
  void unlock() {
    const std::lock_guard guard(mutex_);
    ++serving_;
    turn_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable turn_;
  std::uint64_t next_ = 0, serving_ = 0;
};

// Sequences joined into a ragged batch, and its results; memory is kept from batch to batch.
struct Batch {
  std::vector<std::int32_t> input_ids, token_type_ids, cu_seqlens, key_lengths;
  std::vector<float> start, end;

  void fill(std::span<const Sequence> sequences) {
    input_ids.clear(), token_type_ids.clear(), cu_seqlens.assign(1, 0), key_lengths.clear();
    for (const Sequence& s : sequences) {
      input_ids.insert(input_ids.end(), s.input_ids.begin(), s.input_ids.end());
      token_type_ids.insert(token_type_ids.end(), s.token_type_ids.begin(), s.token_type_ids.end());
      token_type_ids.resize(input_ids.size(), 0);  // none given: all 0
      cu_seqlens.push_back(static_cast<std::int32_t>(input_ids.size()));
      key_lengths.push_back(static_cast<std::int32_t>(s.keys == 0 ? s.input_ids.size() : s.keys));
    }
    start.resize(input_ids.size());
    end.resize(input_ids.size());
  }

  tensor::RaggedBatch view() const {
    return {.input_ids = input_ids,
            .token_type_ids = token_type_ids,
            .cu_seqlens = cu_seqlens,
            .key_lengths = key_lengths};
  }
};

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

void check(const models::QaModel& model, std::size_t index, const Sequence& s) {
  const std::size_t length = s.input_ids.size();
  if (length == 0) refuse(index, "it has no tokens");
  if (length > model.max_positions()) {
    refuse(index, "it has " + std::to_string(length) + " tokens, and the model takes " +
                      std::to_string(model.max_positions()) + "; cut it into windows");
  }
  check_ids(index, s.input_ids, "token id", model.vocab_size());
  if (!s.token_type_ids.empty() && s.token_type_ids.size() != length) {
    refuse(index, std::to_string(s.token_type_ids.size()) + " token types for " + std::to_string(length) +
                      " tokens");
  }
  if (model.type_vocab_size() > 0) {
    check_ids(index, s.token_type_ids, "token type", model.type_vocab_size());
  }
  if (s.keys > length) {
    refuse(index, std::to_string(s.keys) + " keys for " + std::to_string(length) + " tokens");
  }
}

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

namespace {

// Of the first matrix: the others are the same, but for heads and what quantising spared.
models::Precision precision_of(const models::Inventory& inventory) {
  for (const models::Inventory::Entry& entry : inventory.entries) {
    if (entry.linear == nullptr) continue;
    if (entry.linear->is_int8()) return models::Precision::kInt8;
    return entry.linear->is_fp32() ? models::Precision::kFp32 : models::Precision::kBf16;
  }
  return models::Precision::kFp32;
}

}  // namespace

struct Engine::Impl {
  const kernels::Kernels& kernels;
  base::ThreadPool pool;
  std::size_t batch_tokens;
  std::unique_ptr<const models::QaModel> model;
  models::Precision precision = models::Precision::kFp32;
  std::atomic<std::uint64_t> tokens_run{0};

  FairMutex turn;  // guards the memory below: one batch at a time
  tensor::Workspace workspace;
  std::unique_ptr<models::Worker[]> workers;

  explicit Impl(const EngineOptions& options)
      : kernels(kernels::kernels_for(options.isa)),
        pool(options.threads == 0 ? base::usable_cores() : options.threads),
        batch_tokens(std::min(options.batch_tokens, kMaxBatchTokens)),
        workers(std::make_unique<models::Worker[]>(static_cast<std::size_t>(pool.size()))) {}

  void run(Batch& batch) {
    const std::lock_guard guard(turn);
    models::ForwardContext context{.kernels = kernels,
                                   .pool = pool,
                                   .workspace = workspace,
                                   .workers = {workers.get(), static_cast<std::size_t>(pool.size())}};
    model->qa_logits(batch.view(), context, {.start = batch.start, .end = batch.end});
    tokens_run.fetch_add(batch.input_ids.size(), std::memory_order_relaxed);
  }
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Engine Engine::load(const std::filesystem::path& folder, const EngineOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  models::Inventory inventory;
  impl->model = models::load_qa_model(folder, {.kernels = impl->kernels,
                                               .pool = impl->pool,
                                               .precision = options.precision,
                                               .inventory = &inventory});
  impl->precision = precision_of(inventory);
  return Engine(std::move(impl));
}

void Engine::qa_logits(std::span<const Sequence> sequences, const Consume& consume,
                       const std::atomic<bool>* cancel) const {
  for (std::size_t i = 0; i < sequences.size(); ++i) check(*impl_->model, i, sequences[i]);
  Batch batch;
  for (std::size_t first = 0; first < sequences.size();) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      throw Error(ErrorCode::kCancelled, "cancelled after " + std::to_string(first) + " of " +
                                             std::to_string(sequences.size()) + " windows");
    }
    const std::size_t count = take_batch(sequences.subspan(first), impl_->batch_tokens);
    batch.fill(sequences.subspan(first, count));
    impl_->run(batch);
    for (std::size_t i = 0; i < count; ++i) {
      const auto begin = static_cast<std::size_t>(batch.cu_seqlens[i]);
      const std::size_t length = static_cast<std::size_t>(batch.cu_seqlens[i + 1]) - begin;
      consume(first + i, std::span<const float>(batch.start).subspan(begin, length),
              std::span<const float>(batch.end).subspan(begin, length));
    }
    first += count;
  }
}

const models::QaModel& Engine::model() const noexcept {
  return *impl_->model;
}

base::Isa Engine::isa() const noexcept {
  return impl_->kernels.isa;
}

models::Precision Engine::precision() const noexcept {
  return impl_->precision;
}

int Engine::threads() const noexcept {
  return impl_->pool.size();
}

std::uint64_t Engine::tokens_run() const noexcept {
  return impl_->tokens_run.load(std::memory_order_relaxed);
}

}  // namespace kvasir::runtime
