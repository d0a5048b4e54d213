#include "generation/batch_loop.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::generation {

namespace {

// Tokens of one step: enough rows for products to run at full speed, few enough that activations stay in
// cache.
constexpr std::size_t kStepTokens = 512;
// The same while other requests are writing, which have to wait for the step.
constexpr std::size_t kStepTokensBesideOthers = 128;
// Of a request that wants all logits: 100,000 floats each.
constexpr std::size_t kTokensThatAreSeen = 64;

struct Branch {
  KvCache::Sequence kv;
  std::vector<std::int32_t> ids;     // the prompt and what was written
  std::size_t prompt;                // of the ids, those that came at once
  std::vector<std::int32_t> drafts;  // guesses of what comes next
  std::vector<std::size_t> rows;     // of the outputs of this step, once all of it has run

  std::size_t pending() const noexcept { return ids.size() + drafts.size() - kv.length(); }
  std::int32_t id(std::size_t position) const noexcept {
    return position < ids.size() ? ids[position] : drafts[position - ids.size()];
  }
};

struct Running {
  std::shared_ptr<Request> request;
  std::vector<Branch> branches;
  bool begun = false;  // request->begin() was called
  bool grew = false;   // in this step, a branch got keys and values that it did not have

  // Whether all branches have the logits that they need to go on.
  bool is_complete() const noexcept {
    return std::ranges::none_of(branches, [](const Branch& b) { return b.rows.empty(); });
  }
};

// Some tokens of a branch that run in this step.
struct Piece {
  Running* owner;
  std::size_t branch, tokens;
};

// What is run in one step. Memory is kept from step to step.
struct Step {
  std::vector<Piece> pieces;
  std::vector<std::int32_t> ids, outputs;
  std::vector<models::DecoderSequence> sequences;
  std::vector<float> logits;

  void clear() {
    pieces.clear();
    ids.clear();
    outputs.clear();
    sequences.clear();
  }
};

}  // namespace

struct BatchLoop::Impl {
  const models::CausalLm& model;
  const kernels::Kernels& kernels;
  base::ThreadPool& pool;
  BatchLoopOptions options;
  KvCache cache;
  tensor::Workspace workspace;
  std::deque<Running> running;  // oldest first; only the loop's thread touches it
  Step step;

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::shared_ptr<Request>> waiting;
  bool closing = false;
  std::thread thread;

  Impl(const models::CausalLm& the_model, const kernels::Kernels& the_kernels, base::ThreadPool& the_pool,
       const BatchLoopOptions& the_options)
      : model(the_model),
        kernels(the_kernels),
        pool(the_pool),
        options(the_options),
        cache(model.kv_shape(options.kv_type), options.cache) {}

  void loop();
  bool take_waiting();
  void drop_cancelled();
  void plan();
  bool depends_on_length() const noexcept { return model.sharable_positions() != SIZE_MAX; }
  std::size_t plan_piece(Running& owner, std::size_t branch, std::size_t most);
  bool make_room(Running& owner, std::size_t branch, std::size_t tokens);
  void add_to_step(const Piece& piece);
  void run_step();
  void stop_what_cannot_fit();
  void advance_all();
  void branch_out(Running& owner, std::vector<Request::Next> next);
  void go_on(Branch& branch, Request::Next next);
  void stop_all(const std::exception_ptr& error);
};

// Requests that wait join in, as long as there is room; sleeps while there is nothing to do. False: the loop
// ends.
bool BatchLoop::Impl::take_waiting() {
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return closing || !waiting.empty() || !running.empty(); });
  if (closing) return false;
  std::size_t branches = 0;
  for (const Running& r : running) branches += r.branches.size();
  while (!waiting.empty() && branches < options.max_branches) {
    Running fresh{.request = std::move(waiting.front()), .branches = {}};
    waiting.pop_front();
    const std::span<const std::int32_t> prompt = fresh.request->prompt();
    Branch branch{
        .kv = {}, .ids = {prompt.begin(), prompt.end()}, .prompt = prompt.size(), .drafts = {}, .rows = {}};
    fresh.branches.push_back(std::move(branch));
    running.push_back(std::move(fresh));
    ++branches;
  }
  return true;
}

