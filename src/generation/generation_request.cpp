#include "generation/generation_request.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::generation {

namespace {

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

std::size_t dropped_at(std::size_t length, std::size_t keep) noexcept {
  return std::max<std::size_t>(1, (length - keep) / 2);
}

bool GenerationRequest::is_eos(std::int32_t id) const noexcept {
  return std::ranges::find(setting_.eos_ids, id) != setting_.eos_ids.end();
}

bool GenerationRequest::is_cancelled() const noexcept {
  const std::atomic<bool>* cancel = setting_.options->cancel;
  return abandoned_ || (cancel != nullptr && cancel->load(std::memory_order_relaxed));
}

std::vector<Request::Next> GenerationRequest::advance(std::span<const Rows> branches) noexcept {
  std::exception_ptr error;
  try {
    std::vector<Next> next = go_on(branches);
    if (!has_first_) first_ = std::chrono::steady_clock::now();
    has_first_ = true;
    if (next.empty()) finish(nullptr);
    return next;
  } catch (...) {
    error = std::current_exception();
  }
  // Only now that the handler has let go of it: an exception belongs to the thread that waits, which reads it
  // and frees it.
  finish(std::move(error));
  return {};
}

void GenerationRequest::stop(std::exception_ptr error) noexcept {
  finish(error != nullptr
             ? std::move(error)
             : std::make_exception_ptr(Error(ErrorCode::kCancelled, "generation was cancelled")));
}

void GenerationRequest::finish(std::exception_ptr error) noexcept {
  const std::lock_guard lock(mutex_);
  error_ = std::move(error);
  done_ = true;
  changed_.notify_all();
}

void GenerationRequest::give(const std::string& text) {
  if (text.empty() || !setting_.options->on_text) return;
  const std::lock_guard lock(mutex_);
  text_ += text;
  changed_.notify_all();
}

void GenerationRequest::shift(Next& next, std::size_t& length) const {
  if (!setting_.shift || length < setting_.shift->context) return;
  next.keep = setting_.shift->keep;
  next.drop = dropped_at(length, next.keep);
  length -= next.drop;
}

GenerateResult GenerationRequest::wait() {
  // However this call ends, the loop must not go on writing for it.
  struct Abandon {
    std::atomic<bool>& flag;
    ~Abandon() { flag = true; }
  } abandon{abandoned_};
  std::unique_lock lock(mutex_);
  while (!done_ || !text_.empty()) {
    changed_.wait(lock, [&] { return done_ || !text_.empty(); });
    if (text_.empty()) continue;
    const std::string text = std::exchange(text_, {});
    lock.unlock();
    try {
      setting_.options->on_text(text);
    } catch (...) {
      abandoned_ = true;
      lock.lock();
      changed_.wait(lock, [&] { return done_; });  // the loop reads the options until then
      throw;
    }
    lock.lock();
  }
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  const auto end = std::chrono::steady_clock::now();
  return {.prompt_ids = setting_.prompt,
          .sequences = take_sequences(),
          .cached_tokens = cached_,
          .prompt_seconds = seconds_between(begin_, first_),
          .seconds = seconds_between(begin_, end)};
}

SamplingRequest::SamplingRequest(Setting setting, const SamplingOptions& sampling)
    : GenerationRequest(std::move(setting)) {
  for (std::size_t i = 0; i < setting_.options->num_return_sequences; ++i) {
    SamplingOptions own = sampling;
    own.seed += i * 0x9E3779B97F4A7C15;  // far from the seeds that people choose
    sequences_.push_back({.sampler = Sampler(own, setting_.prompt),
                          .constraint = setting_.constraint,
                          .lookup = PromptLookup({}, setting_.prompt),
                          .text = empty_text(),
                          .length = setting_.prompt.size()});
  }
}

// Adds a token to a sequence. False: that was its last.
bool SamplingRequest::add(Sequence& sequence, const SampledToken& choice) {
  GeneratedSequence& result = sequence.result;
  result.ids.push_back(choice.id);
  result.logprobs.push_back(choice.logprob);
  result.score += static_cast<double>(choice.logprob);
  const bool is_first = &sequence == &sequences_.front();
  const bool eos = is_eos(choice.id);
  // An eos that is no special token is text, but no JSON.
  std::string piece = eos && sequence.constraint ? "" : sequence.text.push(choice.id);
  if (is_first) give(piece);
  if (eos || sequence.text.is_stopped() || (sequence.constraint && sequence.constraint->must_end())) {
    result.finish_reason = "stop";
  } else if (result.ids.size() == setting_.max_new_tokens) {
    result.finish_reason = "length";
  } else {
    return true;
  }
  piece = sequence.text.finish();
  if (is_first) give(piece);
  result.text = sequence.text.text();
  return false;
}

// Takes tokens from rows as long as they are what was guessed.
std::optional<Request::Next> SamplingRequest::write(std::size_t branch, Sequence& sequence,
                                                    const Rows& rows) {
  Next next{.parent = branch, .tokens = {}};
  for (std::size_t row = 0; row < rows.count; ++row) {
    const SampledToken choice =
        sequence.sampler.sample({rows.data + row * setting_.vocab_size, setting_.vocab_size},
                                sequence.constraint ? &*sequence.constraint : nullptr);
    sequence.sampler.accept(choice.id);
    if (sequence.constraint) sequence.constraint->accept(choice.id);
    sequence.lookup.append(choice.id);
    if (!add(sequence, choice)) return std::nullopt;
    next.tokens.push_back(choice.id);
    if (row < sequence.drafts.size() && sequence.drafts[row] != choice.id) break;
  }
  sequence.length += next.tokens.size();
  shift(next, sequence.length);
  std::size_t left = setting_.max_new_tokens - sequence.result.ids.size();  // at least 1
  if (setting_.shift) left = std::min(left, setting_.shift->context - sequence.length);
  sequence.drafts = sequence.lookup.propose(std::min(setting_.options->prompt_lookup_num_tokens, left - 1));
  next.drafts = sequence.drafts;
  return next;
}

std::vector<Request::Next> SamplingRequest::go_on(std::span<const Rows> branches) {
  std::vector<Next> result;
  if (live_.empty()) {  // the prompt has been read: all sequences begin with its logits
    std::vector<float> copy;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      copy.assign(branches[0].data, branches[0].data + setting_.vocab_size);
      if (auto next = write(0, sequences_[i], {.data = copy.data(), .count = 1})) {
        result.push_back(std::move(*next));
        live_.push_back(i);
      }
    }
    return result;
  }
  std::vector<std::size_t> live;
  for (std::size_t branch = 0; branch < branches.size(); ++branch) {
    if (auto next = write(branch, sequences_[live_[branch]], branches[branch])) {
      result.push_back(std::move(*next));
      live.push_back(live_[branch]);
    }
  }
  live_ = std::move(live);
  return result;
}

