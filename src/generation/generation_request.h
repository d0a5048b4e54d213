// Requests that a caller waits for while the batch loop writes: one prompt with its sequences.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "generation/batch_loop.h"
#include "generation/beam_search.h"
#include "generation/json_constraint.h"
#include "generation/prompt_lookup.h"
#include "generation/sampler.h"
#include "kvasir/generator.h"
#include "text/stream_decoder.h"

namespace kvasir::generation {

// The text of tokens that arrive one by one, until a stop string.
class StoppedText {
 public:
  // verbatim: without the clean-up of spaces that some tokenizers do.
  StoppedText(const text::Tokenizer& tokenizer, const std::vector<std::string>& stop, bool verbatim)
      : decoder_(tokenizer,
                 {.skip_special_tokens = true,
                  .clean_up_tokenization_spaces = !verbatim && tokenizer.cleans_up_tokenization_spaces()}),
        stops_(stop) {}

  // Each returns the text that has become final.
  std::string push(std::int32_t id) { return keep(stops_.push(decoder_.push(id))); }
  std::string finish() {
    std::string text = stops_.push(decoder_.finish());
    text += stops_.finish();
    return keep(std::move(text));
  }
  bool is_stopped() const noexcept { return stops_.stopped(); }
  const std::string& text() const noexcept { return text_; }

 private:
  std::string keep(std::string text) {
    text_ += text;
    return text;
  }

  text::StreamDecoder decoder_;
  text::StopStrings stops_;
  std::string text_;
};

// The number of ids to drop, after the first `keep`, from a sequence that has filled the context.
std::size_t dropped_at(std::size_t length, std::size_t keep) noexcept;

// The common part of all ways of generating: the prompt, the end, and passing results to the waiting caller.
class GenerationRequest : public Request {
 public:
  struct Setting {
    std::vector<std::int32_t> prompt;
    const GenerateOptions* options;  // outlives the request's run
    const text::Tokenizer* tokenizer;
    std::vector<std::int32_t> eos_ids;  // empty with ignore_eos
    std::size_t max_new_tokens;         // limited by the context unless there is a shift
    std::size_t vocab_size;
    // With json_schema: the constraint in its initial state; each sequence has a copy.
    std::optional<JsonConstraint> constraint = {};
    // With context_shift: the maximum length of a sequence, and how much of its beginning stays.
    struct Shift {
      std::size_t context, keep;
    };
    std::optional<Shift> shift = {};
  };
  explicit GenerationRequest(Setting setting) : setting_(std::move(setting)) {}

  // Waits until all is written; calls on_text meanwhile. Throws what went wrong, and what on_text throws.
  GenerateResult wait();

  std::span<const std::int32_t> prompt() const noexcept final { return setting_.prompt; }
  std::vector<Next> advance(std::span<const Rows> branches) noexcept final;
  bool is_cancelled() const noexcept final;
  void stop(std::exception_ptr error) noexcept final;
  void begin(std::size_t cached) noexcept final { cached_ = cached; }

 protected:
  virtual std::vector<Next> go_on(std::span<const Rows> branches) = 0;
  virtual std::vector<GeneratedSequence> take_sequences() = 0;
  bool is_eos(std::int32_t id) const noexcept;
  StoppedText empty_text() const {
    return {*setting_.tokenizer, setting_.options->stop, setting_.constraint.has_value()};
  }
  void give(const std::string& text);  // to on_text
  // Shortens a sequence when it has filled the context. length: with the prompt; is updated.
  void shift(Next& next, std::size_t& length) const;

  Setting setting_;

 private:
  void finish(std::exception_ptr error) noexcept;

  std::size_t cached_ = 0;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), first_ = begin_;
  bool has_first_ = false;
  std::atomic<bool> abandoned_ = false;  // the caller no longer waits

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;  // not yet passed to the caller
  bool done_ = false;
  std::exception_ptr error_;
};

// Greedy decoding or sampling: one or several sequences of one prompt.
class SamplingRequest final : public GenerationRequest {
 public:
  SamplingRequest(Setting setting, const SamplingOptions& sampling);

 private:
  struct Sequence {
    Sampler sampler;
    std::optional<JsonConstraint> constraint;
    PromptLookup lookup;
    StoppedText text;
    std::size_t length;  // with the prompt, without what was dropped
    std::vector<std::int32_t> drafts = {};
    GeneratedSequence result = {};
  };
  std::vector<Next> go_on(std::span<const Rows> branches) override;
  std::vector<GeneratedSequence> take_sequences() override;
  std::optional<Next> write(std::size_t branch, Sequence& sequence, const Rows& rows);
  bool add(Sequence& sequence, const SampledToken& choice);

  std::vector<Sequence> sequences_;
  std::vector<std::size_t> live_;  // the sequence of each branch
};

class BeamRequest final : public GenerationRequest {
 public:
  BeamRequest(Setting setting, const SamplingOptions& sampling, BeamSearchOptions beams);

 private:
  std::vector<Next> go_on(std::span<const Rows> branches) override;
  std::vector<GeneratedSequence> take_sequences() override;
  const JsonConstraint& constraint_after(std::span<const std::int32_t> tokens);

  BeamSearch search_;
  BeamSearch::Adjust adjust_;
  BeamSearch::IsOver is_over_;
  std::vector<float> rows_;  // of the beams, side by side
  std::size_t length_;       // of each, as above
};

// Logits of all positions.
class LogitsRequest final : public Request {
 public:
  using Consume = std::function<void(std::size_t position, const std::vector<float>& logits)>;
  explicit LogitsRequest(std::vector<std::int32_t> ids) : ids_(std::move(ids)) {}

  // Throws what went wrong, and what consume throws.
  void wait(const Consume& consume);

  std::span<const std::int32_t> prompt() const noexcept override { return ids_; }
  std::vector<Next> advance(std::span<const Rows> branches) noexcept override;
  bool is_cancelled() const noexcept override { return abandoned_; }
  void stop(std::exception_ptr error) noexcept override;
  void begin(std::size_t) noexcept override {}
  bool sees_all() const noexcept override { return true; }
  void see(std::span<const float> logits) noexcept override;

 private:
  // Maximum number of rows that wait for the caller; then the loop pauses until it takes them.
  static constexpr std::size_t kMostWaiting = 256;

  std::vector<std::int32_t> ids_;
  std::atomic<bool> abandoned_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<float>> rows_;
  bool done_ = false;
  std::exception_ptr error_;
};

}  // namespace kvasir::generation
