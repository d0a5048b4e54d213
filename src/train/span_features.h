// Windows of questions and their texts with the answers' places in them, as run_qa's prepare_train_features
// (transformers) makes them: what a reader is trained on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "text/tokenizer.h"
#include "train/span_batch.h"
#include "train/training_data.h"

namespace kvasir::train {

struct SpanFeature {
  std::span<const std::int32_t> input_ids;
  std::span<const std::int32_t> token_type_ids;  // empty if the model is not fed them
  std::int32_t start = 0, end = 0;               // tokens of the answer, the last included; both [CLS]: none
  std::size_t example = 0;                       // index into TrainingData::examples
  std::size_t window = 0;                        // its number within the example
};

// Features in the order of their examples. Tokens lie one after the other: windows are many and short.
class SpanFeatures {
 public:
  std::size_t bad = 0;            // examples that have no windows
  std::vector<BadRow> first_bad;  // the first kNamedBadRows of them

  std::size_t size() const noexcept { return rows_.size(); }
  std::size_t tokens() const noexcept { return input_ids_.size(); }
  // Valid until add() is called.
  SpanFeature operator[](std::size_t i) const noexcept;
  void add(const SpanFeature& feature);
  void reserve(std::size_t features, std::size_t tokens);

  // Of each feature, for BatchSampler: its tokens, and its example's file.
  std::vector<std::uint32_t> lengths() const;
  std::vector<std::uint32_t> files(const TrainingData& data) const;

 private:
  struct Row {
    std::size_t begin, length;
    std::int32_t start, end;
    std::size_t example, window;
  };
  std::vector<std::int32_t> input_ids_;
  std::vector<std::int32_t> token_type_ids_;  // as input_ids_, or empty
  std::vector<Row> rows_;
};

struct SpanFeatureOptions {
  // Tokens of a whole window, cut to what tokenizer and model take, and tokens by which windows of a text
  // overlap, reduced to half of the room for text if that has no more.
  int max_seq_len = 384, doc_stride = 128;
  std::size_t model_max = std::numeric_limits<std::size_t>::max();  // positions of the model
  bool token_type_ids = true;                                       // whether the model is fed them
};

// The same features whatever the number of threads. A question that leaves no room for text is counted as
// bad. Windows and labels are run_qa's, except where its labels are no span of the text:
//  - if an answer begins in the last token of a window's text, run_qa walks on and labels what follows (the
//    separator, or the last pad) as its start; here it is that token;
//  - if an answer is one character in several tokens, as byte-level tokenizers have it, run_qa's start is the
//    last of them and its end the first; here they are the other way round.
// Throws kInvalidArgument for lengths that make no sense, or that leave no question room.
SpanFeatures make_span_features(const text::Tokenizer& tokenizer, const TrainingData& data,
                                const SpanFeatureOptions& options, base::ThreadPool& pool);

// Features as one batch. Their numbers as `examples`: dropout does not depend on which batch they are in.
SpanBatch make_span_batch(const SpanFeatures& features, std::span<const std::uint32_t> chosen);

}  // namespace kvasir::train
