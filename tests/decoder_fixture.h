// The decoder fixtures (tests/data/decoders): prompts with their expected logits and continuations, and
// memory for the keys and values of a sequence.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/safetensors.h"
#include "models/causal_lm.h"
#include "tensor/buffer.h"

namespace kvasir::tests {

inline const std::vector<std::string>& decoder_names() {
  static const std::vector<std::string> kNames = {"bloom",
                                                  "bloom-postln-residual",
                                                  "falcon-7b-style",
                                                  "falcon-11b-style",
                                                  "falcon-40b-style",
                                                  "falcon-rw-style",
                                                  "llama-mha",
                                                  "llama-gqa",
                                                  "llama-linear4",
                                                  "llama-dynamic",
                                                  "mpt",
                                                  "mpt-6heads-clip",
                                                  "mpt-softmax-scale"};
  return kNames;
}

inline std::filesystem::path decoder_folder(const std::string& name) {
  return std::filesystem::path(KVASIR_TEST_DATA) / "decoders" / name;
}

template <class T>
std::vector<T> list_of(const base::json::value& list) {
  std::vector<T> result;
  for (const auto& number : list.as_array()) result.push_back(number.to_number<T>());
  return result;
}

struct DecoderPrompt {
  std::string id, text;
  std::vector<std::int32_t> input_ids, greedy_ids;
  std::vector<float> greedy_logprobs;
  std::vector<std::vector<float>> logits;  // of the last so many positions
  base::json::object json;
};

inline std::vector<DecoderPrompt> load_prompts(const std::string& name) {
  const base::json::value expected = base::parse_json_file(decoder_folder(name) / "expected.json");
  const formats::SafetensorsFile file(decoder_folder(name) / "expected_logits.safetensors");
  std::vector<DecoderPrompt> prompts;
  for (const auto& value : expected.at("prompts").as_array()) {
    const base::json::object& json = value.as_object();
    DecoderPrompt prompt{.id = std::string(json.at("id").as_string()),
                         .text = std::string(json.at("text").as_string()),
                         .input_ids = list_of<std::int32_t>(json.at("input_ids")),
                         .greedy_ids = list_of<std::int32_t>(json.at("greedy_ids")),
                         .greedy_logprobs = list_of<float>(json.at("greedy_logprobs")),
                         .logits = {},
                         .json = json};
    const tensor::TensorView& view = file.tensors().at(prompt.id + ".logits");
    const auto width = static_cast<std::size_t>(view.shape[1]);
    for (std::size_t row = 0; row < static_cast<std::size_t>(view.shape[0]); ++row) {
      prompt.logits.emplace_back(width);
      view.read_floats(row * width, prompt.logits.back());
    }
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

// Pages for one sequence, which grow with it.
class PagesOfOne {
 public:
  explicit PagesOfOne(const models::KvShape& kv) : kv_(kv) {}

  std::span<std::byte* const> room_for(std::size_t tokens) {
    while (pages_.size() * kernels::kPageTokens < tokens) {
      memory_.emplace_back(kv_.page_bytes());
      for (std::byte& b : memory_.back().span()) b = std::byte{0xFF};  // NaN, where nothing is stored
      pages_.push_back(memory_.back().data());
    }
    return pages_;
  }

 private:
  models::KvShape kv_;
  std::vector<tensor::Buffer<std::byte>> memory_;
  std::vector<std::byte*> pages_;
};

// The largest absolute value, of which errors are a part.
inline float scale_of(const std::vector<std::vector<float>>& logits) {
  float most = 0;
  for (const auto& row : logits) {
    for (const float x : row) most = std::max(most, std::abs(x));
  }
  return most;
}

}  // namespace kvasir::tests
