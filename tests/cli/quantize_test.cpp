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

}  // namespace
}  // namespace kvasir::tests
