// The command line itself: help, version, mistakes, and what becomes of the output.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::size_t columns(const std::string& line) {
  std::size_t count = 0;
  for (const char c : line) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

TEST(CommandLine, EveryCommandHasHelpThatFitsATerminal) {
  const std::vector<std::vector<std::string>> commands = {
      {},         {"ask"},   {"eval"}, {"eval", "squad"}, {"eval", "score"}, {"tokenize"},
      {"logits"}, {"bench"}, {"pull"}, {"list"},          {"show"},          {"rm"}};
  for (std::vector<std::string> args : commands) {
    args.emplace_back("--help");
    const Outcome outcome = run({.args = args});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_THAT(outcome.out, HasSubstr("Usage: kvasir"));
    EXPECT_THAT(outcome.out, HasSubstr("Example"));
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(columns(line), 80U) << line;

    args.pop_back();
    args.insert(args.begin(), "help");
    EXPECT_EQ(run({.args = args}).out, outcome.out) << "kvasir help … and kvasir … --help differ";
  }
}

TEST(CommandLine, HelpDocumentsExitCodesAndDefaults) {
  const Outcome top = run({.args = {"--help"}});
  EXPECT_THAT(top.out, HasSubstr("Exit codes:"));
  EXPECT_THAT(top.out, HasSubstr("KVASIR_MODEL"));
  const Outcome ask = run({.args = {"ask", "--help"}});
  for (const char* option :
       {"--question", "--context", "--model", "--decode", "--top-k", "--max-seq-len", "--doc-stride",
        "--max-answer-len", "--handle-impossible-answer", "--no-align-to-words", "--threads", "--json",
        "--n-best-size", "--null-score-diff-threshold", "--pad-to-max-length"}) {
    EXPECT_THAT(ask.out, HasSubstr(option));
  }
}

TEST(CommandLine, Version) {
  const Outcome outcome = run({.args = {"--version"}});
  EXPECT_EQ(outcome.exit_code, 0);
  int major = 0, minor = 0, patch = 0, end = 0;
  EXPECT_EQ(std::sscanf(outcome.out.c_str(), "kvasir %d.%d.%d\n%n", &major, &minor, &patch, &end), 3)
      << outcome.out;
  EXPECT_EQ(static_cast<std::size_t>(end), outcome.out.size());
}

struct Mistake {
  std::vector<std::string> args;
  std::string message;
};

TEST(CommandLine, MistakesAreExplainedInOneLine) {
  const std::vector<Mistake> mistakes = {
      {{}, "no command; see kvasir --help"},
      {{"aks"}, "unknown command aks; did you mean ask?"},
      {{"help", "tokenise"}, "unknown command tokenise; did you mean tokenize?"},
      {{"eval"}, "kvasir eval has squad, score"},
      {{"eval", "scor"}, "did you mean score?"},
      {{"ask", "--topk", "3"}, "unknown option --topk; did you mean --top-k?"},
      {{"ask", "--frobnicate"}, "unknown option --frobnicate; see kvasir ask --help"},
      {{"ask", "--top-k", "many", "-q", "x"}, "--top-k: many is not a number"},
      {{"ask", "--top-k", "99999999999", "-q", "x"}, "--top-k: 99999999999 is not a number that fits"},
      {{"ask", "-q"}, "--question needs a value"},
      {{"ask", "--decode", "beam", "-q", "x"}, "--decode: beam not in {kvasir,pipeline,squad}"},
      {{"ask", "--threads", "-1", "-q", "x"}, "--threads: Value -1 not in range"},
      {{"ask", "--color", "blue"}, "--color: blue not in {auto,always,never}"},
      {{"ask", "file.txt"}, "no question; give one with -q"},
      {{"ask", "-q", "", "file.txt"}, "the question is empty"},
      {{"ask", "-q", " \t ", "file.txt"}, "the question is empty"},
      {{"ask", "-q", "x", "--context", "y", "file.txt"}, "--context and file.txt: give one of them"},
      {{"ask", "-q", "x", "-", "-"}, "- is given twice"},
      {{"ask", "-q", "caf\xe9?", "--context", "x"}, "the question: not UTF-8 at byte 3"},
      {{"logits"}, "--ids is required"},
      {{"logits", "--ids", "x"}, "--out is required"},
      {{"eval", "score", "--data", "x"}, "--predictions is required"},
      {{"eval", "squad"}, "--data is required"},
      {{"tokenize", "--jsonl", "text"}, "--jsonl reads standard input"},
  };
  for (const Mistake& mistake : mistakes) {
    const Outcome outcome = run({.args = mistake.args});
    EXPECT_THAT(outcome.err, StartsWith("kvasir: "));
    EXPECT_THAT(outcome.err, HasSubstr(mistake.message));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    const bool usage = mistake.message.find("UTF-8") == std::string::npos;
    EXPECT_EQ(outcome.exit_code, usage ? 2 : 1) << outcome.err;
  }
}

TEST(CommandLine, LostOutputIsAFailure) {
  const Outcome full = run({.args = {"--help"}, .output_path = "/dev/full"});
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_EQ(full.err, "kvasir: standard output: write failed: No space left on device\n");

  const Outcome closed = run({.args = {"--help"}, .close_output = true});
  EXPECT_EQ(closed.exit_code, 1);
  EXPECT_EQ(closed.err, "kvasir: standard output: write failed: Bad file descriptor\n");
}

TEST(CommandLine, AReaderThatHasGoneEndsItQuietly) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);
  const std::string path = "/dev/fd/" + std::to_string(ends[1]);
  // /dev/fd of a pipe's writing end opens the same pipe.
  const Outcome outcome = run({.args = {"--help"}, .output_path = path});
  ::close(ends[1]);
  EXPECT_EQ(outcome.exit_code, 141);
  EXPECT_EQ(outcome.err, "");
}

}  // namespace
}  // namespace kvasir::tests
