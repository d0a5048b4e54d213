#include "train/span_features.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "qa/windows.h"
#include "unicode/python_text.h"

namespace kvasir::train {

namespace {

// What becomes of the questions of one context.
struct Part {
  struct Bad {
    std::size_t example;
    std::string reason;
  };
  SpanFeatures features;
  std::vector<Bad> bad;
  std::exception_ptr failure;
  std::size_t features_taken = 0, bad_taken = 0;
};

// The text in a window.
struct WindowText {
  const text::Encoding& encoding;
  std::size_t begin, end;  // its tokens
};

struct TokenRange {
  std::int32_t first, last;
};

// The rule of prepare_train_features: from the last token that begins at or before the answer to the first
// that ends at or after it. Precondition: the text begins at or before the answer, and ends at or after it.
TokenRange tokens_of(const WindowText& window, const TrainingExample& example) {
  const std::vector<text::ByteSpan>& offsets = window.encoding.offsets;
  std::size_t first = window.begin;
  while (first < window.end && offsets[first].begin <= example.answer_begin) ++first;
  std::size_t last = window.end;
  while (last > window.begin && offsets[last - 1].end >= example.answer_end) --last;
  --first;
  // A character in several tokens, each of which begins and ends with it.
  if (first > last) std::swap(first, last);
  return {.first = static_cast<std::int32_t>(first), .last = static_cast<std::int32_t>(last)};
}

class FeatureMaker {
 public:
  FeatureMaker(const text::Tokenizer& tokenizer, const TrainingData& data, const SpanFeatureOptions& options)
      : tokenizer_(tokenizer),
        data_(data),
        feeds_types_(options.token_type_ids),
        limits_{.tokenizer_max = tokenizer.model_max_length(),
                .model_max = options.model_max,
                .template_tokens = tokenizer.pair_template_tokens()},
        lengths_(qa::window_lengths({.max_seq_len = options.max_seq_len, .doc_stride = options.doc_stride},
                                    limits_)),
        cls_id_(tokenizer.special_ids().cls.value_or(text::Encoding::kNone)) {}

  std::size_t window() const noexcept { return lengths_.max_seq_len; }

  // The questions of a context, each by its index.
  void make(std::size_t context, std::span<const std::size_t> examples, Part& part) const {
    text::TokenizedText tokens;
    try {
      tokens = tokenizer_.tokenize(data_.contexts[context]);
    } catch (const Error& error) {
      for (const std::size_t example : examples) part.bad.push_back({example, error.what()});
      return;
    }
    for (const std::size_t example : examples) {
      try {
        add_windows(example, tokens, part);
      } catch (const Error& error) {
        part.bad.push_back({example, error.what()});
      }
    }
  }

 private:
  void add_windows(std::size_t index, const text::TokenizedText& context, Part& part) const {
    const TrainingExample& example = data_.examples[index];
    const text::TokenizedText question = tokenizer_.tokenize(unicode::strip_left(example.question));
    const std::size_t beside = question.size() + limits_.template_tokens;
    if (beside >= lengths_.max_seq_len) {
      part.bad.push_back({index, "question of " + std::to_string(question.size()) +
                                     " tokens leaves no room in a window of " +
                                     std::to_string(lengths_.max_seq_len)});
      return;
    }
    // run_qa refuses an overlap that is not less than the room; here it is reduced, as where kvasir reads.
    const bool overlap_fits = lengths_.doc_stride < lengths_.max_seq_len - beside;
    const std::vector<text::ContextSlice> slices = qa::context_slices(
        question.size(), context.size(), lengths_, limits_, overlap_fits ? Decode::kSquad : Decode::kKvasir);
    const text::ContextSlice whole{.begin = 0, .end = question.size()};
    for (std::size_t k = 0; k < slices.size(); ++k) {
      const bool context_first = tokenizer_.pad_left();
      const text::Encoding encoding = context_first ? tokenizer_.join(context, slices[k], question, whole)
                                                    : tokenizer_.join(question, whole, context, slices[k]);
      const auto at = std::ranges::find(encoding.sequence_ids, context_first ? 0 : 1);
      const auto begin = static_cast<std::size_t>(at - encoding.sequence_ids.begin());
      const TokenRange label = label_of(
          {.encoding = encoding, .begin = begin, .end = begin + slices[k].end - slices[k].begin}, example);
      SpanFeature feature{.input_ids = encoding.ids,
                          .token_type_ids = {},
                          .start = label.first,
                          .end = label.last,
                          .example = index,
                          .window = k};
      if (feeds_types_) feature.token_type_ids = encoding.type_ids;
      part.features.add(feature);
    }
  }

  TokenRange label_of(const WindowText& window, const TrainingExample& example) const {
    const std::vector<text::ByteSpan>& offsets = window.encoding.offsets;
    if (example.answerable && window.begin < window.end &&
        offsets[window.begin].begin <= example.answer_begin &&
        offsets[window.end - 1].end >= example.answer_end) {
      return tokens_of(window, example);
    }
    const std::vector<std::int32_t>& ids = window.encoding.ids;
    const auto cls = std::ranges::find(ids, cls_id_);
    const auto position = cls == ids.end() ? 0 : static_cast<std::int32_t>(cls - ids.begin());
    return {.first = position, .last = position};
  }