void BatchLoop::Impl::drop_cancelled() {
  std::erase_if(running, [](const Running& r) {
    if (!r.request->is_cancelled()) return false;
    r.request->stop(nullptr);
    return true;
  });
  std::vector<std::shared_ptr<Request>> gone;
  {
    const std::lock_guard lock(mutex);
    std::erase_if(waiting, [&](const std::shared_ptr<Request>& request) {
      if (!request->is_cancelled()) return false;
      gone.push_back(request);
      return true;
    });
  }
  for (const auto& request : gone) request->stop(nullptr);
}

// Pages for so many tokens of a branch; those younger than it give theirs back if need be. False: it has to
// wait for older ones.
bool BatchLoop::Impl::make_room(Running& owner, std::size_t branch, std::size_t tokens) {
  Branch& wanted = owner.branches[branch];
  while (!cache.reserve(wanted.kv, tokens)) {
    // None that is older than the owner, which may have no pages itself yet.
    auto youngest = std::ranges::find_if(running.rbegin(), running.rend(), [&](const Running& r) {
      return &r == &owner ||
             std::ranges::any_of(r.branches, [](const Branch& b) { return !b.kv.pages().empty(); });
    });
    if (&*youngest == &owner) return false;
    for (Branch& b : youngest->branches) b.kv.clear();
    std::erase_if(step.pieces, [&](const Piece& piece) { return piece.owner == &*youngest; });
  }
  return true;
}

// Adds up to `most` tokens of a branch to the step; returns how many.
std::size_t BatchLoop::Impl::plan_piece(Running& owner, std::size_t branch, std::size_t most) {
  Branch& b = owner.branches[branch];
  if (b.kv.length() == 0) {
    const bool shares = b.ids.size() <= model.sharable_positions() && !owner.request->sees_all();
    b.kv = cache.begin(b.ids, shares ? SIZE_MAX : 0);
    if (!owner.begun) owner.request->begin(b.kv.length());
    owner.begun = true;
  }
  if (b.ids.size() > model.sharable_positions()) b.kv.keep_private();
  if (depends_on_length()) {
    // As it was at first, also when it is read again: the prompt as a whole, then token by token.
    most = b.kv.length() < b.prompt ? std::min(most, b.prompt - b.kv.length()) : 1;
  }
  if (owner.request->sees_all()) most = std::min(most, kTokensThatAreSeen);
  const std::size_t tokens = std::min(most, b.pending());
  if (tokens == 0 || !make_room(owner, branch, b.kv.length() + tokens)) return 0;
  step.pieces.push_back({.owner = &owner, .branch = branch, .tokens = tokens});
  return tokens;
}

void BatchLoop::Impl::plan() {
  step.clear();
  for (Running& r : running) {
    r.grew = false;
    for (Branch& b : r.branches) b.rows.clear();
  }
  const auto is_writing = [](const Branch& b) {
    return b.kv.length() > 0 && b.pending() == 1 + b.drafts.size();
  };
  std::size_t used = 0, readers = 0;
  for (Running& r : running) {
    for (std::size_t i = 0; i < r.branches.size(); ++i) {
      if (is_writing(r.branches[i])) {
        used += plan_piece(r, i, r.branches[i].pending());
      } else {
        ++readers;
      }
    }
  }
  // Equal shares, and what the first leave goes to the next.
  const std::size_t limit = used > 0 ? kStepTokensBesideOthers : kStepTokens;
  for (Running& r : running) {
    for (std::size_t i = 0; i < r.branches.size() && readers > 0; ++i) {
      if (is_writing(r.branches[i])) continue;
      const std::size_t left = limit > used ? limit - used : 0;
      used += plan_piece(r, i, std::max<std::size_t>(1, left / readers--));
    }
  }
}

