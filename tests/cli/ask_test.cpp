// kvasir ask without a terminal: parity with the reference, JSON, what people see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "json_helpers.h"
#include "process.h"

namespace kvasir::tests {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

// A context in which every sentence names something, so that an answer is found in some sentence.
constexpr const char* kContext = "The treaty was signed in Lund. It ended the war of 1676.";

Outcome ask(std::vector<std::string> args, const std::string& input = "") {
  args.insert(args.begin(), "ask");
  args.insert(args.end(), {"--model", tiny_model()});
  return run({.args = args, .input = input});
}

json::value ask_json(std::vector<std::string> args, const std::string& input = "") {
  args.emplace_back("--json");
  const Outcome outcome = ask(args, input);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const std::vector<json::value> lines = json_lines(outcome.out);
  if (lines.size() != 1) {
    ADD_FAILURE() << "not one line: " << outcome.out;
    return {};
  }
  return lines.front();
}

// --- documents of many formats

TEST(AskDocuments, AnAnswerNamesItsPlace) {
  const std::string folder = KVASIR_TEST_DATA "/documents/";
  EXPECT_THAT(ask({"-q", "Who made the audit?", folder + "report.pdf"}).out, HasSubstr("report.pdf, page "));
  EXPECT_THAT(ask({"-q", "Who?", folder + "slides.pptx"}).out, HasSubstr("slides.pptx, slide "));
  const json::value result = ask_json({"-q", "Who?", folder + "lighthouse.docx"});
  const json::object& answer = result.at("answers").at(0).as_object();
  EXPECT_EQ(answer.at("location").as_string().find("paragraph "), 0U);
  // Text that is taken byte for byte needs none.
  EXPECT_FALSE(
      ask_json({"-q", "Who?", "--context", kContext}).at("answers").at(0).as_object().contains("location"));
}

TEST(AskDocuments, AFolderStandsForItsDocuments) {
  const TemporaryFolder folder;
  folder.file("b.txt", "The treaty was signed in Lund.");
  folder.file("a.md", "It *ended* the war.");
  folder.file(".hidden.txt", "Not this.");
  folder.file("picture.png", std::string("\x89PNG\r\n\x1a\n\0\0\0\xff", 12));
  folder.file("broken.docx", "PK\x03\x04");
  const Outcome outcome = ask({"-q", "Where?", "--top-k", "9", "--json", folder.path()});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.out, AnyOf(HasSubstr("/a.md\""), HasSubstr("/b.txt\"")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("hidden")));
  EXPECT_EQ(outcome.err, "kvasir: left out: " + folder.path() +
                             "/broken.docx: broken ZIP archive: Not a zip archive\nkvasir: " + folder.path() +
                             ": left out 1 file that is no document\n");
}

TEST(AskDocuments, AnotherEncodingIsReadAndTold) {
  const TemporaryFolder folder;
  const Outcome outcome =
      ask({"-q", "Where?",
           folder.file("a.txt", "F\xf6r k\xe4llan i Malm\xf6 betalade S\xf6ren \xe5tta kronor.")});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("a.txt: read as "));
}

// --- parity
// -----------------------------------------------------------------------------------------------------

void add_parameters(std::vector<std::string>& args, const json::object& params) {
  for (const auto& [key, value] : params) {
    if (key == "padding") {
      args.emplace_back("--pad-to-max-length");
    } else if (key == "handle_impossible_answer") {
      if (value.as_bool()) args.emplace_back("--handle-impossible-answer");
    } else if (key == "align_to_words") {
      if (!value.as_bool()) args.emplace_back("--no-align-to-words");
    } else {
      std::string option = "--" + std::string(key);
      std::replace(option.begin(), option.end(), '_', '-');
      args.push_back(option);
      args.push_back(json::serialize(value));
    }
  }
}

class Parity : public testing::TestWithParam<const char*> {};

TEST_P(Parity, PipelineAnswersOfTheReference) {
  const json::value expected = fixture("encoders-qa/" + std::string(GetParam()) + "/expected.json");
  const TemporaryFolder folder;
  std::size_t compared = 0;
  for (const json::value& value : expected.at("cases").as_array()) {
    const json::object& test = value.as_object();
    SCOPED_TRACE(text_of(test.at("id")));
    const std::string question = text_of(test.at("question"));
    ASSERT_EQ(question.find('\0'), std::string::npos);
    const std::string file = folder.file("context.txt", text_of(test.at("context")));
    std::vector<std::string> args = {
        "ask", "-q", question, file, "--json", "--decode", "pipeline", "--model", tiny_model(GetParam())};
    add_parameters(args, test.at("params").as_object());
    const Outcome outcome = run({.args = args});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const json::value got = base::parse_json(outcome.out, "output");
    EXPECT_EQ(text_of(got.at("question")), question);
    const json::array& answers = got.at("answers").as_array();
    const json::object& pipeline = test.at("pipeline").as_object();
    const auto meaningful = pipeline.at("n_nonzero").to_number<std::size_t>();
    ASSERT_GE(answers.size(), meaningful);
    for (std::size_t i = 0; i < meaningful; ++i) {
      const json::value& want = pipeline.at("answers").as_array()[i];
      EXPECT_EQ(answers[i].at("answer"), want.at("answer"));
      EXPECT_EQ(answers[i].at("start").to_number<int>(), want.at("start").to_number<int>());
      EXPECT_EQ(answers[i].at("end").to_number<int>(), want.at("end").to_number<int>());
      EXPECT_EQ(text_of(answers[i].at("file")), file);
      const double score = want.at("score").to_number<double>();
      EXPECT_NEAR(answers[i].at("score").to_number<double>(), score, 1e-4 * score + 1e-6);
      ++compared;
    }
  }
  EXPECT_GE(compared, 25U);
}