  const text::Tokenizer& tokenizer_;
  const TrainingData& data_;
  bool feeds_types_;
  qa::WindowLimits limits_;
  qa::WindowLengths lengths_;
  std::int32_t cls_id_;
};

// Puts the parts together in the order of the examples; each goes when it has been used up.
SpanFeatures merge(const TrainingData& data, std::vector<Part>& parts) {
  SpanFeatures all;
  std::size_t features = 0, tokens = 0;
  for (const Part& part : parts) {
    if (part.failure) std::rethrow_exception(part.failure);
    features += part.features.size();
    tokens += part.features.tokens();
  }
  all.reserve(features, tokens);
  for (std::size_t i = 0; i < data.examples.size(); ++i) {
    const TrainingExample& example = data.examples[i];
    Part& part = parts[example.context];
    if (part.bad_taken < part.bad.size() && part.bad[part.bad_taken].example == i) {
      const std::string where = data.files[example.file].path.string() + ": question " + example.id;
      if (all.bad++ < kNamedBadRows)
        all.first_bad.push_back(
            {base::one_line(where), base::one_line(std::move(part.bad[part.bad_taken].reason))});
      ++part.bad_taken;
    }
    const std::size_t taken = part.features_taken;
    for (; part.features_taken < part.features.size(); ++part.features_taken) {
      const SpanFeature feature = part.features[part.features_taken];
      if (feature.example != i) break;
      all.add(feature);
    }
    if (part.features_taken > taken && part.features_taken == part.features.size()) {
      part.features = {};
      part.features_taken = 0;
    }
  }
  return all;
}

}  // namespace

SpanFeature SpanFeatures::operator[](std::size_t i) const noexcept {
  const Row& row = rows_[i];
  SpanFeature feature{.input_ids = std::span(input_ids_).subspan(row.begin, row.length),
                      .token_type_ids = {},
                      .start = row.start,
                      .end = row.end,
                      .example = row.example,
                      .window = row.window};
  if (!token_type_ids_.empty())
    feature.token_type_ids = std::span(token_type_ids_).subspan(row.begin, row.length);
  return feature;
}

void SpanFeatures::add(const SpanFeature& feature) {
  rows_.push_back({.begin = input_ids_.size(),
                   .length = feature.input_ids.size(),
                   .start = feature.start,
                   .end = feature.end,
                   .example = feature.example,
                   .window = feature.window});
  input_ids_.insert(input_ids_.end(), feature.input_ids.begin(), feature.input_ids.end());
  token_type_ids_.insert(token_type_ids_.end(), feature.token_type_ids.begin(), feature.token_type_ids.end());
}

void SpanFeatures::reserve(std::size_t features, std::size_t tokens) {
  rows_.reserve(features);
  input_ids_.reserve(tokens);
}

std::vector<std::uint32_t> SpanFeatures::lengths() const {
  std::vector<std::uint32_t> lengths;
  lengths.reserve(rows_.size());
  for (const Row& row : rows_) lengths.push_back(static_cast<std::uint32_t>(row.length));
  return lengths;
}

std::vector<std::uint32_t> SpanFeatures::files(const TrainingData& data) const {
  std::vector<std::uint32_t> files;
  files.reserve(rows_.size());
  for (const Row& row : rows_) files.push_back(static_cast<std::uint32_t>(data.examples[row.example].file));
  return files;
}

SpanFeatures make_span_features(const text::Tokenizer& tokenizer, const TrainingData& data,
                                const SpanFeatureOptions& options, base::ThreadPool& pool) {
  const FeatureMaker maker(tokenizer, data, options);
  std::vector<std::vector<std::size_t>> examples(data.contexts.size());
  for (std::size_t i = 0; i < data.examples.size(); ++i) examples[data.examples[i].context].push_back(i);
  std::vector<Part> parts(data.contexts.size());
  pool.parallel_for(parts.size(), [&](std::size_t context, int) noexcept {
    try {
      maker.make(context, examples[context], parts[context]);
    } catch (...) {
      parts[context].failure = std::current_exception();
    }
  });
  SpanFeatures features = merge(data, parts);
  if (features.size() == 0) {
    const std::string first = features.first_bad.empty() ? ""
                                                         : " (" + features.first_bad[0].where + ": " +
                                                               features.first_bad[0].reason + ")";
    throw Error(ErrorCode::kInvalidArgument, "max_seq_len: no question fits into a window of " +
                                                 std::to_string(maker.window()) + " tokens" + first +
                                                 "; raise it");
  }
  return features;
}

SpanBatch make_span_batch(const SpanFeatures& features, std::span<const std::uint32_t> chosen) {
  SpanBatch batch;
  for (const std::uint32_t index : chosen) {
    const SpanFeature feature = features[index];
    batch.input_ids.insert(batch.input_ids.end(), feature.input_ids.begin(), feature.input_ids.end());
    batch.token_type_ids.insert(batch.token_type_ids.end(), feature.token_type_ids.begin(),
                                feature.token_type_ids.end());
    batch.cu_seqlens.push_back(static_cast<std::int32_t>(batch.input_ids.size()));
    batch.start_positions.push_back(feature.start);
    batch.end_positions.push_back(feature.end);
    batch.examples.push_back(index);
  }
  return batch;
}

}  // namespace kvasir::train
