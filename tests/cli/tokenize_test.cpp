// kvasir tokenize: parity of the JSON lines, streaming, mistakes in the input.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;

Outcome tokenize(std::vector<std::string> args, const std::string& input,
                 const std::string& model = tiny_model()) {
  args.insert(args.begin(), {"tokenize", "--model", model});
  return run({.args = args, .input = input});
}

class TokenizeParity : public testing::TestWithParam<const char*> {};

// Windows of the reference that hold question and context whole.
TEST_P(TokenizeParity, EqualsTheReference) {
  const json::value expected = fixture("encoders-qa/" + std::string(GetParam()) + "/expected.json");
  std::string input;
  std::vector<const json::value*> windows;
  for (const json::value& test : expected.at("cases").as_array()) {
    const json::array& all = test.at("windows").as_array();
    if (all.size() != 1 || all[0].as_object().contains("attention_mask")) continue;
    input +=
        json::serialize(json::object{{"text", test.at("question")}, {"pair", test.at("context")}}) + "\n";
    windows.push_back(&all[0]);
  }
  ASSERT_GE(windows.size(), 5U);
  const Outcome outcome = tokenize({"--jsonl"}, input, tiny_model(GetParam()));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<json::value> lines = json_lines(outcome.out);
  ASSERT_EQ(lines.size(), windows.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i].at("ids"), windows[i]->at("input_ids"));
    EXPECT_EQ(lines[i].at("offsets"), windows[i]->at("offsets"));
    EXPECT_EQ(lines[i].at("word_ids"), windows[i]->at("word_ids"));
    EXPECT_EQ(lines[i].at("tokens").as_array().size(), lines[i].at("ids").as_array().size());
    EXPECT_EQ(text_of(lines[i].at("tokens").as_array()[0]), "[CLS]");
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TokenizeParity,
                         testing::Values("bert-uncased", "bert-cased", "distilbert"));

TEST(Tokenize, AStringAndAnObjectAreTheSame) {
  const Outcome outcome = tokenize({"--jsonl"}, "\"The treaty\"\n{\"text\":\"The treaty\"}\r\n\"\"");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<json::value> lines = json_lines(outcome.out);
  ASSERT_EQ(lines.size(), 3U);  // the last line needs no newline
  EXPECT_EQ(lines[0], lines[1]);
  EXPECT_EQ(lines[2].at("ids").as_array().size(), 2U);  // [CLS] [SEP]
  EXPECT_TRUE(lines[0].at("word_ids").as_array()[0].is_null());
}

TEST(Tokenize, WithoutSpecialTokens) {
  const std::vector<json::value> with = json_lines(tokenize({"--jsonl"}, "\"The treaty\"\n").out);
  const std::vector<json::value> without =
      json_lines(tokenize({"--jsonl", "--no-special-tokens"}, "\"The treaty\"\n").out);
  ASSERT_EQ(without.size(), 1U);
  const json::array& ids = with.at(0).at("ids").as_array();
  EXPECT_EQ(without[0].at("ids").as_array(), json::array(ids.begin() + 1, ids.end() - 1));
}

TEST(Tokenize, OffsetsCountCodePoints) {
  const std::vector<json::value> lines = json_lines(
      tokenize({"--jsonl", "--no-special-tokens"}, "\"\\ud83d\\ude00\\u00e9 in \\u00e9 Lund\"\n").out);
  ASSERT_EQ(lines.size(), 1U);
  const json::array& offsets = lines[0].at("offsets").as_array();
  EXPECT_EQ(offsets.back().as_array().at(1).to_number<int>(), 12);
}

