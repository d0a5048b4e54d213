// Continuous batching: one loop runs the tokens of all requests that are under way together, so that the
// weights are read once for all of them; requests come and go between two steps.
//
//   BatchLoop loop(model, {…});
//   loop.submit(request);  // its advance() is called step after step, until it is done
//
// Fair: in each step everybody who is writing gets a token, and those whose prompts are still being read
// share the rest. When memory for keys and values runs out the youngest gives its pages back and reads again
// later.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "generation/kv_cache.h"
#include "models/causal_lm.h"

namespace kvasir::generation {

// What the loop runs. It begins with one branch, whose ids are the prompt's; every step may fork branches
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
  // How a branch goes on: `parent` with these tokens behind it, at least one. All but the last must be what
  // the parent's drafts were. drafts: guesses that are run together with the last token, and their logits
  // come along; or they are not, and do not.
  struct Next {
    std::size_t parent;
    std::vector<std::int32_t> tokens, drafts = {};
    // Of its ids, these included, `drop` behind the first `keep` are forgotten. What is left, at least one,
    // is read again as if it were a prompt.
    std::size_t keep = 0, drop = 0;
  };
  // One Rows per branch. Returns the branches from now on; none: the request is done. Called on one of the
  // threads of the pool, while others advance other requests. Must not throw: whatever
  // is wrong with the request itself is its own to keep.
  virtual std::vector<Next> advance(std::span<const Rows> branches) noexcept = 0;
  // Asked before each step. True: the request is dropped, and stop() called.
  virtual bool is_cancelled() const noexcept = 0;
  // The loop ends the request: it was cancelled (null), or something went wrong.
  virtual void stop(std::exception_ptr error) noexcept = 0;
  // Told once, when the first token is about to be run: how many of the prompt's tokens were there already.
  virtual void begin(std::size_t cached) noexcept = 0;

  // For a request that wants the logits of each token of its prompt: see() is called for one after the other.
  virtual bool sees_all() const noexcept { return false; }
  virtual void see(std::span<const float> /*logits*/) noexcept {}
};

struct BatchLoopOptions {
  kernels::KvType kv_type = kernels::KvType::kF16;
  KvCache::Options cache = {};
  std::size_t max_branches = 32;  // that run at once; other requests wait
};

class BatchLoop {
 public:
  // `model` and `pool` must outlive the loop; the pool is the loop's alone.
  BatchLoop(const models::CausalLm& model, const kernels::Kernels& kernels, base::ThreadPool& pool,
            const BatchLoopOptions& options);
  ~BatchLoop();  // stops all requests with kCancelled
  BatchLoop(const BatchLoop&) = delete;
  BatchLoop& operator=(const BatchLoop&) = delete;

  // Thread-safe. Throws kInvalidArgument for ids out of range, for a prompt longer than the model's context,
  // or than there could ever be memory for.
  void submit(std::shared_ptr<Request> request);

  // Tokens that one sequence may have in all.
  std::size_t max_tokens() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::generation
