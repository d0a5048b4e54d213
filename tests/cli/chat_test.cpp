// kvasir chat: conversations, on a terminal and through pipes, with a model here and with one on a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include "hub_server.h"
#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::HasSubstr;

std::string decoder(const std::string& name) {
  return std::string(KVASIR_TEST_DATA) + "/decoders/" + name;
}

// The answer of `kvasir generate` to the prompt that a template makes.
std::string answer_to(const std::string& model, const std::string& prompt) {
  const Outcome outcome = run({.args = {"generate", "-m", decoder(model), "-n", "12", "-p", prompt}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::string text = outcome.out;
  text.erase(0, text.find_first_not_of(" \n"));
  return text;
}

const std::string kVicuna =
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, "
    "and polite answers to the user's questions. USER: ";

TEST(Chat, OneMessageThroughAPipe) {
  const Outcome outcome =
      run({.args = {"chat", "-m", decoder("llama-gqa"), "-n", "12", "--chat-template", "vicuna"},
           .input = "Where is Lund?\n"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, answer_to("llama-gqa", kVicuna + "Where is Lund? ASSISTANT:"));
}

TEST(Chat, GoesOnWithAConversation) {
  const TemporaryFolder folder;
  const std::string file =
      folder.file("c.json", R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello!"}])");
  const Outcome outcome = run({.args = {"chat", "-m", decoder("llama-gqa"), "-n", "12", "--chat-template",
                                        "vicuna", "--load", file, "--system", "Be brief."},
                               .input = "Where is Lund?"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(
      outcome.out,
      answer_to("llama-gqa", "Be brief. USER: Hi ASSISTANT: Hello!</s>USER: Where is Lund? ASSISTANT:"));
}

TEST(Chat, AnswersInJson) {
  const std::vector<std::string> args = {
      "chat",
      "-m",
      decoder("llama-gqa"),
      "--chat-template",
      "vicuna",
      "--json-schema",
      R"({"properties": {"city": {"enum": ["Lund"]}}, "required": ["city"]})"};
  const Outcome outcome = run({.args = args, .input = "Where?"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out).at("city"), "Lund");
  std::vector<std::string> few = args;
  few.insert(few.end(), {"-n", "2"});
  const Outcome unfinished = run({.args = few, .input = "Where?"});
  EXPECT_EQ(unfinished.exit_code, 1);
  EXPECT_THAT(unfinished.err, HasSubstr("--max-new-tokens 2 is too few"));
}

TEST(Chat, OnATerminal) {
  if (!terminals_exist()) GTEST_SKIP() << kNoTerminal;
  const TemporaryFolder folder;
  Terminal terminal({"chat", "-m", decoder("llama-gqa"), "-n", "12", "--chat-template", "vicuna"},
                    {.env = {"XDG_STATE_HOME=" + folder.path()}});
  ASSERT_TRUE(terminal.wait_for("/help tells more"));
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("/help\n");
  ASSERT_TRUE(terminal.wait_for("forget the conversation"));
  terminal.type("/nonsense\n");
  ASSERT_TRUE(terminal.wait_for("unknown command"));
  terminal.type("/system Be brief.\n");
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("Where is \\\n");
  ASSERT_TRUE(terminal.wait_for("... "));
  terminal.type("Lund?\n");
  ASSERT_TRUE(terminal.wait_for("tokens/s; prompt: "));
  terminal.type("/save\n");
  ASSERT_TRUE(terminal.wait_for("needs the name of a file"));
  terminal.type("/save " + folder.path() + "/saved.json\n");
  ASSERT_TRUE(terminal.wait_for("3 messages written"));
  terminal.type("/load " + folder.path() + "/missing.json\n");
  ASSERT_TRUE(terminal.wait_for("missing.json"));
  terminal.type("/reset\n/load " + folder.path() + "/saved.json\n");
  ASSERT_TRUE(terminal.wait_for("3 messages"));
  terminal.type("/quit\n");
  EXPECT_EQ(terminal.finish(), 0);
  std::ifstream file(folder.path() + "/saved.json");
  const std::string saved((std::istreambuf_iterator<char>(file)), {});
  const json::value list = json::parse(saved);
  EXPECT_EQ(list.at(0).at("role"), "system");
  EXPECT_EQ(list.at(1).at("content"), "Where is \nLund?");
  EXPECT_EQ(list.at(2).at("role"), "assistant");
}

TEST(Chat, CtrlCStopsTheAnswerAndNotTheProgram) {
  if (!terminals_exist()) GTEST_SKIP() << kNoTerminal;
  const TemporaryFolder folder;
  // BLOOM's context of 2048 tokens gives time to press a key.
  Terminal terminal(
      {"chat", "-m", decoder("bloom"), "-n", "2000", "--ignore-eos", "--chat-template", "bloomz"},
      {.env = {"XDG_STATE_HOME=" + folder.path(), "KVASIR_ISA=scalar"}});
  ASSERT_TRUE(terminal.wait_for("> "));
  terminal.type("Hello\n");
  ASSERT_TRUE(terminal.wait_for("Hello"));
  ASSERT_TRUE(terminal.wait_for("\n"));
  terminal.signal(SIGINT);
  terminal.type("/help\n");
  ASSERT_TRUE(terminal.wait_for("forget the conversation"));
  terminal.type("\x04");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST(Chat, WithAModelOnAServer) {
  HubServer server;
  std::string body, key;
  server.change = [&](const HubRequest& request, HubReply& reply) {
    body = request.body;
    const auto found = request.headers.find("authorization");
    key = found == request.headers.end() ? "" : found->second;
    reply = {.body =
                 "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"In Sweden.\"},"
                 "\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"};
  };
  const std::string name = "openai" + server.endpoint().substr(4) + "/small";
  const Outcome outcome =
      run({.args = {"chat", "-m", name}, .input = "Where is Lund?", .env = {"OPENAI_API_KEY=k1"}});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "In Sweden.\n");
  EXPECT_EQ(key, "Bearer k1");
  EXPECT_EQ(json::parse(body).at("messages").at(0).at("content"), "Where is Lund?");
  EXPECT_FALSE(json::parse(body).as_object().contains("response_format"));

  // Its schema may have what a model here would refuse; that the server kept to it is looked at.
  const Outcome no_json =
      run({.args = {"chat", "-m", name, "--json-schema", R"({"pattern": "x"})"}, .input = "Where is Lund?"});
  EXPECT_EQ(no_json.exit_code, 1);
  EXPECT_THAT(no_json.err, HasSubstr("the server did not keep to the schema"));
  const json::value format = json::parse(body).at("response_format");
  EXPECT_EQ(format.at("type"), "json_schema");
  EXPECT_EQ(format.at("json_schema").at("schema"), json::parse(R"({"pattern": "x"})"));

  const Outcome refused = run({.args = {"generate", "-m", name, "-p", "x", "--top-k", "3"}});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("has no top_k; use top_p"));
}

// What a template does for ever, or without bounds, is stopped: at once, and in one line that says where.
TEST(Chat, TemplatesThatDoNotEndAreStopped) {
  struct Fault {
    const char* source;
    const char* message;
  };
  const TemporaryFolder folder;
  const std::string deep = "{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}";
  const std::string model = decoder("llama-gqa");
  for (const Fault& fault : {
           Fault{"{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
                 ":1: the template does not come to an end (5000000 steps); it may loop for ever"},
           Fault{"\n{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
                 ":2: the template is nested too deep; a macro may call itself for ever"},
           Fault{"{% set n = namespace(s='xxxxxxxx') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% "
                 "endfor %}",
                 ":1: the template makes too much text (over 256 MiB)"},
           Fault{"{{ 'x' * 10000000000 }}", ":1: the template makes too much text (over 256 MiB)"},
           Fault{"{% for i in range(100000000) %}{% endfor %}",
                 ":1: function range: more than 100000 numbers"},
           Fault{"{% set n = namespace(a=[]) %}{% for i in range(9999) %}{% set n.a = [n.a] %}{% endfor %}{{ "
                 "n.a }}",
                 ":1: a list is nested more than 100 levels deep"},
           Fault{deep.c_str(), ":1: blocks or brackets are nested too deep"},
           Fault{"{{ raise_exception('roles\nalternate') }}", ":1: the template refuses the messages: roles"},
       }) {
    const std::string file = folder.file("t.jinja", fault.source);
    const Outcome outcome = run({.args = {"chat", "-m", model, "--chat-template", file}, .input = "Hello"});
    EXPECT_EQ(outcome.exit_code, 1) << fault.source;
    EXPECT_THAT(outcome.err, testing::StartsWith("kvasir: " + file + fault.message));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Chat, WhatIsWrongIsSaidInOneLine) {
  struct Fault {
    std::vector<std::string> args;
    const char* message;
    std::string input = "Hello";
  };
  const TemporaryFolder folder;
  const std::string model = decoder("llama-gqa");
  for (const Fault& fault :
       {Fault{{"-m", model}, "choose a chat template: "},
        Fault{{"-m", model, "--chat-template", "nobody"}, "nobody"},
        Fault{{"-m", model, "--chat-template", "/nowhere/x.jinja"}, "/nowhere/x.jinja"},
        Fault{{"-m", model, "--chat-template", folder.file("t.jinja", "{% for x in %}")}, "t.jinja:1"},
        Fault{{"-m", model, "--chat-template",
               folder.file(
                   "e.jinja",
                   "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}")},
              "e.jinja"},
        Fault{{"-m", model, "--load", folder.file("c.json", "[{\"role\":1}]")}, "key role"},
        Fault{{"-m", model, "--num-beams", "2"}, "a conversation has one answer"},
        Fault{{"-m", model, "--json-schema", "-"}, "standard input is read for something else"},
        Fault{{"-m", "openai://x"}, "openai://HOST:PORT/MODEL"},
        Fault{{"-m", model, "--chat-template", "vicuna"}, "standard input is empty", "\n"}}) {
    std::vector<std::string> args = fault.args;
    args.insert(args.begin(), "chat");
    const Outcome outcome = run({.args = args, .input = fault.input});
    EXPECT_NE(outcome.exit_code, 0) << fault.message;
    EXPECT_THAT(outcome.err, HasSubstr(fault.message));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

}  // namespace
}  // namespace kvasir::tests
