// Beam search as transformers 4.57 does it (GenerationMixin._beam_search): the books of one prompt's beams;
// the model is run elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace kvasir::runtime {

enum class EarlyStopping {
  kNo,     // when no beam can become better, judged at its length so far
  kYes,    // when there are num_beams finished ones
  kNever,  // when no beam can become better, at any length
};

struct BeamOptions {
  std::size_t num_beams = 1;
  std::size_t max_new_tokens = 0;
  float length_penalty = 1;  // scores are sums of log-probabilities / length ^ length_penalty
  EarlyStopping early_stopping = EarlyStopping::kNo;
  std::vector<std::int32_t> eos_ids = {};
};

class BeamSearch {
 public:
  explicit BeamSearch(const BeamOptions& options);

  struct Next {
    std::size_t parent;
    std::int32_t token;
  };
  // log_probs: a row of the vocabulary for each live beam; at first one, of the prompt. Returns how beams go
  // on; none: the search is over.
  std::vector<Next> step(std::span<const std::span<const float>> log_probs);

  struct Hypothesis {
    std::vector<std::int32_t> ids;  // generated, the eos included
    std::vector<float> log_probs;   // of each
    float score = 0;
    bool by_eos = false;  // false: by length
  };
  // Best first, at most num_beams.
  std::vector<Hypothesis> hypotheses() const;
  std::span<const std::int32_t> ids(std::size_t beam) const noexcept { return beams_[beam].ids; }

 private:
  struct Beam {
    std::vector<std::int32_t> ids = {};
    std::vector<float> log_probs = {};
    float sum = 0;
  };
  struct Candidate {
    std::size_t parent;
    std::int32_t token;
    float sum, log_prob;
    bool is_finished = false;
  };
  std::vector<Candidate> best_candidates(std::span<const std::span<const float>> log_probs) const;
  void add_finished(std::span<const Candidate> candidates);
  Beam extend(const Candidate& candidate) const;
  bool can_improve() const;
  bool is_eos(std::int32_t token) const noexcept;

  BeamOptions options_;
  std::vector<Beam> beams_;           // live, best first
  std::vector<Hypothesis> finished_;  // best first
  std::size_t length_ = 0;            // tokens generated
  bool improvable_ = true;
};

}  // namespace kvasir::runtime
