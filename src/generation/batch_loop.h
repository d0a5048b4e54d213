// Continuous batching: one loop runs the tokens of all current requests together, so that the weights are
// read once for all of them. Requests join and leave between two steps.
//
//   BatchLoop loop(model, {…});
//   loop.submit(request);  // its advance() is called step after step, until it is done
//
// The loop is fair: in each step every request that is writing gets a token, and requests whose prompts are
// still being read share the rest. When memory for keys and values runs out, the newest request gives its
// pages back and is read again later.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "generation/kv_cache.h"
#include "models/causal_lm.h"

namespace kvasir::generation {

// A request to the loop. It starts with one branch, whose ids are the prompt's. Every step may fork branches
// (beams, several answers to one prompt), extend them and end them.
class Request {
 public:
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  virtual ~Request() = default;

  virtual std::span<const std::int32_t> prompt() const noexcept = 0;  // at least one id

  // The logits that follow a branch's last token, and each of the drafts that were run: [count, vocabulary].
  struct Rows {
    float* data;  // may be written to
    std::size_t count;
  };
  // A branch of the next step: `parent` followed by these tokens, at least one. All but the last must equal
  // the parent's drafts. drafts: guesses that may be run together with the last token; if they are, their
  // logits are returned too.
  struct Next {
    std::size_t parent;
    std::vector<std::int32_t> tokens, drafts = {};
    // `drop` of its ids, these included, are removed after the first `keep`. The rest, at least one id, is
    // read again as if it were a prompt.
    std::size_t keep = 0, drop = 0;
  };
  // One Rows per branch. Returns the branches of the next step; none: the request is done. Called on one of
  // the threads of the pool, while others advance other requests. Must not throw: a request keeps its own
  // errors.
  virtual std::vector<Next> advance(std::span<const Rows> branches) noexcept = 0;
  // Called before each step. True: the request is dropped and stop() called.
  virtual bool is_cancelled() const noexcept = 0;
  // The loop ends the request: it was cancelled (null), or something went wrong.
  virtual void stop(std::exception_ptr error) noexcept = 0;
  // Called once, before the first token is run, with the number of the prompt's tokens that were cached.
  virtual void begin(std::size_t cached) noexcept = 0;

  // Whether the request wants the logits of each token of its prompt: then see() is called for each, in
  // order.
  virtual bool sees_all() const noexcept { return false; }
  virtual void see(std::span<const float> /*logits*/) noexcept {}
};

struct BatchLoopOptions {
  kernels::KvType kv_type = kernels::KvType::kF16;
  KvCache::Options cache = {};
  std::size_t max_branches = 32;  // at the same time; other requests wait
};

class BatchLoop {
 public:
  // `model` and `pool` must outlive the loop; the pool is the loop's alone.
  BatchLoop(const models::CausalLm& model, const kernels::Kernels& kernels, base::ThreadPool& pool,
            const BatchLoopOptions& options);
  ~BatchLoop();  // stops all requests with kCancelled
  BatchLoop(const BatchLoop&) = delete;
  BatchLoop& operator=(const BatchLoop&) = delete;

  // Thread-safe. Throws kInvalidArgument for ids out of range, for a prompt longer than the model's context
  // or than all memory for keys and values.
  void submit(std::shared_ptr<Request> request);

  // The maximum number of tokens of a sequence.
  std::size_t max_tokens() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::generation
