// kvasir ask --generate: what a model writes (here one on a server, that says what it is told to), cited and
// checked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hub_server.h"
#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kText =
    "The treaty was signed in Lund in 1676 by two envoys. It ended a war that had lasted four years.\n\n"
    "The harbour of Malmo was built later, and cost 300 thousand crowns.\n";

// A model that answers `says`, and what it was asked.
struct Model {
  explicit Model(std::string says) {
    server.change = [this, says](const HubRequest& request, HubReply& reply) {
      asked = json::parse(request.body).at("messages").at(0).at("content").as_string().c_str();
      json::object choice{
          {"index", 0}, {"delta", json::object{{"content", says}}}, {"finish_reason", "stop"}};
      reply = {.body = "data: " + json::serialize(json::object{{"choices", json::array{choice}}}) +
                       "\n\ndata: [DONE]\n\n"};
    };
  }
  Outcome ask(const std::string& question, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {
        "ask", "--generate", "-m",        "openai" + server.endpoint().substr(4) + "/m",
        "-q",  question,     "--context", kText};
    args.insert(args.end(), more.begin(), more.end());
    return run({.args = args});
  }

  HubServer server;
  std::string asked;
};

TEST(AskGenerate, CitesAndChecks) {
  Model model("The treaty was signed in Lund [1]. It was signed in 1812 [1]. [7]");
  const Outcome outcome = model.ask("Where was the treaty signed?", {"--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(model.asked, HasSubstr("[1] The treaty was signed in Lund in 1676"));
  EXPECT_THAT(model.asked, HasSubstr("Question: Where was the treaty signed?"));
  const json::value answer = json::parse(outcome.out);
  EXPECT_EQ(answer.at("known"), true);
  EXPECT_EQ(answer.at("answer"), "The treaty was signed in Lund. [1] It was signed in 1812. [1]");
  const json::array& sentences = answer.at("sentences").as_array();
  ASSERT_EQ(sentences.size(), 2U);
  EXPECT_EQ(sentences[0].at("supported"), true);
  EXPECT_EQ(sentences[1].at("supported"), false);  // another year
  EXPECT_EQ(sentences[1].at("citations"), json::array{1});
  const json::value& passage = answer.at("passages").at(0);
  EXPECT_THAT(std::string(passage.at("text").as_string()), HasSubstr("signed in Lund"));
  EXPECT_EQ(passage.at("start"), 0);
  EXPECT_TRUE(passage.at("file").is_null());
}

TEST(AskGenerate, ASentenceWithoutANumberGetsThePassageThatHoldsIt) {
  Model model("The treaty was signed in Lund. The king was a fool.");
  const json::value answer = json::parse(model.ask("Where was the treaty signed?", {"--json"}).out);
  EXPECT_EQ(answer.at("sentences").at(0).at("citations"), json::array{1});
  EXPECT_EQ(answer.at("sentences").at(0).at("supported"), true);
  EXPECT_EQ(answer.at("sentences").at(1).at("citations"), json::array{});
  EXPECT_EQ(answer.at("sentences").at(1).at("supported"), false);
}

TEST(AskGenerate, ForPeople) {
  Model model("The treaty was signed in Lund [1]. The king was a fool [1].");
  const Outcome outcome = model.ask("Where was the treaty signed?");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("The treaty was signed in Lund. [1]\nThe king was a fool. [1] (?)\n"));
  EXPECT_THAT(outcome.out, HasSubstr("(?) is not supported by what it cites."));
  EXPECT_THAT(outcome.out, HasSubstr("    The treaty was signed in Lund in 1676"));
}

TEST(AskGenerate, SaysThatItDoesNotKnow) {
  Model model("I don't know from these documents.");
  const Outcome outcome = model.ask("Where was the treaty signed?");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "I don't know from these documents.\n");
  const json::value answer = json::parse(model.ask("Where was the treaty signed?", {"--json"}).out);
  EXPECT_EQ(answer.at("known"), false);
  EXPECT_EQ(answer.at("answer"), "I don't know from these documents.");
}

// With a model here, which has no template and a context for two passages.
TEST(AskGenerate, WithAModelHere) {
  const Outcome outcome =
      run({.args = {"ask", "--generate", "-m", std::string(KVASIR_TEST_DATA) + "/decoders/bloom", "-q",
                    "Where was the treaty signed?", "--context", kText, "--json", "--max-passages", "2"}});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const json::value answer = json::parse(outcome.out);
  EXPECT_TRUE(answer.at("known").is_bool());  // its weights are random
}

TEST(AskGenerate, WhatIsWrongIsSaidInOneLine) {
  struct Fault {
    std::vector<std::string> args;
    const char* message;
  };
  const std::string here = std::string(KVASIR_TEST_DATA) + "/decoders/llama-gqa";
  for (const Fault& fault :
       {Fault{{"--generate", "-q", "Who?", "--context", "x"}, "no language model"},
        Fault{{"--generate", "-m", here, "-q", "Where was it signed?", "--context", kText},
              "the model's context of 256"},
        Fault{{"--generate", "-m", tiny_model(), "-q", "Who?", "--context", "x"}, "is no language model"},
        Fault{{"--reader", "x", "-q", "Who?", "--context", "x"}, "go with --generate"},
        Fault{{"--generate", "-m", here, "--max-passages", "0", "-q", "Who?", "--context", "x"},
              "--max-passages"}}) {
    std::vector<std::string> args = fault.args;
    args.insert(args.begin(), "ask");
    const Outcome outcome = run({.args = args, .env = {"KVASIR_MODEL"}});
    EXPECT_NE(outcome.exit_code, 0) << fault.message;
    EXPECT_THAT(outcome.err, HasSubstr(fault.message));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

}  // namespace
}  // namespace kvasir::tests
