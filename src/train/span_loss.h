// What span logits should have been, and how far they are from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/ragged_batch.h"

namespace kvasir::train {

// The answers of a batch's sequences, as positions in the sequence.
struct SpanLabels {
  std::span<const std::int32_t> start, end;  // [sequences]
};

// What a student learns from its teacher (Hinton et al. 2015), in place of part of the labels' loss.
struct Distillation {
  std::span<const float> start_logits = {}, end_logits = {};  // [tokens] of the batch; empty: none
  float alpha = 0.5F;
  float temperature = 2;
};

struct SpanLossCall {
  const tensor::RaggedBatch& batch;
  std::span<const float> logits;  // [tokens, 2]: start, end
  SpanLabels labels;
  Distillation teacher = {};
  // The sequences whose start, or end, counts, in the whole batch that this is a part of; 0: in this one.
  std::size_t counted_starts = 0, counted_ends = 0, sequences = 0;
};

struct SpanLoss {
  double loss = 0;                           // this batch's part of it
  double cross_entropy = 0, divergence = 0;  // before alpha and temperature
};

// The loss of BertForQuestionAnswering (modeling_bert.py) and its gradient by the logits, [tokens, 2]:
//   L = (CE(start) + CE(end)) / 2, each the mean over the sequences whose position counts.
// Positions are clamped to [0, length]; length means that it does not count. The softmax runs over all
// positions of a sequence, pads included. With a teacher, α T² KL + (1 - α) L, where KL is the mean over
// start and end and all sequences of Σ p (log p - log q), p = softmax(teacher / T), q = softmax(student / T).
SpanLoss span_loss(const SpanLossCall& call, std::span<float> gradient);

// How many positions count.
std::size_t counted(const tensor::RaggedBatch& batch, std::span<const std::int32_t> positions);

}  // namespace kvasir::train
