// The client against a server on this machine that behaves, and one that does not.
#include "remote/openai.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "hub_server.h"
#include "kvasir/error.h"
#include "remote/answer.h"
#include "remote/event_stream.h"

namespace kvasir::remote {
namespace {

namespace json = base::json;

std::string event(const std::string& data) {
  return "data: " + data + "\n\n";
}
std::string chat_event(const std::string& text, const std::string& reason = "") {
  return event(json::serialize(json::object{
      {"choices",
       json::array{json::object{{"index", 0},
                                {"delta", json::object{{"content", text}}},
                                {"finish_reason", reason.empty() ? json::value() : json::value(reason)}}}}}));
}

// A server whose answers to POST are `reply`, one after the other; the last one stays.
struct Server {
  explicit Server(std::vector<tests::HubReply> replies) : replies_(std::move(replies)) {
    server.change = [this](const tests::HubRequest& request, tests::HubReply& reply) {
      bodies.push_back(request.body);
      reply = replies_[std::min(asked++, replies_.size() - 1)];
    };
  }
  OpenAiClient client(const ClientOptions& options = {.first_wait = 0.01, .tries = 3}) const {
    return OpenAiClient({.url = server.endpoint(), .model = "org/small"}, options);
  }

  tests::HubServer server;
  std::vector<std::string> bodies;
  std::size_t asked = 0;

 private:
  std::vector<tests::HubReply> replies_;
};

void expect_error(const std::function<void()>& call, ErrorCode code, const std::string& what) {
  try {
    call();
    ADD_FAILURE() << "no error; expected: " << what;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
  }
}

const std::vector<Message> kMessages = {{"system", "Be brief."}, {"user", "Where is \"Lund\"?"}};

TEST(ParseEndpoint, KnowsItsOwn) {
  const auto endpoint = parse_endpoint("openai://localhost:8000/org/name");
  ASSERT_TRUE(endpoint.has_value());
  EXPECT_EQ(endpoint->url, "http://localhost:8000");
  EXPECT_EQ(endpoint->model, "org/name");
  EXPECT_EQ(parse_endpoint("openais://api.example.org/m")->url, "https://api.example.org");
  EXPECT_FALSE(parse_endpoint("models/llama").has_value());
  for (const char* bad : {"openai://", "openai://host", "openai://host/", "openai:///name"}) {
    expect_error([&] { parse_endpoint(bad); }, ErrorCode::kInvalidArgument, "openai://HOST:PORT/MODEL");
  }
}

TEST(OpenAi, AChatIsStreamed) {
  Server server({{.body = ": a comment\n\n" + chat_event("") + chat_event("In ") + chat_event("Sweden.") +
                          chat_event("", "stop") + event("[DONE]")}});
  std::string streamed;
  const auto choices =
      server.client({.api_key = "secret"})
          .chat(kMessages, {.max_tokens = 20, .stop = {"\n"}, .on_text = [&](std::string_view piece) {
                              streamed += piece;
                            }});
  ASSERT_EQ(choices.size(), 1U);
  EXPECT_EQ(choices[0].text, "In Sweden.");
  EXPECT_EQ(choices[0].finish_reason, "stop");
  EXPECT_EQ(streamed, "In Sweden.");
  const auto requests = server.server.requests();
  ASSERT_EQ(requests.size(), 1U);
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].target, "/v1/chat/completions");
  EXPECT_EQ(requests[0].headers.at("authorization"), "Bearer secret");
  const json::value body = json::parse(server.bodies.at(0));
  EXPECT_EQ(body.at("model"), "org/small");
  EXPECT_EQ(body.at("stream"), true);
  EXPECT_EQ(body.at("max_tokens"), 20);
  EXPECT_EQ(body.at("messages").at(1).at("content"), "Where is \"Lund\"?");
  EXPECT_EQ(body.at("stop").at(0), "\n");
}

TEST(OpenAi, ASchemaIsTheResponseFormat) {
  Server server({{.body = chat_event("{}", "stop") + event("[DONE]")}});
  server.client().chat(kMessages, {.json_schema = R"({"type": "object"})"});
  EXPECT_EQ(json::parse(server.bodies.at(0)).at("response_format"), json::parse(R"({"type": "json_schema",
                            "json_schema": {"name": "answer", "strict": true, "schema": {"type": "object"}}})"));
  expect_error([&] { server.client().chat(kMessages, {.json_schema = "{"}); }, ErrorCode::kFormat,
               "json_schema:1");
}