// The tokens of a piece join the step, and those whose logits are wanted its outputs.
void BatchLoop::Impl::add_to_step(const Piece& piece) {
  Branch& b = piece.owner->branches[piece.branch];
  const std::size_t past = b.kv.length(), end = past + piece.tokens;
  const bool all_run = end == b.ids.size() + b.drafts.size(), sees_all = piece.owner->request->sees_all();
  for (std::size_t position = past; position < end; ++position) {
    const bool counts = all_run && position + 1 >= b.ids.size();
    if (counts) b.rows.push_back(step.outputs.size());
    if (counts || sees_all) step.outputs.push_back(static_cast<std::int32_t>(step.ids.size()));
    step.ids.push_back(b.id(position));
  }
  step.sequences.push_back({.tokens = piece.tokens,
                            .past = past,
                            .pages = b.kv.pages(),
                            .rotary_length = std::max(b.prompt, end)});
}

void BatchLoop::Impl::run_step() {
  for (const Piece& piece : step.pieces) add_to_step(piece);
  step.logits.resize(step.outputs.size() * model.vocab_size());
  models::ForwardContext context{.kernels = kernels, .pool = pool, .workspace = workspace};
  model.logits({.input_ids = step.ids, .sequences = step.sequences, .outputs = step.outputs}, cache.shape(),
               context, step.logits.data());
  const float* seen = step.logits.data();
  for (const Piece& piece : step.pieces) {
    Branch& b = piece.owner->branches[piece.branch];
    if (piece.owner->request->sees_all()) {
      for (std::size_t i = 0; i < piece.tokens; ++i, seen += model.vocab_size()) {
        piece.owner->request->see({seen, model.vocab_size()});
      }
    } else {
      seen += b.rows.size() * model.vocab_size();
    }
    // The last token runs together with its drafts, which do not count before they are accepted, and with the
    // last tokens of the request's other branches: if those are not there yet, it runs again.
    const std::size_t most = piece.owner->is_complete() ? b.ids.size() : b.ids.size() - 1;
    const std::size_t there = std::min(b.kv.length() + piece.tokens, most);
    piece.owner->grew |= there > b.kv.length();
    cache.commit(b.kv, std::span(b.ids).first(there));
  }
}

// The branches of one request go on as it said.
void BatchLoop::Impl::branch_out(Running& owner, std::vector<Request::Next> next) {
  std::vector<std::size_t> children(owner.branches.size(), 0);
  for (const Request::Next& n : next) ++children[n.parent];
  std::vector<Branch> branches;
  for (Request::Next& n : next) {
    Branch& parent = owner.branches[n.parent];
    const bool is_last = --children[n.parent] == 0;
    Branch child{.kv = {}, .ids = {}, .prompt = parent.prompt, .drafts = {}, .rows = {}};
    if (is_last) {
      child.kv = std::move(parent.kv);
      child.ids = std::move(parent.ids);
    } else {
      child.ids = parent.ids;
      // Without memory for a copy it reads what it begins with again, later.
      if (n.drop == 0 && !cache.fork(parent.kv, child.kv)) child.kv.clear();
    }
    go_on(child, std::move(n));
    branches.push_back(std::move(child));
  }
  owner.branches = std::move(branches);
}

// The tokens join what the branch was.
void BatchLoop::Impl::go_on(Branch& branch, Request::Next next) {
  branch.ids.insert(branch.ids.end(), next.tokens.begin(), next.tokens.end());
  if (!depends_on_length()) branch.drafts = std::move(next.drafts);
  if (next.drop > 0) {
    const auto first = branch.ids.begin() + static_cast<std::ptrdiff_t>(next.keep);
    branch.ids.erase(first, first + static_cast<std::ptrdiff_t>(next.drop));
    branch.prompt = branch.ids.size();
    branch.kv.clear();
  } else if (next.tokens.size() > 1 && branch.kv.length() > 0) {  // drafts that were right are there already
    cache.commit(branch.kv, std::span(branch.ids).first(branch.ids.size() - 1));
  }
}