TEST(Tokenize, MistakesNameTheLine) {
  struct Fault {
    std::string input, message;
  };
  for (const Fault& fault :
       std::vector<Fault>{{"\"fine\"\n\"\\ud800\"\n", "standard input:2: not valid JSON: "},
                          {"\"\\udc00\"\n", "half a character"},
                          {"\"fine\"\n\"\xff\"\n", "standard input:2: not valid JSON: "},
                          {"\"a\" \"b\"\n", "standard input:1: not valid JSON: "},
                          {"12\n", "standard input:1: neither a string nor"},
                          {"{}\n", "standard input:1: key text is missing"},
                          {"{\"text\":1}\n", "standard input:1: key text is an integer"},
                          {"{\"text\":\"a\",\"pair\":[]}\n", "standard input:1: key pair is a list"},
                          {"\"fine\"\n\n", "standard input:2: not valid JSON: "}}) {
    const Outcome outcome = tokenize({"--jsonl"}, fault.input);
    EXPECT_EQ(outcome.exit_code, 1) << fault.input;
    EXPECT_THAT(outcome.err, HasSubstr(fault.message));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
  }
}

TEST(Tokenize, LinesBeforeAMistakeAreWritten) {
  const Outcome outcome = tokenize({"--jsonl"}, "\"fine\"\nbad\n");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(json_lines(outcome.out).size(), 1U);
}

TEST(Tokenize, ALineOfAGigabyteIsRefusedInBoundedMemory) {
  const TemporaryFolder folder;
  const std::string path = folder.file("line", "\"");
  ASSERT_EQ(::truncate(path.c_str(), off_t{1} << 30), 0);
  const Outcome outcome = run({.args = {"tokenize", "--jsonl", "--model", tiny_model()}, .input_path = path});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("standard input:1: line longer than 64 MiB"));
  EXPECT_LT(outcome.peak_kib, 512 << 10);
}

// Counting code points from the beginning for each token would take minutes.
TEST(Tokenize, LongTextsTakeTimeInProportion) {
  std::string words, emoji;
  for (int i = 0; i < 100000; ++i) words += "The treaty ", emoji += "\U0001F98A\u6F22";
  const Outcome table = run({.args = {"tokenize", "--model", tiny_model()}, .input = words});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_LT(table.seconds, 60);
  const Outcome lines =
      run({.args = {"tokenize", "--jsonl", "--model", tiny_model("roberta")}, .input = '"' + emoji + '"'});
  EXPECT_EQ(lines.exit_code, 0);
  EXPECT_LT(lines.seconds, 60);
}

TEST(Tokenize, AnswersBeforeItWaitsForMore) {
  int to[2], from[2];
  ASSERT_EQ(::pipe2(to, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(from, O_CLOEXEC), 0);
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    ::dup2(to[0], 0);
    ::dup2(from[1], 1);
    const std::string model = tiny_model();
    ::execl(KVASIR_PROGRAM, "kvasir", "tokenize", "--jsonl", "--model", model.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::write(to[1], "\"one\"\n", 6), 6);
    struct pollfd event {
      from[0], POLLIN, 0
    };
    ASSERT_EQ(::poll(&event, 1, 60000), 1) << "no answer to line " << i;
    char buffer[4096];
    ASSERT_GT(::read(from[0], buffer, sizeof buffer), 0);
  }
  ::close(to[1]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  ::close(from[0]);
  EXPECT_EQ(status, 0);
}

TEST(Tokenize, AReaderThatHasGoneEndsItQuietly) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  std::string input;
  for (int i = 0; i < 20000; ++i) input += "\"The treaty was signed in Lund.\"\n";
  const std::string path = "/dev/fd/" + std::to_string(ends[1]);
  ::close(ends[0]);
  const Outcome outcome =
      run({.args = {"tokenize", "--jsonl", "--model", tiny_model()}, .input = input, .output_path = path});
  ::close(ends[1]);
  EXPECT_EQ(outcome.exit_code, 141);
  EXPECT_EQ(outcome.err, "");
}

TEST(Tokenize, PeopleSeeATable) {
  const Outcome outcome = tokenize({"The treaty", "--pair", "in Lund"}, "");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* part : {"id", "token", "[CLS]", "[SEP]", " tokens\n"})
    EXPECT_THAT(outcome.out, HasSubstr(part));
  const Outcome piped = tokenize({}, "The treaty");
  EXPECT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_THAT(piped.out, HasSubstr("[CLS]"));
}

}  // namespace
}  // namespace kvasir::tests