TEST(OpenAi, ACompletionOfSeveralTexts) {
  Server server({{.body = event(R"({"choices":[{"index":1,"text":"b","finish_reason":null}]})") +
                          event(R"({"choices":[{"index":0,"text":"a","finish_reason":"length"}]})") +
                          event(R"({"choices":[{"index":1,"text":"B","finish_reason":"stop"}]})") +
                          event(R"({"choices":[],"usage":{"total_tokens":4}})") + event("[DONE]")}});
  const auto choices = server.client().complete("Go on", {.n = 2});
  EXPECT_EQ(choices.at(0).text, "a");
  EXPECT_EQ(choices.at(0).finish_reason, "length");
  EXPECT_EQ(choices.at(1).text, "bB");
  EXPECT_EQ(server.server.requests().at(0).target, "/v1/completions");
}

TEST(OpenAi, TriesAgainWhileNothingHasCome) {
  const tests::HubReply good{.body = chat_event("yes", "stop") + event("[DONE]")};
  for (const tests::HubReply& bad :
       {tests::HubReply{.status = 503, .body = R"({"error":{"message":"loading"}})"},
        tests::HubReply{.status = 500}, tests::HubReply{.status = 429},
        tests::HubReply{.body = "", .cut_after = 0}, tests::HubReply{.body = ": ping\n\n: ping\n"}}) {
    Server server({bad, bad, good});
    EXPECT_EQ(server.client().chat(kMessages, {}).at(0).text, "yes");
    EXPECT_EQ(server.asked, 3U);
  }
}

TEST(OpenAi, SaysWhatIsWrong) {
  expect_error(
      [] {
        Server({{.status = 503, .body = R"({"error":{"message":"loading"}})"}}).client().chat(kMessages, {});
      },
      ErrorCode::kIo, "/v1/chat/completions: the server answered 503: loading (tried 3 times)");
  expect_error(
      [] {
        Server({{.status = 404, .body = R"({"message":"no such model"})"}}).client().chat(kMessages, {});
      },
      ErrorCode::kIo, "answered 404: no such model");
  expect_error(
      [] {
        Server(std::vector<tests::HubReply>{{.status = 401, .body = R"({"error":"bad key"})"}})
            .client()
            .chat(kMessages, {});
      },
      ErrorCode::kIo, "answered 401: bad key");
  expect_error(
      [] {
        Server(std::vector<tests::HubReply>{{.body = "<html>\nWelcome</html>"}}).client().chat(kMessages, {});
      },
      ErrorCode::kFormat, "the answer is neither a stream of events nor JSON: <html> Welcome</html>");
  expect_error(
      [] { Server(std::vector<tests::HubReply>{{.body = event("{broken")}}).client().chat(kMessages, {}); },
      ErrorCode::kFormat, "no JSON object");
  expect_error(
      [] {
        Server(std::vector<tests::HubReply>{{.body = event(R"({"object":"list"})")}})
            .client()
            .chat(kMessages, {});
      },
      ErrorCode::kFormat, "has no choices");
  expect_error(
      [] {
        Server({{.body = chat_event("Half") + event(R"({"error":{"message":"out of memory"}})")}})
            .client()
            .chat(kMessages, {});
      },
      ErrorCode::kIo, "broke off: out of memory");
  expect_error(
      [] {
        OpenAiClient({.url = "http://127.0.0.1:1", .model = "m"}, {.first_wait = 0.01, .tries = 2})
            .chat(kMessages, {});
      },
      ErrorCode::kIo, "is the server running there?");
}

// A server that does not heed max_tokens would fill the memory.
TEST(OpenAi, AnAnswerThatDoesNotEndIsAnError) {
  std::string body;
  for (int i = 0; i < 30; ++i) body += chat_event(std::string(100, 'x'));
  Server server(std::vector<tests::HubReply>{{.body = body + chat_event("", "stop") + event("[DONE]")}});
  expect_error([&] { server.client().chat(kMessages, {.max_tokens = 2}); }, ErrorCode::kFormat,
               "the answer is longer than 2 tokens can be");
  EXPECT_EQ(server.client().chat(kMessages, {.max_tokens = 3}).at(0).text.size(), 3000U);
}