// The oldest has all memory at its disposal: if it gets no further, its branches do not fit side by side.
void BatchLoop::Impl::stop_what_cannot_fit() {
  const Running& oldest = running.front();
  if (oldest.grew || oldest.is_complete()) return;
  oldest.request->stop(std::make_exception_ptr(Error(
      ErrorCode::kResourceExhausted, "the memory for keys and values holds " +
                                         std::to_string(cache.max_tokens()) + " tokens, too few for the " +
                                         std::to_string(oldest.branches.size()) +
                                         " sequences of this request; ask for fewer or shorter ones")));
  running.pop_front();
}

// Choosing tokens means passes over all logits of a request: each is a task of the pool.
void BatchLoop::Impl::advance_all() {
  struct Turn {
    Running* of;
    std::vector<Request::Rows> rows;
    std::vector<Request::Next> next = {};
  };
  std::vector<Turn> turns;
  for (Running& r : running) {
    if (!r.is_complete()) continue;
    turns.push_back({.of = &r, .rows = {}});
    for (const Branch& b : r.branches) {
      float* first = step.logits.data() + b.rows.front() * model.vocab_size();
      turns.back().rows.push_back({.data = first, .count = b.rows.size()});
    }
  }
  pool.parallel_for(turns.size(), [&](std::size_t i, int) noexcept {
    turns[i].next = turns[i].of->request->advance(turns[i].rows);
  });
  for (Turn& turn : turns) branch_out(*turn.of, std::move(turn.next));
  std::erase_if(running, [](const Running& r) { return r.branches.empty(); });
}

void BatchLoop::Impl::stop_all(const std::exception_ptr& error) {
  for (Running& r : running) r.request->stop(error);
  running.clear();
}

void BatchLoop::Impl::loop() {
  while (take_waiting()) {
    drop_cancelled();
    if (running.empty()) continue;
    try {
      plan();
      run_step();
      stop_what_cannot_fit();
      advance_all();
    } catch (...) {  // no memory: the current requests cannot continue
      stop_all(std::current_exception());
    }
  }
  const auto closed = std::make_exception_ptr(Error(ErrorCode::kCancelled, "the model is being closed"));
  stop_all(closed);
  const std::lock_guard lock(mutex);
  for (const auto& request : waiting) request->stop(closed);
  waiting.clear();
}

BatchLoop::BatchLoop(const models::CausalLm& model, const kernels::Kernels& kernels, base::ThreadPool& pool,
                     const BatchLoopOptions& options)
    : impl_(std::make_unique<Impl>(model, kernels, pool, options)) {}

BatchLoop::~BatchLoop() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
  }
  impl_->wake.notify_all();
  if (impl_->thread.joinable()) impl_->thread.join();
}

std::size_t BatchLoop::max_tokens() const noexcept {
  return std::min(impl_->model.max_positions(), impl_->cache.max_tokens());
}

void BatchLoop::submit(std::shared_ptr<Request> request) {
  const std::span<const std::int32_t> ids = request->prompt();
  const std::size_t vocabulary = impl_->model.vocab_size();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && static_cast<std::size_t>(ids[i]) < vocabulary) continue;
    throw Error(ErrorCode::kInvalidArgument, "token id " + std::to_string(ids[i]) + " at position " +
                                                 std::to_string(i) + " is out of range [0, " +
                                                 std::to_string(vocabulary) +
                                                 "); was it tokenised for another model?");
  }
  if (ids.empty()) throw Error(ErrorCode::kInvalidArgument, "the prompt has no tokens");
  // One more has to fit, for something to be written.
  if (ids.size() + (request->sees_all() ? 0 : 1) > max_tokens()) {
    const bool by_memory = max_tokens() < impl_->model.max_positions();
    throw Error(ErrorCode::kInvalidArgument,
                "the prompt has " + std::to_string(ids.size()) + " tokens, and " +
                    (by_memory ? "the memory for keys and values" : "the model's context") + " holds " +
                    std::to_string(max_tokens()) + "; shorten it, or let it be truncated");
  }
  const std::lock_guard lock(impl_->mutex);
  if (!impl_->thread.joinable()) impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
  impl_->waiting.push_back(std::move(request));
  impl_->wake.notify_all();
}

}  // namespace kvasir::generation
