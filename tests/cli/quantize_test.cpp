// kvasir quantize as a process: what it prints, what it writes, what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Quantize, AFolderThatAnswers) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/small";
  const Outcome outcome = run({.args = {"quantize", "--model", tiny_model(), "--out", out}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(StartsWith("stored  error off  matrix"),
                                 HasSubstr("8 of 9 matrices are int8"), HasSubstr(" MB became ")));
  for (const char* precision : {"auto", "int8", "fp32"}) {
    const Outcome asked = run({.args = {"ask", "-q", "Where?", "--context", "It is in Lund.", "--json",
                                        "--model", out, "--precision", precision}});
    EXPECT_EQ(asked.exit_code, 0) << asked.err;
    EXPECT_THAT(asked.out, HasSubstr("\"answers\":[{"));
  }
  const Outcome shown = run({.args = {"show", out}});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("I8"));
}

TEST(Quantize, JsonAndItsOwnText) {
  const TemporaryFolder folder;
  const std::string text = folder.file("text.txt", "The treaty was signed in Lund in 1676, by two kings.");
  const Outcome outcome = run({.args = {"quantize", "--model", tiny_model(), "--out", folder.path() + "/q",
                                        "--text", text, "--max-error", "0", "--json"}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = base::json::parse(outcome.out);
  EXPECT_EQ(json.at("matrices").as_array().size(), 9U);
  for (const auto& matrix : json.at("matrices").as_array()) EXPECT_EQ(matrix.at("stored"), "fp16");
}

TEST(Quantize, Refusals) {
  const TemporaryFolder folder;
  const std::string taken = folder.file("mine.txt", "text");
  const auto refused = [](const std::vector<std::string>& args, const std::string& message, int code = 1) {
    const Outcome outcome = run({.args = args});
    EXPECT_EQ(outcome.exit_code, code);
    EXPECT_THAT(outcome.err, HasSubstr(message));
    EXPECT_EQ(outcome.out, "");
  };
  refused({"quantize", "--model", tiny_model(), "--out", folder.path()}, "is not empty");
  refused({"quantize", "--model", tiny_model(), "--out", taken}, taken);
  refused({"quantize", "--model", folder.path() + "/none", "--out", folder.path() + "/a"}, "none");
  refused({"quantize", "--model", tiny_model()}, "--out", 2);
  refused({"quantize", "--model", tiny_model(), "--out", folder.path() + "/a", "--max-error", "-1"},
          "--max-error", 2);
  refused({"quantize", "--model", tiny_model(), "--out", folder.path() + "/a", "--text", "/nonexistent"},
          "/nonexistent");
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/a"));
  refused({"ask", "-q", "Where?", "--context", "Here.", "--precision", "int4"}, "--precision", 2);
}

std::string decoder(const std::string& name) {
  return std::string(KVASIR_TEST_DATA) + "/decoders/" + name;
}

TEST(QuantizeGguf, AFileThatGenerates) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/m.gguf";
  const Outcome outcome = run({.args = {"quantize", decoder("falcon-40b-style"), out, "--type", "q8_0"}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(StartsWith("stored  tensors"), HasSubstr("  Q8_0        2\n"),
                                 HasSubstr("  F32 "), HasSubstr(out + ": 0.2 MB became ")));
  const Outcome generated =
      run({.args = {"generate", "--model", out, "-p", "hello", "--max-new-tokens", "4", "--json"}});
  EXPECT_EQ(generated.exit_code, 0) << generated.err;
  EXPECT_EQ(base::json::parse(generated.out).at("ids").as_array().size(), 4U);

  const auto shown = base::json::parse(run({.args = {"show", out, "--json"}}).out);
  EXPECT_EQ(shown.at("model_type"), "falcon");
  EXPECT_EQ(shown.at("weights"), "m.gguf");
  EXPECT_EQ(shown.at("dtypes"), "F16, F32, Q8_0");
  EXPECT_EQ(run({.args = {"tokenize", "--model", out, "hello"}}).out,
            run({.args = {"tokenize", "--model", decoder("falcon-40b-style"), "hello"}}).out);
}

TEST(QuantizeGguf, Json) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/m.gguf";
  const Outcome outcome =
      run({.args = {"quantize", "--model", decoder("mpt"), "--out", out, "--type", "q4_0", "--json"}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = base::json::parse(outcome.out);
  EXPECT_EQ(std::string(json.at("out").as_string()), out);
  EXPECT_LT(json.at("bytes_after").as_int64(), json.at("bytes_before").as_int64());
  bool found = false;
  for (const auto& tensor : json.at("tensors").as_array()) {
    if (tensor.at("name") != "blk.1.ffn_down.weight") continue;
    found = true;
    EXPECT_EQ(tensor.at("stored"), "Q4_0");
  }
  EXPECT_TRUE(found);
}

TEST(QuantizeGguf, Refusals) {
  const TemporaryFolder folder;
  const std::string out = folder.path() + "/m.gguf";
  const auto refused = [](const std::vector<std::string>& args, const std::string& message, int code) {
    const Outcome outcome = run({.args = args});
    EXPECT_EQ(outcome.exit_code, code) << message;
    EXPECT_THAT(outcome.err, HasSubstr(message));
    EXPECT_EQ(outcome.out, "");
  };
  refused({"quantize", decoder("mpt"), out}, "a language model; say with --type", 2);
  refused({"quantize", decoder("mpt"), folder.path() + "/m", "--type", "q8_0"}, "must end in .gguf", 2);
  refused({"quantize", decoder("mpt"), out, "--type", "q5_k"}, "--type", 2);
  refused({"quantize", decoder("mpt"), out, "--type", "q8_0", "--store", "int8"}, "--store", 2);
  refused({"quantize", decoder("mpt"), out, "--out", out, "--type", "q8_0"}, "--out", 2);
  refused({"quantize", decoder("mpt"), "--type", "q8_0"}, "OUT is missing", 2);
  refused({"quantize", tiny_model(), out, "--type", "q8_0"}, "model_type bert is not supported in GGUF", 1);
  refused({"quantize", decoder("llama-dynamic"), out, "--type", "q8_0"}, "cannot be said in GGUF", 1);
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace kvasir::tests
