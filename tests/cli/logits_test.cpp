// kvasir logits: the golden logits, through files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "formats/safetensors.h"
#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;

Outcome logits(const std::string& ids, const std::string& out, const std::string& model = tiny_model()) {
  return run({.args = {"logits", "--model", model, "--ids", ids, "--out", out}});
}

class LogitsParity : public testing::TestWithParam<const char*> {};

TEST_P(LogitsParity, EqualsTheReference) {
  const json::value expected = fixture("encoders-qa/" + std::string(GetParam()) + "/expected.json");
  const bool type_ids = std::string(GetParam()) != "distilbert";
  json::array sequences;
  std::vector<const json::value*> windows;
  for (const json::value& test : expected.at("cases").as_array()) {
    for (const json::value& window : test.at("windows").as_array()) {
      if (window.as_object().contains("attention_mask")) continue;  // padded by the case
      json::object sequence{{"input_ids", window.at("input_ids")}};
      if (type_ids) sequence["token_type_ids"] = window.at("token_type_ids");
      sequences.push_back(sequence);
      windows.push_back(&window);
    }
  }
  ASSERT_GE(windows.size(), 25U);
  const TemporaryFolder folder;
  const std::string ids = folder.file("ids.json", json::serialize(json::object{{"sequences", sequences}}));
  const std::string out = folder.path() + "/logits.safetensors";
  const Outcome outcome = logits(ids, out, tiny_model(GetParam()));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "");

  const formats::SafetensorsFile file(out);
  EXPECT_EQ(file.tensors().size(), 2 * windows.size());
  for (std::size_t i = 0; i < windows.size(); ++i) {
    for (const char* which : {"start_logits", "end_logits"}) {
      const json::array& want = windows[i]->at(which).as_array();
      const tensor::TensorView& view = file.tensors().at(std::string(which) + "." + std::to_string(i));
      EXPECT_EQ(view.dtype, tensor::DType::kF32);
      ASSERT_EQ(view.shape, tensor::Shape{static_cast<std::int64_t>(want.size())});
      std::vector<float> got(want.size());
      view.read_floats(0, got);
      double largest = 0;
      for (const json::value& value : want) largest = std::max(largest, std::abs(value.to_number<double>()));
      for (std::size_t j = 0; j < want.size(); ++j) {
        EXPECT_NEAR(got[j], want[j].to_number<double>(), 1e-4 * largest) << which << " of window " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, LogitsParity, testing::Values("bert-uncased", "bert-cased", "distilbert"));

TEST(Logits, TokenTypesMayBeLeftOut) {
  const TemporaryFolder folder;
  const std::string without = folder.file("a.json", R"({"sequences":[{"input_ids":[101,200,300,102]}]})");
  const std::string with =
      folder.file("b.json", R"({"sequences":[{"input_ids":[101,200,300,102],"token_type_ids":[0,0,0,0]}]})");
  ASSERT_EQ(logits(without, folder.path() + "/a").exit_code, 0);
  ASSERT_EQ(logits(with, folder.path() + "/b").exit_code, 0);
  const formats::SafetensorsFile a(folder.path() + "/a"), b(folder.path() + "/b");
  std::vector<float> x(4), y(4);
  a.tensors().at("start_logits.0").read_floats(0, x);
  b.tensors().at("start_logits.0").read_floats(0, y);
  EXPECT_EQ(x, y);
}

TEST(Logits, WhatIsWrongWithTheIdsIsSaid) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/out";
  struct Fault {
    const char* text;
    const char* message;
  };
  for (const Fault& fault :
       {Fault{"{", "not valid JSON"},
        {"[]", "where an object is due"},
        {"{}", "key sequences is missing"},
        {R"({"sequences":3})", "key sequences is not a list"},
        {R"({"sequences":[{}]})", "sequences[0]: key input_ids is missing"},
        {R"({"sequences":[{"input_ids":[]}]})", "sequences[0]: key input_ids is empty"},
        {R"({"sequences":[{"input_ids":[1,"x"]}]})", "input_ids[1] is not a token id"},
        {R"({"sequences":[{"input_ids":[1,-1]}]})", "input_ids[1] is not a token id"},
        {R"({"sequences":[{"input_ids":[1,2],"token_type_ids":[0]}]})", "not as long as"},
        {R"({"sequences":[{"input_ids":[1,2000000000]}]})", "2000000000"},
        {R"({"sequences":[{"input_ids":[1],"token_type_ids":[7]}]})", "7"}}) {
    const Outcome outcome = logits(folder.file("ids.json", fault.text), out);
    EXPECT_EQ(outcome.exit_code, 1) << fault.text;
    EXPECT_THAT(outcome.err, HasSubstr(fault.message));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
  }
  EXPECT_THAT(folder.names(), testing::ElementsAre("ids.json"));

  std::string long_ids = R"({"sequences":[{"input_ids":[1)";
  for (int i = 0; i < 128; ++i) long_ids += ",1";
  const Outcome too_long = logits(folder.file("ids.json", long_ids + "]}]}"), out);
  EXPECT_EQ(too_long.exit_code, 1);
  EXPECT_THAT(too_long.err, HasSubstr("129"));
}

}  // namespace
}  // namespace kvasir::tests