// "error":null stands in each event of some servers, and a page of another encoding is not shown as it is.
TEST(OpenAi, OddAnswersAreUnderstood) {
  Server server({{.body = event(R"({"error":null,"choices":[{"text":"yes","finish_reason":"stop"}]})")},
                 {.status = 404, .body = "nicht gefunden: \xFC\x1B[2J"}});
  EXPECT_EQ(server.client().complete("x", {}).at(0).text, "yes");
  expect_error([&] { server.client().complete("x", {}); }, ErrorCode::kIo, "answered 404: nicht gefunden: ");
  std::string body(299, 'x');
  body += "\u00e9 and more";
  EXPECT_EQ(server_message(body), std::string(299, 'x'));
  EXPECT_EQ(server_message("{\"error\":\"a\\u001b[2Jb\\nc\"}"), "a [2Jb c");
}

// Half an answer is an error, and is not asked for again: its beginning was shown.
TEST(OpenAi, AnAnswerThatIsCutOffIsAnError) {
  tests::HubReply half{.body = chat_event("The answer") + chat_event(" is", "stop") + event("[DONE]")};
  half.cut_after = chat_event("The answer").size() + 10;
  Server server(std::vector<tests::HubReply>{half});
  expect_error([&] { server.client().chat(kMessages, {}); }, ErrorCode::kIo, "the answer was cut off");
  EXPECT_EQ(server.asked, 1U);
}

TEST(OpenAi, ADocumentInPlaceOfAStreamIsUnderstood) {
  Server server({{.body = R"({"choices":[{"index":0,"message":{"role":"assistant","content":"In Sweden."},
                             "finish_reason":"stop"}],"usage":{"total_tokens":4}})"},
                 {.body = R"({"choices":[{"text":"a","finish_reason":"length"}]})"},
                 {.body = R"({"models":[]})"}});
  std::string shown;
  const auto chat =
      server.client().chat(kMessages, {.on_text = [&](std::string_view piece) { shown += piece; }});
  EXPECT_EQ(chat.at(0).text, "In Sweden.");
  EXPECT_EQ(shown, "In Sweden.");
  EXPECT_EQ(server.client().complete("x", {}).at(0).finish_reason, "length");
  expect_error([&] { server.client().complete("x", {}); }, ErrorCode::kFormat, "has no choices");
}

// It had begun, so it is not asked again.
TEST(OpenAi, GivesUpOnAServerThatFallsSilentInTheMiddle) {
  tests::HubReply half{.body = chat_event("The answer") + chat_event(" is", "stop"), .stall = 4};
  half.cut_after = chat_event("The answer").size();
  Server server(std::vector<tests::HubReply>{half});
  std::string shown;
  expect_error(
      [&] {
        server.client({.patience = 1, .first_wait = 0.01, .tries = 3})
            .chat(kMessages, {.on_text = [&](std::string_view piece) { shown += piece; }});
      },
      ErrorCode::kIo, "the answer was cut off: ");
  EXPECT_EQ(shown, "The answer");
  EXPECT_EQ(server.asked, 1U);
}

TEST(OpenAi, GivesUpOnAServerThatIsSilent) {
  Server server({{.body = chat_event("late", "stop"), .delay = 3}});
  expect_error([&] { server.client({.patience = 1, .first_wait = 0.01, .tries = 1}).chat(kMessages, {}); },
               ErrorCode::kIo, "tried 1 times");
}

TEST(OpenAi, CanBeCancelled) {
  Server server(std::vector<tests::HubReply>{{.status = 503}});
  const std::atomic<bool> cancel{true};
  expect_error([&] { server.client().chat(kMessages, {.cancel = &cancel}); }, ErrorCode::kCancelled,
               "cancelled");
  Server other({{.body = chat_event("a") + chat_event("b", "stop")}});
  EXPECT_THROW(other.client().chat(kMessages, {.on_text = [](std::string_view) { throw 7; }}), int);
}

// Bytes may come in any pieces, lines end in any way.
TEST(EventStream, InAnyPieces) {
  const std::string text =
      ": hi\r\ndata: one\r\n\r\ndata:two\ndata: more\n\nevent: x\rdata: three\r\rdata: unfinished\n";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    EventStream stream;
    std::vector<std::string> got;
    for (std::size_t at = 0; at < text.size(); at += step) {
      EXPECT_TRUE(stream.push(std::string_view(text).substr(at, step),
                              [&](std::string_view data) { got.emplace_back(data); }));
    }
    EXPECT_EQ(got, (std::vector<std::string>{"one", "two\nmore", "three"})) << step;
  }
  EventStream endless;
  const std::string block(1 << 20, 'x');
  bool ok = true;
  for (int i = 0; i < 20 && ok; ++i) ok = endless.push(block, [](std::string_view) {});
  EXPECT_FALSE(ok);
}

}  // namespace
}  // namespace kvasir::remote
