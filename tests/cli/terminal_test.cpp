// The program on a terminal: the prompt, colours, wrapping, the progress line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <sstream>
#include <string>

#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;
using testing::Not;

class OnATerminal : public testing::Test {
 protected:
  void SetUp() override {
    if (!terminals_exist()) GTEST_SKIP() << kNoTerminal;
  }
};

class Prompt : public OnATerminal {
 protected:
  TemporaryFolder folder;
  std::string text = folder.file("treaty.txt", "The treaty was signed in Lund. It ended the war of 1676.");
  Terminal::Options options{.env = {"XDG_STATE_HOME=" + folder.path() + "/state"}};

  std::vector<std::string> ask() const { return {"ask", text, "--model", tiny_model()}; }
  std::string history() const {
    std::ifstream in(folder.path() + "/state/kvasir/history");
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST_F(Prompt, AnswersUntilCtrlD) {
  Terminal terminal(ask(), options);
  ASSERT_TRUE(terminal.wait_for("kvasir> ")) << terminal.printed();
  terminal.type("Where was it signed?\n");
  ASSERT_TRUE(terminal.wait_for("treaty.txt:1")) << terminal.printed();
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type("What ended?\n");
  ASSERT_TRUE(terminal.wait_for("treaty.txt:1"));
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(history(), "Where was it signed?\nWhat ended?\n");
}

TEST_F(Prompt, HistoryComesBack) {
  {
    Terminal terminal(ask(), options);
    ASSERT_TRUE(terminal.wait_for("kvasir> "));
    terminal.type("Where in Sk\u00e5ne?\n");
    ASSERT_TRUE(terminal.wait_for("treaty.txt:1"));
    terminal.type(":quit\n");
    EXPECT_EQ(terminal.finish(), 0);
  }
  Terminal terminal(ask(), options);
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type("\033[A");
  EXPECT_TRUE(terminal.wait_for("Where in Sk\u00e5ne?")) << terminal.printed();
  terminal.type("\n");
  EXPECT_TRUE(terminal.wait_for("treaty.txt:1"));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(history(), "Where in Sk\u00e5ne?\n");  // not twice
}

TEST_F(Prompt, CtrlCDropsTheLineOnly) {
  Terminal terminal(ask(), options);
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type("half a quest\x03");
  ASSERT_TRUE(terminal.wait_for("kvasir> ")) << terminal.printed();
  terminal.type("Where?\n");
  ASSERT_TRUE(terminal.wait_for("treaty.txt:1")) << terminal.printed();
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_EQ(history(), "Where?\n");
}

TEST_F(Prompt, SignalsFromOutside) {
  Terminal terminal(ask(), options);
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type("half a quest");
  ASSERT_TRUE(terminal.wait_for("quest"));
  terminal.signal(SIGINT);
  ASSERT_TRUE(terminal.wait_for("kvasir> ")) << terminal.printed();
  terminal.signal(SIGTERM);
  EXPECT_EQ(terminal.finish(), 143);
}

TEST_F(Prompt, CtrlCStopsAnAnswerAndNotTheProgram) {
  std::string words;
  for (int i = 0; i < 400000; ++i) words += "The treaty was signed in Lund in " + std::to_string(i) + ". ";
  text = folder.file("long.txt", words);
  Terminal terminal(ask(), options);
  ASSERT_TRUE(terminal.wait_for("kvasir> ", 60)) << terminal.printed();
  terminal.type("Where was it signed?\n");
  ASSERT_TRUE(terminal.wait_for("reading [")) << terminal.printed();  // the progress line
  terminal.type("\x03");
  ASSERT_TRUE(terminal.wait_for("stopped")) << terminal.printed();
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(Prompt, CommandsAndMistakes) {
  Terminal terminal(ask(), options);
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type(":help\n");
  ASSERT_TRUE(terminal.wait_for("Ctrl-D leaves"));
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type(":nonsense\n");
  ASSERT_TRUE(terminal.wait_for("unknown command"));
  terminal.type("\n   \n");
  std::string long_question;
  for (int i = 0; i < 200; ++i) long_question += "who ";
  terminal.type(long_question + "\n");  // fills the model's window
  ASSERT_TRUE(terminal.wait_for("the question takes 200 tokens")) << terminal.printed();
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type(":q\n");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(Prompt, AHistoryThatCannotBeWrittenIsNoFailure) {
  options.env = {"XDG_STATE_HOME=/proc/nonexistent"};
  Terminal terminal(ask(), options);
  ASSERT_TRUE(terminal.wait_for("kvasir> "));
  terminal.type("Where?\n");
  ASSERT_TRUE(terminal.wait_for("treaty.txt:1"));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST_F(Prompt, NoTextOnATerminalIsAMistake) {
  Terminal terminal({"ask", "--model", tiny_model()}, options);
  EXPECT_EQ(terminal.finish(), 2);
  EXPECT_THAT(terminal.printed(), HasSubstr("no text; name a file"));
}

// --- how it looks
// -------------------------------------------------------------------------------------------------

std::string without_escapes(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\033') {
      while (i < text.size() && text[i] != 'm') ++i;
    } else if (text[i] != '\r') {
      out += text[i];
    }
  }
  return out;
}

TEST_F(OnATerminal, LinesAreWrappedAndTheAnswerIsColored) {
  const std::string sentence =
      "In the year of the great storm the treaty was signed in Lund by the envoys of both kings, who had "
      "waited there "
      "for weeks until the snow had melted and the roads were open again";
  Terminal terminal({"ask", "-q", "Where was it signed?", "--context", sentence, "--model", tiny_model()},
                    {.columns = 60});
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_THAT(terminal.printed(), HasSubstr("\033[1;32m"));
  std::istringstream lines(without_escapes(terminal.printed()));
  std::string all;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 60U) << line;
    if (line.rfind("  ", 0) == 0) all += line.substr(1);
  }
  EXPECT_EQ(all, " " + sentence);
}

TEST_F(OnATerminal, NoColorWhereItIsNotWanted) {
  const std::vector<std::string> args = {"ask",     "-q",        "Where?", "--context", "Signed in Lund.",
                                         "--model", tiny_model()};
  for (const char* env : {"NO_COLOR=1", "TERM=dumb", "TERM"}) {
    Terminal terminal(args, {.env = {env}});
    EXPECT_EQ(terminal.finish(), 0);
    EXPECT_THAT(terminal.printed(), Not(HasSubstr("\033")));
    EXPECT_THAT(terminal.printed(), HasSubstr("**"));
  }
  auto never = args;
  never.insert(never.end(), {"--color", "never"});
  Terminal terminal(never);
  EXPECT_EQ(terminal.finish(), 0);
  EXPECT_THAT(terminal.printed(), Not(HasSubstr("\033")));
}

TEST_F(OnATerminal, TheProgressLineErasesItself) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 30000; ++i) text += "The treaty was signed in Lund in " + std::to_string(i) + ". ";
  const std::string file = folder.file("long.txt", text);
  Terminal terminal({"ask", "-q", "Where?", file, "--model", tiny_model(), "--json"});
  EXPECT_EQ(terminal.finish(120), 0);
  const std::string& printed = terminal.printed();
  const std::size_t bar = printed.rfind("reading [");
  ASSERT_NE(bar, std::string::npos) << "too fast for a progress line?";
  const std::size_t erased = printed.find("\r\033[K{\"question\"", bar);
  EXPECT_NE(erased, std::string::npos) << printed;
}

}  // namespace
}  // namespace kvasir::tests
