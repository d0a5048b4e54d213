#include "runtime/beam_search.h"

#include <algorithm>
#include <cmath>

namespace kvasir::runtime {

BeamSearch::BeamSearch(const BeamOptions& options) : options_(options), beams_(1) {}

bool BeamSearch::is_eos(std::int32_t token) const noexcept {
  return std::ranges::find(options_.eos_ids, token) != options_.eos_ids.end();
}

// The best ways to go on, more than there are beams: each beam may end, and enough must be left that do not.
std::vector<BeamSearch::Candidate> BeamSearch::best_candidates(
    std::span<const std::span<const float>> log_probs) const {
  const std::size_t count = std::max<std::size_t>(2, 1 + options_.eos_ids.size()) * options_.num_beams;
  const auto is_better = [](const Candidate& a, const Candidate& b) { return a.sum > b.sum; };
  std::vector<Candidate> heap;  // the worst first
  for (std::size_t beam = 0; beam < log_probs.size(); ++beam) {
    for (std::size_t token = 0; token < log_probs[beam].size(); ++token) {
      const float sum = log_probs[beam][token] + beams_[beam].sum;
      if (heap.size() == count && !(sum > heap.front().sum)) continue;
      if (heap.size() == count) {
        std::ranges::pop_heap(heap, is_better);
        heap.pop_back();
      }
      heap.push_back({.parent = beam,
                      .token = static_cast<std::int32_t>(token),
                      .sum = sum,
                      .log_prob = log_probs[beam][token]});
      std::ranges::push_heap(heap, is_better);
    }
  }
  std::ranges::sort(heap, [](const Candidate& a, const Candidate& b) {
    if (a.sum != b.sum) return a.sum > b.sum;
    return a.parent != b.parent ? a.parent < b.parent : a.token < b.token;
  });
  return heap;
}

BeamSearch::Beam BeamSearch::extend(const Candidate& candidate) const {
  Beam beam = beams_[candidate.parent];
  beam.ids.push_back(candidate.token);
  beam.log_probs.push_back(candidate.log_prob);
  beam.sum = candidate.sum;
  return beam;
}

void BeamSearch::add_finished(std::span<const Candidate> candidates) {
  const bool is_full =
      options_.early_stopping == EarlyStopping::kYes && finished_.size() == options_.num_beams;
  if (is_full || !improvable_) return;
  const float divisor = std::pow(static_cast<float>(length_ + 1), options_.length_penalty);
  // Only the best num_beams count; the others are there in case that those end.
  for (const Candidate& c : candidates.first(std::min(candidates.size(), options_.num_beams))) {
    if (!c.is_finished) continue;
    Beam beam = extend(c);
    Hypothesis hypothesis{.ids = std::move(beam.ids),
                          .log_probs = std::move(beam.log_probs),
                          .score = c.sum / divisor,
                          .by_eos = is_eos(c.token)};
    const auto place =
        std::ranges::upper_bound(finished_, hypothesis.score, std::ranges::greater(), &Hypothesis::score);
    finished_.insert(place, std::move(hypothesis));
  }
  if (finished_.size() > options_.num_beams) finished_.resize(options_.num_beams);
}

// Whether the best live beam could still get in among the finished ones.
bool BeamSearch::can_improve() const {
  if (finished_.size() < options_.num_beams) return true;
  const bool longest = options_.early_stopping == EarlyStopping::kNever && options_.length_penalty > 0;
  const auto length = static_cast<float>(longest ? options_.max_new_tokens : length_);
  return beams_.front().sum / std::pow(length, options_.length_penalty) > finished_.back().score;
}

std::vector<BeamSearch::Next> BeamSearch::step(std::span<const std::span<const float>> log_probs) {
  std::vector<Candidate> candidates = best_candidates(log_probs);
  const bool at_end = length_ + 1 >= options_.max_new_tokens;
  for (Candidate& c : candidates) c.is_finished = at_end || is_eos(c.token);
  add_finished(candidates);

  std::vector<Beam> beams;
  std::vector<Next> next;
  for (const Candidate& c : candidates) {
    if (c.is_finished || beams.size() == options_.num_beams) continue;
    beams.push_back(extend(c));
    next.push_back({.parent = c.parent, .token = c.token});
  }
  ++length_;
  if (beams.empty()) return {};
  beams_ = std::move(beams);
  improvable_ = improvable_ && can_improve();
  const bool is_full =
      options_.early_stopping == EarlyStopping::kYes && finished_.size() == options_.num_beams;
  if (!improvable_ || is_full) return {};
  return next;
}

std::vector<BeamSearch::Hypothesis> BeamSearch::hypotheses() const {
  return finished_;
}

}  // namespace kvasir::runtime
