#include "generation/beam_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "generation/logits.h"
#include "kvasir/error.h"

namespace kvasir::generation {

namespace {

constexpr std::size_t kMaxBeams = 1024;  // each holds a cache of its own

void check(const BeamSearchOptions& options) {
  const auto fail = [](const std::string& what) { throw Error(ErrorCode::kInvalidArgument, what); };
  if (options.num_beams < 1 || options.num_beams > kMaxBeams) {
    fail("option num_beams = " + std::to_string(options.num_beams) + " is not in [1, 1024]");
  }
  if (options.num_return_sequences < 1 || options.num_return_sequences > options.num_beams) {
    fail("option num_return_sequences = " + std::to_string(options.num_return_sequences) +
         " is not in [1, num_beams = " + std::to_string(options.num_beams) + "]");
  }
  if (options.max_new_tokens < 1) fail("option max_new_tokens is 0");
  if (!std::isfinite(options.length_penalty)) fail("option length_penalty is no number");
}

}  // namespace

BeamSearch::BeamSearch(BeamSearchOptions options) : options_(std::move(options)), live_(1) {
  check(options_);
}

float BeamSearch::score(float sum, std::size_t length) const noexcept {
  return sum / static_cast<float>(
                   std::pow(static_cast<double>(length), static_cast<double>(options_.length_penalty)));
}

// The best continuations of all beams, as many as leave num_beams when all that can end do.
std::vector<BeamSearch::Candidate> BeamSearch::candidates(std::span<float> logits,
                                                          const Adjust& adjust) const {
  const std::size_t vocabulary = logits.size() / live_.size();
  const std::size_t wanted = std::max<std::size_t>(2, 1 + options_.eos_token_ids.size()) * options_.num_beams;
  std::vector<Candidate> out;
  for (std::size_t beam = 0; beam < live_.size(); ++beam) {
    const std::span<float> row = logits.subspan(beam * vocabulary, vocabulary);
    const LogitSums sums = sum_exp(row);
    if (!std::isfinite(sums.sum) || !std::isfinite(sums.max)) {
      throw Error(ErrorCode::kFormat,
                  "the model gave logits that are no numbers (NaN or infinite); its weights may be damaged");
    }
    const auto log_sum_exp = static_cast<float>(sums.log_sum_exp());
    for (float& logit : row) logit -= log_sum_exp;
    if (adjust) adjust(live_[beam].tokens, row);
    for (const auto& [id, logprob] : largest(row, wanted)) {
      out.push_back({logprob + live_[beam].sum, beam, id, logprob});
    }
  }
  const auto better = [](const Candidate& a, const Candidate& b) {
    if (a.sum != b.sum) return a.sum > b.sum;
    return a.parent != b.parent ? a.parent < b.parent : a.token < b.token;
  };
  std::sort(out.begin(), out.end(), better);
  if (out.size() > wanted) out.resize(wanted);
  return out;
}

bool BeamSearch::is_end(const Candidate& candidate, const IsOver& is_over) const {
  const auto& ends = options_.eos_token_ids;
  if (std::find(ends.begin(), ends.end(), candidate.token) != ends.end()) return true;
  if (!is_over) return false;
  std::vector<std::int32_t> tokens = live_[candidate.parent].tokens;
  tokens.push_back(candidate.token);
  return is_over(tokens);
}

BeamSearch::Hypothesis BeamSearch::hypothesis(const Candidate& candidate, bool ended) const {
  const Beam& beam = live_[candidate.parent];
  Hypothesis out{beam.tokens, beam.logprobs, score(candidate.sum, beam.tokens.size() + 1), ended};
  out.tokens.push_back(candidate.token);
  out.logprobs.push_back(candidate.logprob);
  return out;
}

// Of equal scores the first one stays first.
void BeamSearch::insert(std::vector<Hypothesis>& finished, Hypothesis hypothesis, std::size_t most) {
  const auto at = std::find_if(finished.begin(), finished.end(),
                               [&](const Hypothesis& one) { return one.score < hypothesis.score; });
  finished.insert(at, std::move(hypothesis));
  if (finished.size() > most) finished.pop_back();
}

std::vector<BeamSearch::Continuation> BeamSearch::step(std::span<float> logits, const Adjust& adjust,
                                                       const IsOver& is_over) {
  if (done_ || logits.empty() || logits.size() % live_.size() != 0) {
    throw Error(ErrorCode::kInvalidArgument, "beam search: wants rows of logits for " +
                                                 std::to_string(done_ ? 0 : live_.size()) + " beams, not " +
                                                 std::to_string(logits.size()) + " numbers");
  }
  ++length_;
  const bool at_limit = length_ >= options_.max_new_tokens;
  const auto best = candidates(logits, adjust);
  std::vector<Beam> next;
  std::vector<Continuation> out;
  for (std::size_t i = 0; i < best.size(); ++i) {
    const bool ended = is_end(best[i], is_over);
    if (ended || at_limit) {
      // An end counts only among the best num_beams.
      if (i < options_.num_beams) insert(finished_, hypothesis(best[i], ended), options_.num_beams);
    } else if (next.size() < options_.num_beams) {
      Beam beam{live_[best[i].parent].tokens, live_[best[i].parent].logprobs, best[i].sum};
      beam.tokens.push_back(best[i].token);
      beam.logprobs.push_back(best[i].logprob);
      next.push_back(std::move(beam));
      out.push_back({best[i].parent, best[i].token});
    }
  }
  live_ = std::move(next);
  const bool full = finished_.size() == options_.num_beams;
  done_ = live_.empty() || !may_improve() || (full && options_.early_stopping == EarlyStopping::kYes);
  return out;
}

// Whether the best live beam could still be better than the worst finished one.
bool BeamSearch::may_improve() const noexcept {
  if (finished_.size() < options_.num_beams) return true;
  const bool best_case = options_.early_stopping == EarlyStopping::kNever && options_.length_penalty > 0;
  return score(live_.front().sum, best_case ? options_.max_new_tokens : length_) > finished_.back().score;
}

std::vector<BeamSearch::Hypothesis> BeamSearch::finish() const {
  std::vector<Hypothesis> out = finished_;
  if (!done_) {
    for (const Beam& beam : live_) {
      if (beam.tokens.empty()) continue;
      insert(out, {beam.tokens, beam.logprobs, score(beam.sum, beam.tokens.size()), false},
             options_.num_beams);
    }
  }
  if (out.size() > options_.num_return_sequences) out.resize(options_.num_return_sequences);
  return out;
}

}  // namespace kvasir::generation