TEST_P(Parity, CallsThatTheReferenceRefuses) {
  const json::value expected = fixture("encoders-qa/" + std::string(GetParam()) + "/expected.json");
  std::size_t refused = 0;
  for (const json::value& test : expected.at("errors").as_array()) {
    SCOPED_TRACE(text_of(test.at("id")));
    json::object params = test.at("args").as_object();
    std::vector<std::string> args = {"ask",       "--json",
                                     "--decode",  "pipeline",
                                     "--model",   tiny_model(GetParam()),
                                     "-q",        text_of(params.at("question")),
                                     "--context", text_of(params.at("context"))};
    params.erase("question");
    params.erase("context");
    add_parameters(args, params);
    const Outcome outcome = run({.args = args});
    if (test.at("error").is_null()) {  // white space only: the reference answers with nothing, and so do we
      EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
      const json::value got = base::parse_json(outcome.out, "output");
      ASSERT_EQ(got.at("answers").as_array().size(), 1U);
      EXPECT_EQ(text_of(got.at("answers").as_array()[0].at("answer")), "");
      EXPECT_EQ(got.at("answers").as_array()[0].at("score").to_number<double>(), 0);
      continue;
    }
    ++refused;
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, testing::StartsWith("kvasir: "));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
  }
  EXPECT_GE(refused, 7U);
}

INSTANTIATE_TEST_SUITE_P(Families, Parity, testing::Values("bert-uncased", "bert-cased", "distilbert"));

// --- sources
// ----------------------------------------------------------------------------------------------------

TEST(Ask, ContextFileAndInputGiveTheSameAnswer) {
  const TemporaryFolder folder;
  const std::string file = folder.file("treaty.txt", kContext);
  const json::value of_context = ask_json({"-q", "Where?", "--context", kContext});
  const json::value of_file = ask_json({"-q", "Where?", file});
  const json::value of_input = ask_json({"-q", "Where?", "-"}, kContext);
  const json::value of_default = ask_json({"-q", "Where?"}, kContext);

  const auto answer = [](const json::value& result) { return result.at("answers").as_array().at(0); };
  EXPECT_TRUE(answer(of_context).at("file").is_null());
  EXPECT_EQ(text_of(answer(of_file).at("file")), file);
  EXPECT_EQ(text_of(answer(of_input).at("file")), "-");
  EXPECT_EQ(text_of(answer(of_default).at("file")), "-");
  for (const char* key : {"answer", "score", "start", "end"}) {
    EXPECT_EQ(answer(of_context).at(key), answer(of_file).at(key));
    EXPECT_EQ(answer(of_context).at(key), answer(of_input).at(key));
  }
  for (const char* key : {"question", "answers", "no_answer_score", "windows"}) {
    EXPECT_TRUE(of_context.as_object().contains(key)) << key;
  }
}

TEST(Ask, OffsetsCountCodePointsOfTheBytesAsTheyAre) {
  // A byte order mark, carriage returns, a character beyond the BMP, a combining accent.
  const std::string text = "\ufeffOne\r\n\U0001f600 cafe\u0301 in Lund was signed.\r\n";
  for (const char* decode : {"kvasir", "pipeline", "squad"}) {
    const json::value result =
        ask_json({"-q", "Where was it signed?", "--decode", decode, "--top-k", "5"}, text);
    const json::array& answers = result.at("answers").as_array();
    ASSERT_FALSE(answers.empty());
    for (const json::value& answer : answers) {
      const auto start = answer.at("start").to_number<std::size_t>();
      const auto end = answer.at("end").to_number<std::size_t>();
      std::string slice;
      std::size_t point = 0;
      for (const char c : text) {
        if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++point;
        if (point > start && point <= end) slice += c;
      }
      EXPECT_EQ(slice, text_of(answer.at("answer"))) << decode;
    }
  }
}

