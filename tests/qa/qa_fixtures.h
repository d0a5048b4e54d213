// Golden cases of encoders-qa/*/expected.json, with offsets in bytes.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "formats/safetensors.h"
#include "kvasir/reader.h"
#include "qa/span_decoder.h"

namespace kvasir::tests {

namespace json = boost::json;

// Families whose fixtures have a tokenizer of their own.
inline const std::string kGoldenModels[] = {"albert",     "bert-cased", "bert-uncased", "deberta-v2",
                                            "distilbert", "electra",    "mobilebert",   "modernbert",
                                            "mpnet",      "roberta",    "xlm-roberta"};
// The name of an instance of a test over them.
inline std::string golden_name(const testing::TestParamInfo<std::string>& instance) {
  std::string name = instance.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

struct GoldenWindow {
  text::Encoding encoding;  // without the padding that the case may have
  std::vector<float> start_logits, end_logits;
};

struct GoldenAnswer {
  double score = 0;
  std::size_t start = 0, end = 0;  // code points
  std::string text;
};

struct GoldenCase {
  std::string id, question, context;
  AskOptions options;  // the case's arguments of the pipeline, and what they come to
  std::vector<GoldenWindow> windows;
  std::vector<GoldenAnswer> pipeline;  // those with a positive score
  const json::object* run_qa = nullptr;
};

struct GoldenModel {
  json::value file;
  std::int32_t cls_id = -1;
  std::vector<GoldenCase> cases, left_padding_cases;
};

inline text::ByteSpan byte_span(const base::OffsetMap& map, const json::value& offset) {
  return {static_cast<std::uint32_t>(map.byte_of_code_point(offset.at(0).to_number<std::size_t>())),
          static_cast<std::uint32_t>(map.byte_of_code_point(offset.at(1).to_number<std::size_t>()))};
}

inline std::int32_t or_none(const json::value& value) {
  return value.is_null() ? text::Encoding::kNone : value.to_number<std::int32_t>();
}

inline GoldenWindow read_window(const json::object& in, const std::string& first, const std::string& second) {
  GoldenWindow out;
  const base::OffsetMap maps[] = {base::OffsetMap(first), base::OffsetMap(second)};
  const json::value* mask = in.if_contains("attention_mask");
  for (std::size_t i = 0; i < in.at("input_ids").as_array().size(); ++i) {
    if (mask != nullptr && mask->at(i).to_number<int>() == 0) break;
    text::Encoding& e = out.encoding;
    e.ids.push_back(in.at("input_ids").at(i).to_number<std::int32_t>());
    const json::value* types = in.if_contains("token_type_ids");
    e.type_ids.push_back(types == nullptr ? 0 : types->at(i).to_number<std::int32_t>());
    e.sequence_ids.push_back(or_none(in.at("sequence_ids").at(i)));
    e.word_ids.push_back(or_none(in.at("word_ids").at(i)));
    e.offsets.push_back(e.sequence_ids.back() < 0
                            ? text::ByteSpan{}
                            : byte_span(maps[e.sequence_ids.back()], in.at("offsets").at(i)));
    out.start_logits.push_back(in.at("start_logits").at(i).to_number<float>());
    out.end_logits.push_back(in.at("end_logits").at(i).to_number<float>());
  }
  return out;
}

inline AskOptions read_params(const json::object& params) {
  AskOptions options;
  const auto integer = [&](const char* key, std::optional<int>& out) {
    if (const json::value* value = params.if_contains(key)) out = value->to_number<int>();
  };
  integer("top_k", options.top_k);
  integer("max_seq_len", options.max_seq_len);
  integer("doc_stride", options.doc_stride);
  integer("max_answer_len", options.max_answer_len);
  if (const json::value* value = params.if_contains("handle_impossible_answer"))
    options.handle_impossible_answer = value->as_bool();
  if (const json::value* value = params.if_contains("align_to_words"))
    options.align_to_words = value->as_bool();
  options.pad_to_max_length = params.contains("padding");
  return options;
}

inline GoldenCase read_case(const json::object& in, bool context_first) {
  GoldenCase out;
  out.id = in.at("id").as_string();
  out.question = in.at("question").as_string();
  out.context = in.at("context").as_string();
  out.options = read_params(in.at("params").as_object());
  for (const json::value& window : in.at("windows").as_array()) {
    out.windows.push_back(read_window(window.as_object(), context_first ? out.context : out.question,
                                      context_first ? out.question : out.context));
  }
  const json::object& pipeline = in.at("pipeline").as_object();
  const json::array& answers = pipeline.at("answers").as_array();
  const auto count = pipeline.at("n_nonzero").to_number<std::size_t>();
  for (std::size_t i = 0; i < count; ++i) {
    const json::object& answer = answers[i].as_object();
    out.pipeline.push_back(
        {answer.at("score").to_number<double>(), answer.at("start").to_number<std::size_t>(),
         answer.at("end").to_number<std::size_t>(), std::string(answer.at("answer").as_string())});
  }
  if (const json::value* run_qa = in.if_contains("run_qa")) out.run_qa = &run_qa->as_object();
  return out;
}

// folder: a model folder with expected.json.
inline GoldenModel read_golden_model(const std::filesystem::path& folder) {
  GoldenModel model;
  model.file = base::parse_json_file(folder / "expected.json");
  for (const json::value& value : model.file.at("cases").as_array())
    model.cases.push_back(read_case(value.as_object(), false));
  if (const json::value* left = model.file.as_object().if_contains("left_padding_cases")) {
    for (const json::value& value : left->as_array())
      model.left_padding_cases.push_back(read_case(value.as_object(), true));
  }
  // All these families put [CLS] (<s>) first.
  model.cls_id = model.cases.at(0).windows.at(0).encoding.ids.at(0);
  return model;
}

// The case's context as a TokenizedText, put together from its windows, and the slices that they show.
struct GoldenContext {
  text::TokenizedText tokens;
  std::vector<text::ContextSlice> slices;
  std::vector<std::size_t> positions;  // of the first context token of each window
};

inline GoldenContext read_context(const GoldenCase& golden, std::int32_t context_sequence, int stride) {
  GoldenContext context;
  for (const GoldenWindow& window : golden.windows) {
    const text::Encoding& e = window.encoding;
    std::size_t begin = 0;
    while (begin < e.size() && e.sequence_ids[begin] != context_sequence) ++begin;
    std::size_t end = begin;
    while (end < e.size() && e.sequence_ids[end] == context_sequence) ++end;
    const std::size_t overlap = context.slices.empty() ? 0 : static_cast<std::size_t>(stride);
    const std::size_t first = context.tokens.size() - overlap;
    context.slices.push_back({first, first + end - begin});
    context.positions.push_back(begin);
    for (std::size_t at = begin + overlap; at < end; ++at) {
      context.tokens.ids.push_back(e.ids[at]);
      context.tokens.offsets.push_back(e.offsets[at]);
      context.tokens.word_ids.push_back(e.word_ids[at]);
    }
  }
  return context;
}

// Feeds a case's windows to a decoder. Padded logits per window (start, then end) replace the case's own if
// given.
inline qa::Decoded decode_case(const GoldenCase& golden, const GoldenContext& context,
                               std::int32_t context_sequence, std::int32_t cls_id, const AskOptions& options,
                               std::span<const float> padded = {}) {
  const qa::Context text{golden.context, &context.tokens};
  const auto decoder = qa::make_decoder({&text, 1}, options);
  for (std::size_t k = 0; k < golden.windows.size(); ++k) {
    const GoldenWindow& window = golden.windows[k];
    const std::size_t length = padded.size() / golden.windows.size() / 2;
    std::span<const float> start = window.start_logits, end = window.end_logits;
    if (!padded.empty()) {
      start = padded.subspan(2 * k * length, length);
      end = padded.subspan((2 * k + 1) * length, length);
    }
    decoder->add({.encoding = &window.encoding,
                  .context_sequence = context_sequence,
                  .context_index = 0,
                  .slice = context.slices[k],
                  .share = qa::span_share(context.slices, k),
                  .context_position = context.positions[k],
                  .cls_id = cls_id,
                  .question = golden.question,
                  .start_logits = start,
                  .end_logits = end});
  }
  return decoder->finish();
}

// Probabilities and scores: 1e-4 relative and 1e-6 absolute, as the fixtures state.
inline void expect_close(double actual, double expected) {
  EXPECT_NEAR(actual, expected, 1e-4 * std::abs(expected) + 1e-6);
}

}  // namespace kvasir::tests
