#include "runtime/team.h"

#include <algorithm>

namespace kvasir::runtime {

void Batch::fill(std::span<const Sequence> sequences, const models::Head& head) {
  input_ids_.clear(), token_type_ids_.clear(), cu_seqlens_.assign(1, 0), key_lengths_.clear(),
      unpooled_.clear(), wanted_.clear();
  for (const Sequence& s : sequences) {
    want(s, input_ids_.size(), head);
    input_ids_.insert(input_ids_.end(), s.input_ids.begin(), s.input_ids.end());
    token_type_ids_.insert(token_type_ids_.end(), s.token_type_ids.begin(), s.token_type_ids.end());
    token_type_ids_.resize(input_ids_.size(), 0);  // none given: all 0
    cu_seqlens_.push_back(static_cast<std::int32_t>(input_ids_.size()));
    key_lengths_.push_back(static_cast<std::int32_t>(s.keys == 0 ? s.input_ids.size() : s.keys));
    unpooled_.push_back(static_cast<std::int32_t>(s.unpooled));
  }
}

// Notes which tokens of a sequence are wanted, whose first has this place in the batch.
void Batch::want(const Sequence& sequence, std::size_t begin, const models::Head& head) {
  const auto add = [&](std::size_t token) { wanted_.push_back(static_cast<std::int32_t>(begin + token)); };
  if (head.reads_first_tokens_only()) {
    add(0);
    return;
  }
  const Sequence::Tokens all{.begin = 0, .end = sequence.input_ids.size()};
  const bool wants_all = sequence.wanted.empty() || head.rows() != models::Head::Rows::kTokens;
  const Sequence::Tokens tokens = wants_all ? all : sequence.wanted;
  if (tokens.begin > 0) add(0);
  for (std::size_t token = tokens.begin; token < tokens.end; ++token) add(token);
}

tensor::RaggedBatch Batch::view() const {
  const bool wants_all = wanted_.size() == input_ids_.size();
  return {.input_ids = input_ids_,
          .token_type_ids = token_type_ids_,
          .cu_seqlens = cu_seqlens_,
          .key_lengths = key_lengths_,
          .unpooled = unpooled_,
          .wanted = wants_all ? std::span<const std::int32_t>() : wanted_};
}

void Team::run(const models::EncoderModel& model, const kernels::Kernels& kernels, std::span<float> out) {
  models::ForwardContext context{.kernels = kernels,
                                 .pool = pool,
                                 .workspace = workspace,
                                 .workers = {workers.get(), static_cast<std::size_t>(pool.size())}};
  model.run(batch.view(), context, out);
}

Teams::Loan Teams::take(int threads) {
  const std::lock_guard guard(mutex_);
  const auto idle =
      std::ranges::find_if(idle_, [&](const Team* team) { return team->pool.size() == threads; });
  if (idle != idle_.end()) {
    Team* team = *idle;
    idle_.erase(idle);
    return {team, Return{this}};
  }
  auto team = std::make_unique<Team>(threads);
  idle_.reserve(teams_.size() + 1);
  return {teams_.emplace_back(std::move(team)).get(), Return{this}};
}

void Teams::give(Team* team) noexcept {
  const std::lock_guard guard(mutex_);
  idle_.push_back(team);
}

}  // namespace kvasir::runtime
