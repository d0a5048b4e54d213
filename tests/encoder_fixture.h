// The encoder fixtures (tests/data/encoders-qa): windows with their expected logits, and model folders that a
// test can change before it loads them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/safetensors.h"
#include "models/encoder_model.h"
#include "temporary_folder.h"

namespace kvasir::tests {

inline std::filesystem::path encoder_folder(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "encoders-qa" / name;
}

struct Window {
  std::string name = {};  // case and index
  std::vector<std::int32_t> input_ids = {}, token_type_ids = {};
  std::size_t keys = 0;  // tokens that are not padding
  std::vector<float> start = {}, end = {};
};

template <class T>
std::vector<T> numbers(const base::json::value& list) {
  std::vector<T> result;
  for (const auto& number : list.as_array()) result.push_back(number.to_number<T>());
  return result;
}

inline base::json::value load_expected(const std::string& name) {
  return base::parse_json_file(encoder_folder(name) / "expected.json");
}

inline Window read_window(const base::json::object& json, std::string name) {
  Window window{.name = std::move(name),
                .input_ids = numbers<std::int32_t>(json.at("input_ids")),
                .token_type_ids = numbers<std::int32_t>(json.at("token_type_ids")),
                .start = numbers<float>(json.at("start_logits")),
                .end = numbers<float>(json.at("end_logits"))};
  window.keys = window.input_ids.size();
  if (json.contains("attention_mask")) {
    window.keys = 0;
    for (const int bit : numbers<int>(json.at("attention_mask"))) window.keys += bit;
    for (std::size_t i = 0; i < window.keys; ++i) EXPECT_EQ(json.at("attention_mask").at(i), 1);
  }
  return window;
}

// The windows of all cases, those with padding on the left included.
inline std::vector<Window> load_windows(const std::string& name) {
  const base::json::value expected = load_expected(name);
  std::vector<Window> windows;
  for (const char* list : {"cases", "left_padding_cases"}) {
    if (!expected.as_object().contains(list)) continue;
    for (const auto& one : expected.at(list).as_array()) {
      std::size_t i = 0;
      for (const auto& window : one.at("windows").as_array()) {
        const std::string id(one.at("id").as_string());
        windows.push_back(read_window(window.as_object(), id + "/" + std::to_string(i++)));
      }
    }
  }
  return windows;
}

// The windows as run_qa pads them, with the logits of pads too.
inline std::vector<Window> load_padded_windows(const std::string& name) {
  const formats::SafetensorsFile logits(encoder_folder(name) / "run_qa_padded_logits.safetensors");
  const base::json::value expected = load_expected(name);
  const base::json::value config = base::parse_json_file(encoder_folder(name) / "config.json");
  const auto pad = config.at("pad_token_id").to_number<std::int32_t>();
  std::vector<Window> windows;
  for (const auto& one : expected.at("cases").as_array()) {
    const std::string id(one.at("id").as_string());
    // run_qa strips the question, the pipeline, whose windows these are, does not: where spaces count the ids
    // differ.
    const base::json::value* question = one.as_object().if_contains("question");
    if (question != nullptr && question->as_string().starts_with(' ')) continue;
    const tensor::TensorView& view = logits.tensors().at(id);  // [windows, 2, length]
    const auto length = static_cast<std::size_t>(view.shape[2]);
    std::size_t i = 0;
    for (const auto& json : one.at("windows").as_array()) {
      Window window = read_window(json.as_object(), id + "/" + std::to_string(i));
      window.input_ids.resize(length, pad);
      window.token_type_ids.resize(length, 0);
      window.start.resize(length);
      window.end.resize(length);
      view.read_floats(i * 2 * length, window.start);
      view.read_floats((i * 2 + 1) * length, window.end);
      windows.push_back(std::move(window));
      ++i;
    }
    EXPECT_EQ(i, static_cast<std::size_t>(view.shape[0]));
  }
  return windows;
}

// Runs a batch of one window and sets its logits.
inline void run_window(const models::EncoderModel& model, const tensor::RaggedBatch& batch,
                       models::ForwardContext& context, Window& window) {
  std::vector<float> outputs(2 * batch.tokens());
  model.run(batch, context, outputs);
  models::SpanLogits logits = models::split_span_logits(outputs);
  window.start = std::move(logits.start);
  window.end = std::move(logits.end);
}

// Max error at most `tolerance` (the fixtures' 1e-4) times the largest expected logit.
inline void expect_logits(std::span<const float> actual, std::span<const float> expected,
                          const std::string& name, double tolerance = 1e-4) {
  ASSERT_EQ(actual.size(), expected.size()) << name;
  double scale = 0, error = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(std::isfinite(actual[i])) << name;
    scale = std::max(scale, std::abs(double{expected[i]}));
    error = std::max(error, std::abs(double{actual[i]} - double{expected[i]}));
  }
  EXPECT_LE(error, tolerance * scale) << name;
}

// A tensor that owns its bytes.
struct OwnedTensor {
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;
  std::vector<std::byte> bytes;

  tensor::TensorView view() const { return {dtype, shape, bytes.data()}; }
};

inline OwnedTensor make_tensor(tensor::DType dtype, tensor::Shape shape, std::span<const float> values) {
  OwnedTensor tensor{.dtype = dtype, .shape = std::move(shape), .bytes = {}};
  tensor.bytes.resize(values.size() * tensor::dtype_size(dtype));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::byte* at = tensor.bytes.data() + i * tensor::dtype_size(dtype);
    const auto put = [&](auto value) { std::memcpy(at, &value, sizeof value); };
    if (dtype == tensor::DType::kF32) put(values[i]);
    if (dtype == tensor::DType::kF64) put(static_cast<double>(values[i]));
    if (dtype == tensor::DType::kF16) put(tensor::float_to_half(values[i]));
    if (dtype == tensor::DType::kBF16) put(tensor::float_to_bfloat16(values[i]));
  }
  return tensor;
}

// A model folder in memory: change it, then write it and load that.
struct ModelCopy {
  base::json::object config;
  std::map<std::string, OwnedTensor> tensors;

  explicit ModelCopy(const std::string& fixture)
      : config(base::parse_json_file(encoder_folder(fixture) / "config.json").as_object()) {
    const formats::SafetensorsFile file(encoder_folder(fixture) / "model.safetensors");
    for (const auto& [name, view] : file.tensors()) {
      tensors[name] = {view.dtype, view.shape, {view.data, view.data + view.bytes()}};
    }
  }

  void convert(tensor::DType dtype) {
    for (auto& [name, tensor] : tensors) {
      std::vector<float> values(tensor.view().elements());
      tensor.view().read_floats(0, values);
      tensor = make_tensor(dtype, tensor.shape, values);
    }
  }
  // Gives every tensor the name that `rename` makes of its own.
  template <class Rename>
  void rename(const Rename& rename) {
    std::map<std::string, OwnedTensor> renamed;
    for (auto& [name, tensor] : tensors) renamed[rename(name)] = std::move(tensor);
    tensors = std::move(renamed);
  }

  void write(const std::filesystem::path& folder) const {
    std::ofstream(folder / "config.json") << base::json::serialize(config);
    std::vector<formats::NamedTensor> list;
    for (const auto& [name, tensor] : tensors) list.push_back({name, tensor.view()});
    formats::write_safetensors(folder / "model.safetensors", list);
  }
};

}  // namespace kvasir::tests