TEST(Ask, SeveralFilesAreOneCollection) {
  const TemporaryFolder folder;
  const std::string first = folder.file("[a,b]", "Nothing of note happened on that day.");
  const std::string second = folder.file("second.txt", kContext);
  const json::value result = ask_json({"-q", "Where was the treaty signed?", first, second, "--top-k", "10"});
  double sum = 0, last = 2;
  std::vector<std::string> files;
  for (const json::value& answer : result.at("answers").as_array()) {
    const double score = answer.at("score").to_number<double>();
    EXPECT_LE(score, last);
    last = score;
    sum += score;
    files.push_back(text_of(answer.at("file")));
  }
  EXPECT_LE(sum, 1 + 1e-9);
  EXPECT_THAT(files, testing::Contains(first));
  EXPECT_THAT(files, testing::Contains(second));
}

TEST(Ask, QuestionsAreAnsweredInTheirOrder) {
  const Outcome outcome = ask({"-q", "Where?", "--question", "[a,b]", "-q", "{}", "-q", "-5 degrees?",
                               "--json", "--context", kContext});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<json::value> lines = json_lines(outcome.out);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(text_of(lines[0].at("question")), "Where?");
  EXPECT_EQ(text_of(lines[1].at("question")), "[a,b]");
  EXPECT_EQ(text_of(lines[2].at("question")), "{}");
  EXPECT_EQ(text_of(lines[3].at("question")), "-5 degrees?");
}

TEST(Ask, TheSameWhateverTheThreads) {
  const json::value one = ask_json({"-q", "Where?", "--context", kContext, "--threads", "1", "--top-k", "3"});
  const json::value three =
      ask_json({"-q", "Where?", "--context", kContext, "--threads", "3", "--top-k", "3"});
  EXPECT_EQ(one, three);
}

// --- what people see
// ----------------------------------------------------------------------------------------------

TEST(Ask, PeopleSeeAnswerSentenceFileAndLine) {
  const TemporaryFolder folder;
  const std::string file =
      folder.file("treaty.txt", "A heading\n\nFirst line.\nThe treaty was\nsigned in Lund.\n");
  const std::vector<std::string> args = {"-q", "Where was the treaty signed?", file, "--decode", "pipeline"};
  std::string answer = text_of(ask_json(args).at("answers").as_array().at(0).at("answer"));
  std::replace(answer.begin(), answer.end(), '\n', ' ');
  const Outcome outcome = ask(args);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out.rfind(answer + "  (score 0.", 0), 0U) << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("**" + answer + "**"));
  EXPECT_THAT(outcome.out, HasSubstr("  " + file + ":"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\033")));
}

TEST(Ask, ColorOnlyWhereItIsWanted) {
  const std::vector<std::string> args = {"ask",    "-q",      "Where?",    "--context",
                                         kContext, "--model", tiny_model()};
  EXPECT_THAT(run({.args = args}).out, Not(HasSubstr("\033")));
  std::vector<std::string> always = args;
  always.insert(always.end(), {"--color", "always"});
  EXPECT_THAT(run({.args = always, .env = {"NO_COLOR=1"}}).out, HasSubstr("\033[1;32m"));
}

TEST(Ask, ControlCharactersOfTheTextDoNotReachTheTerminal) {
  const Outcome outcome =
      ask({"-q", "Where?", "--decode", "pipeline"}, "signed \033[2Jin\u009b Lund\u202e\u0007 town");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* bad : {"\033", "\u009b", "\u202e", "\u0007"})
    EXPECT_THAT(outcome.out, Not(HasSubstr(bad)));
}

TEST(Ask, SaysWhenTheTextProbablyHoldsNoAnswer) {
  // The tiny models are random: search a question to which the model prefers "no answer".
  for (const char* question : {"Where?", "Who designed the lighthouse?", "When did the war end?", "Why?",
                               "What is it?", "How many?", "Is it red?", "Which king?"}) {
    const json::value result = ask_json({"-q", question, "--context", kContext});
    const double best = result.at("answers").as_array().at(0).at("score").to_number<double>();
    const double none = result.at("no_answer_score").to_number<double>();
    const Outcome outcome = ask({"-q", question, "--context", kContext});
    if (none > best) {
      const std::string how = none >= 0.5 ? "Probably" : "Perhaps";
      EXPECT_EQ(outcome.out.rfind(how + " not answered here (no answer: ", 0), 0U) << outcome.out;
      EXPECT_THAT(outcome.out, HasSubstr("Best guess:"));
    } else {
      EXPECT_THAT(outcome.out, Not(HasSubstr("not answered here")));
    }
  }
}

TEST(Ask, NoAnswerIsAnEmptyTextAtTheBeginning) {
  const json::value result = ask_json({"-q", "Where?", "--context", kContext, "--decode", "pipeline",
                                       "--top-k", "50", "--handle-impossible-answer"});
  std::size_t empty = 0;
  for (const json::value& answer : result.at("answers").as_array()) {
    if (!text_of(answer.at("answer")).empty() || answer.at("score").to_number<double>() == 0) continue;
    ++empty;
    EXPECT_EQ(answer.at("start").to_number<int>(), 0);
    EXPECT_EQ(answer.at("end").to_number<int>(), 0);
  }
  EXPECT_EQ(empty, 1U);
}

}  // namespace
}  // namespace kvasir::tests