std::vector<GeneratedSequence> SamplingRequest::take_sequences() {
  std::vector<GeneratedSequence> results;
  for (Sequence& sequence : sequences_) results.push_back(std::move(sequence.result));
  return results;
}

BeamRequest::BeamRequest(Setting setting, const SamplingOptions& sampling, BeamSearchOptions beams)
    : GenerationRequest(std::move(setting)), search_(std::move(beams)), length_(setting_.prompt.size()) {
  // As the reference: penalties change log-probabilities here, not logits.
  adjust_ = [this, sampling](std::span<const std::int32_t> tokens, std::span<float> logprobs) {
    Sampler sampler(sampling, setting_.prompt);
    for (const std::int32_t id : tokens) sampler.accept(id);
    sampler.penalize(logprobs);
    if (setting_.constraint) constraint_after(tokens).mask(logprobs);
  };
  if (setting_.constraint) {
    is_over_ = [this](std::span<const std::int32_t> tokens) { return constraint_after(tokens).must_end(); };
  }
}

// The one constraint serves all beams: from the beginning each time, for what it has met it knows.
const JsonConstraint& BeamRequest::constraint_after(std::span<const std::int32_t> tokens) {
  setting_.constraint->restart();
  for (const std::int32_t id : tokens) setting_.constraint->accept(id);
  return *setting_.constraint;
}

std::vector<Request::Next> BeamRequest::go_on(std::span<const Rows> branches) {
  rows_.clear();
  for (const Rows& rows : branches) rows_.insert(rows_.end(), rows.data, rows.data + setting_.vocab_size);
  std::vector<Next> result;
  for (const BeamSearch::Continuation& next : search_.step(rows_, adjust_, is_over_)) {
    result.push_back({.parent = next.parent, .tokens = {next.token}});
  }
  ++length_;
  std::size_t length = length_;
  for (Next& next : result) shift(next, length = length_);
  length_ = length;
  if (!search_.done()) return result;
  if (search_.finish().empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "all tokens are forbidden (by logit_bias or the form of the output), so no beam can go on");
  }
  result.clear();
  return result;
}

std::vector<GeneratedSequence> BeamRequest::take_sequences() {
  std::vector<GeneratedSequence> results;
  for (BeamSearch::Hypothesis& h : search_.finish()) {
    StoppedText text = empty_text();
    for (const std::int32_t id : h.tokens) {
      if (!(setting_.constraint && is_eos(id))) text.push(id);
    }
    text.finish();
    results.push_back({.text = text.text(),
                       .ids = std::move(h.tokens),
                       .logprobs = std::move(h.logprobs),
                       .finish_reason = h.ended || text.is_stopped() ? "stop" : "length",
                       .score = static_cast<double>(h.score)});
  }
  return results;
}

void LogitsRequest::see(std::span<const float> logits) noexcept {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return rows_.size() < kMostWaiting || abandoned_; });
  try {
    rows_.emplace_back(logits.begin(), logits.end());
  } catch (...) {
    error_ = std::current_exception();
  }
  changed_.notify_all();
}

std::vector<Request::Next> LogitsRequest::advance(std::span<const Rows>) noexcept {
  stop(nullptr);
  return {};
}

void LogitsRequest::stop(std::exception_ptr error) noexcept {
  const std::lock_guard lock(mutex_);
  if (error_ == nullptr) error_ = std::move(error);
  done_ = true;
  changed_.notify_all();
}

void LogitsRequest::wait(const Consume& consume) {
  struct Abandon {
    LogitsRequest& request;
    ~Abandon() {
      request.abandoned_ = true;
      request.changed_.notify_all();
    }
  } abandon{*this};
  for (std::size_t position = 0; position < ids_.size(); ++position) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ || !rows_.empty(); });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    if (rows_.empty()) throw Error(ErrorCode::kCancelled, "the model is being closed");
    const std::vector<float> row = std::move(rows_.front());
    rows_.pop_front();
    changed_.notify_all();
    lock.unlock();
    consume(position, row);
  }
}

}  // namespace kvasir::generation
