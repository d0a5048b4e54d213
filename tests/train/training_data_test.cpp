// Training files: every format, what is repaired, and what is left out and why.
#include "train/training_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "kvasir/error.h"
#include "temporary_folder.h"

namespace kvasir::train {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

std::string message_of(const std::string& bytes) {
  try {
    parse_training_data(bytes, "a.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kFormat);
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    return error.what();
  }
  return "no error";
}

// The flat row of an answer.
std::string flat(const std::string& context, const std::string& answer, const std::string& start) {
  return R"({"id":"q","title":"T","context":")" + context + R"(","question":"What?","answers":{"text":[")" +
         answer + R"("],"answer_start":[)" + start + "]}}";
}

const std::string kGood = flat("Lund is old.", "Lund", "0");

// A file of a good row and this one; what is said of the latter.
std::string reason_for(const std::string& row) {
  const TrainingData data = parse_training_data(kGood + "\n" + row + "\n", "a.jsonl");
  EXPECT_THAT(data.examples, SizeIs(1));
  EXPECT_EQ(data.bad, 1);
  if (data.first_bad.size() != 1) return "none";
  EXPECT_EQ(data.first_bad[0].where, "a.jsonl:line 2");
  return data.first_bad[0].reason;
}

// The text between an example's bytes.
std::string marked(const TrainingData& data, std::size_t i) {
  const TrainingExample& example = data.examples.at(i);
  return data.contexts.at(example.context)
      .substr(example.answer_begin, example.answer_end - example.answer_begin);
}

const std::string kSquad = R"({"version": "v2.0", "data": [{"title": "T", "paragraphs": [
  {"context": "Lund is in Scania. Lund is old.", "qas": [
    {"id": "a", "question": "Where is Lund?", "answers": [{"text": "in Scania", "answer_start": 8},
                                                           {"text": "wrong", "answer_start": 900}]},
    {"id": "b", "question": "Who?", "answers": [], "is_impossible": true,
     "plausible_answers": [{"text": "Lund", "answer_start": 0}]},
    {"id": "c", "question": "What?", "answers": [{"text": "Lund", "answer_start": 19}], "is_impossible": true},
    {"id": "d", "question": "What is old?", "answers": [{"text": "Lund", "answer_start": 19}], "is_impossible": false}
  ]}]},
  {"title": "U", "paragraphs": [{"context": "Umeå is cold.", "qas": [
    {"id": "e", "question": "What is cold?", "answers": [{"text": "Umeå", "answer_start": 0}]}]}]}]})";

TEST(TrainingData, ReadsSquad) {
  const TrainingData data = parse_training_data(kSquad, "squad.json");
  ASSERT_THAT(data.examples, SizeIs(5));
  EXPECT_THAT(data.contexts, ElementsAre("Lund is in Scania. Lund is old.", "Umeå is cold."));
  EXPECT_EQ(data.bad, 0);
  EXPECT_EQ(data.repaired, 0);
  EXPECT_TRUE(data.has_unanswerable());
  EXPECT_EQ(data.examples[0].id, "a");
  EXPECT_EQ(data.examples[0].question, "Where is Lund?");
  EXPECT_TRUE(data.examples[0].answerable);
  EXPECT_EQ(data.examples[0].answer_text, "in Scania");
  EXPECT_EQ(data.examples[0].answer_begin, 8);
  EXPECT_EQ(data.examples[0].answer_end, 17);
  // Answers of an impossible question are ignored.
  for (const std::size_t i : {1U, 2U}) {
    EXPECT_FALSE(data.examples[i].answerable);
    EXPECT_EQ(data.examples[i].answer_text, "");
    EXPECT_EQ(data.examples[i].answer_end, 0);
  }
  EXPECT_EQ(data.examples[3].answer_begin, 19);
  EXPECT_EQ(data.examples[4].context, 1);
  EXPECT_EQ(marked(data, 4), "Umeå");
}

TEST(TrainingData, ReadsFlatRowsHoweverTheyAreWrapped) {
  const std::string second =
      R"({"id":"r","context":"Lund is old.","question":"Who?","answers":{"text":[],"answer_start":[]}})";
  for (const std::string& bytes :
       {kGood + "\n\n" + second, kGood + "\r\n" + second + "\r\n", "[" + kGood + ",\n" + second + "]",
        "{\"version\": 1,\n\"data\": [" + kGood + "," + second + "]}",
        "\xEF\xBB\xBF" + kGood + "\n" + second}) {
    SCOPED_TRACE(bytes);
    const TrainingData data = parse_training_data(bytes, "rows");
    ASSERT_THAT(data.examples, SizeIs(2));
    EXPECT_THAT(data.contexts, ElementsAre("Lund is old."));
    EXPECT_EQ(data.examples[0].id, "q");
    EXPECT_EQ(marked(data, 0), "Lund");
    EXPECT_TRUE(data.examples[0].answerable);
    EXPECT_FALSE(data.examples[1].answerable);
    EXPECT_TRUE(data.has_unanswerable());
    EXPECT_EQ(data.bad, 0);
  }
  EXPECT_FALSE(parse_training_data(kGood, "one").has_unanswerable());
}

TEST(TrainingData, NeedsNoIds) {
  const std::string end =
      R"("context":"Lund","question":"What?","answers":{"text":["Lund"],"answer_start":[0]}})";
  const TrainingData data = parse_training_data("{" + end + "\n{\"id\":7," + end, "a.jsonl");
  ASSERT_THAT(data.examples, SizeIs(2));
  EXPECT_EQ(data.examples[0].id, "");
  EXPECT_EQ(data.examples[1].id, "7");
}

TEST(TrainingData, ReadsMrqa) {
  // The ends of char_spans are inclusive, and texts may be in another case.
  const std::string line =
      R"({"context":"[PAR] 🏰 Lund [SEP] Lund","qas":[
        {"qid":"x","question":"a?","answers":["Lund"],"detected_answers":[{"text":"Lund","char_spans":[[19,22],[8,11]]}]},
        {"qid":"y","question":"b?","answers":["lund"],"detected_answers":[{"text":"lund","char_spans":[[8,11]]}]},
        {"qid":"z","question":"c?","answers":["Oslo"],"detected_answers":[]},
        {"qid":"n","question":"d?","answers":[],"detected_answers":[]},
        {"qid":"r","question":"e?","answers":["PAR"],"detected_answers":[{"text":"PAR","char_spans":[[0,4]]}]},
        {"qid":"s","question":"f?","answers":["lund"],"detected_answers":[{"text":"lund","char_spans":[[9,12]]}]},
        {"qid":"t","question":"g?","answers":["lund"],"detected_answers":[{"text":"lund","char_spans":[[8,99]]}]},
        {"qid":"u","question":"h?","answers":["lund"],"detected_answers":[{"text":"lund","char_spans":[8,9]}]}]})";
  std::string one_line = line;
  std::erase(one_line, '\n');
  const std::string header = R"({"header": {"dataset": "Test", "split": "train"}})";
  const TrainingData data = parse_training_data(header + "\n" + one_line + "\n", "mrqa.jsonl");
  ASSERT_THAT(data.examples, SizeIs(4));
  EXPECT_THAT(data.contexts, ElementsAre("[PAR] 🏰 Lund [SEP] Lund"));
  EXPECT_EQ(data.examples[0].id, "x");
  EXPECT_EQ(data.examples[0].answer_begin, 22);  // three bytes more than code points
  EXPECT_EQ(data.examples[1].answer_begin, 11);
  EXPECT_EQ(data.examples[1].answer_text, "Lund");
  EXPECT_FALSE(data.examples[2].answerable);
  EXPECT_EQ(marked(data, 3), "PAR");
  EXPECT_EQ(data.repaired, 1);
  ASSERT_EQ(data.bad, 4);
  EXPECT_EQ(data.first_bad[0].where, "mrqa.jsonl:line 2: qas[2]");
  EXPECT_EQ(data.first_bad[0].reason, "detected_answers is empty: none of its answers is in the context");
  EXPECT_EQ(data.first_bad[1].reason,
            "char_spans [9, 12] does not point to \"lund\", which does not occur in the context");
  EXPECT_EQ(data.first_bad[2].reason,
            "char_spans [8, 99] does not point to \"lund\", which does not occur in the context");
  EXPECT_EQ(data.first_bad[3].reason, "detected_answers[0]: key char_spans is not a list of [first, last]");
}

TEST(TrainingData, CountsCodePoints) {
  const std::string context = "🎉 cafe\u0301 na\u00efve 東京 end";
  const auto begin_of = [&](const std::string& answer, const std::string& start) {
    const TrainingData data = parse_training_data(flat(context, answer, start), "a");
    EXPECT_EQ(data.repaired, 0) << answer;
    EXPECT_EQ(marked(data, 0), answer);
    return data.examples[0].answer_begin;
  };
  EXPECT_EQ(begin_of("cafe\u0301", "2"), 5);
  EXPECT_EQ(begin_of("\u0301", "6"), 9);
  EXPECT_EQ(begin_of("na\u00efve", "8"), 12);
  EXPECT_EQ(begin_of("東京", "14"), 19);
  EXPECT_EQ(begin_of("end", "17"), 26);
  // The same in \u escapes: a pair of surrogates is one code point.
  const TrainingData escaped = parse_training_data(flat(R"(\ud83c\udf89 x)", "x", "2"), "a");
  EXPECT_EQ(escaped.repaired, 0);
  EXPECT_EQ(escaped.examples[0].answer_begin, 5);
}

TEST(TrainingData, RepairsWhatCanOnlyMeanOnePlace) {
  for (const char* start : {"0", "9", "12", "13", "-1", "1000000", "-9223372036854775808"}) {
    SCOPED_TRACE(start);
    const TrainingData data = parse_training_data(flat("Umeå is cold.", "cold", start), "a");
    EXPECT_EQ(data.repaired, 1);
    EXPECT_EQ(data.bad, 0);
    EXPECT_EQ(data.examples[0].answer_begin, 9);
    EXPECT_EQ(data.examples[0].answer_end, 13);
  }
  EXPECT_EQ(parse_training_data(flat("Umeå is cold.", "cold", "8"), "a").repaired, 0);
}

TEST(TrainingData, SaysWhereAnAnswerIsNot) {
  EXPECT_EQ(reason_for(flat("Lund Lund Lund", "Lund", "12")),
            "answer_start 12 does not point to \"Lund\", which occurs 3 times in the context");
  EXPECT_EQ(reason_for(flat("aaaa", "aa", "3")),
            "answer_start 3 does not point to \"aa\", which occurs 3 times in the context");
  EXPECT_EQ(reason_for(flat("Lund", "lund", "0")),
            "answer_start 0 does not point to \"lund\", which does not occur in the context");
  EXPECT_EQ(reason_for(flat("Lund", std::string(61, 'x'), "0")),
            "answer_start 0 does not point to \"" + std::string(60, 'x') +
                "…\", which does not occur in the context");
  EXPECT_EQ(reason_for(flat("Lund", R"(a\nb)", "0")),
            "answer_start 0 does not point to \"a?b\", which does not occur in the context");
}

TEST(TrainingData, NamesBadRows) {
  const std::string context = R"("context":"Lund",)", question = R"("question":"What?",)",
                    answers = R"("answers":{"text":["Lund"],"answer_start":[0]})";
  const auto row = [](const std::string& inside) { return "{\"id\":\"a\"," + inside + "}"; };
  EXPECT_THAT(reason_for("{\"id\":"), HasSubstr("not valid JSON"));
  EXPECT_EQ(reason_for("5"), "is an integer where an object is due");
  EXPECT_EQ(reason_for(row(question + answers)), "key context is missing");
  EXPECT_EQ(reason_for(row(context + answers)), "key question is missing");
  EXPECT_EQ(reason_for(row(context + "\"question\":\"What?\"")), "key answers is missing");
  EXPECT_EQ(reason_for(row("\"context\":\" \\u2003\"," + question + answers)), "context is empty");
  EXPECT_EQ(reason_for(row("\"context\":[]," + question + answers)),
            "key context is a list where a string is due");
  EXPECT_EQ(reason_for(row(context + "\"question\":\" \\u00a0\"," + answers)), "question is empty");
  EXPECT_EQ(reason_for(row(context + question + "\"answers\":5")), "key answers is not a list");
  EXPECT_EQ(reason_for(row(context + question + "\"answers\":[5]")),
            "answers[0]: is an integer where an object is due");
  EXPECT_EQ(reason_for(row(context + question + R"("answers":[{"text":"Lund"}])")),
            "answers[0]: key answer_start is missing");
  EXPECT_EQ(reason_for(row(context + question + R"("answers":{"text":["Lund"]})")),
            "answers: key answer_start is missing");
  EXPECT_EQ(reason_for(row(context + question + R"("answers":{"text":["Lund"],"answer_start":[]})")),
            "answers has 1 of text and 0 of answer_start");
  EXPECT_EQ(reason_for(row(context + question + R"("answers":{"text":["Lund"],"answer_start":["0"]})")),
            "answers: key answer_start is a string where an integer is due");
  EXPECT_EQ(reason_for(row(context + question + R"("answers":{"text":[" "],"answer_start":[0]})")),
            "the text of its first answer is empty; a question without an answer has an empty list");
  EXPECT_EQ(reason_for(row(context + question + R"("is_impossible":"no",)" + answers)),
            "key is_impossible is a string where a boolean is due");
  EXPECT_EQ(reason_for(R"({"context":"Lund","qas":5})"), "key qas is not a list");
}

TEST(TrainingData, RefusesWhatIsNotUtf8RowByRow) {
  EXPECT_EQ(reason_for(flat("Lund \xFF", "Lund", "0")), "key context is not UTF-8 (byte 5 of it)");
  EXPECT_EQ(reason_for(flat("Lund", "\xC3", "0")), "key text is not UTF-8 (byte 0 of it)");
  // In one document too.
  const TrainingData data =
      parse_training_data("[" + kGood + "," + flat("\xED\xA0\x80", "x", "0") + "]", "a.json");
  EXPECT_THAT(data.examples, SizeIs(1));
  ASSERT_EQ(data.bad, 1);
  EXPECT_EQ(data.first_bad[0].where, "a.json: [1]");
}

TEST(TrainingData, NamesPlacesInDocuments) {
  const std::string good = R"({"id":"a","question":"q?","answers":[{"text":"Lund","answer_start":0}]})";
  const TrainingData data = parse_training_data(R"({"data":[5,{"paragraphs":7},{"paragraphs":[{"qas":[)" +
                                                    good + "," + good + R"(]},{"context":"Lund","qas":[)" +
                                                    good + R"(,{"id":"b"}]},{"context":"Lund"}]}]})",
                                                "s.json");
  EXPECT_THAT(data.examples, SizeIs(1));
  EXPECT_EQ(data.bad, 6);
  std::vector<std::string> all;
  for (const BadRow& row : data.first_bad) all.push_back(row.where + ": " + row.reason);
  EXPECT_THAT(all, ElementsAre("s.json: data[0]: is an integer where an object is due",
                               "s.json: data[1]: key paragraphs is not a list",
                               "s.json: data[2].paragraphs[0].qas[0]: key context is missing",
                               "s.json: data[2].paragraphs[0].qas[1]: key context is missing",
                               "s.json: data[2].paragraphs[1].qas[1]: key question is missing",
                               "s.json: data[2].paragraphs[2]: key question is missing"));
}

TEST(TrainingData, KeepsTheNamesOfTheFirstTwenty) {
  std::string bytes = kGood;
  for (int i = 0; i < 30; ++i) bytes += "\n{\"context\":\"\"}";
  const TrainingData data = parse_training_data(bytes, "a");
  EXPECT_EQ(data.bad, 30);
  ASSERT_THAT(data.first_bad, SizeIs(kNamedBadRows));
  EXPECT_EQ(data.first_bad[19].where, "a:line 21");
}

TEST(TrainingData, ReadsLinesWhoseFirstIsBad) {
  const TrainingData data = parse_training_data("{\"id\": \"x\", \"con\n" + kGood + "\n" + kGood, "a");
  EXPECT_THAT(data.examples, SizeIs(2));
  ASSERT_EQ(data.bad, 1);
  EXPECT_EQ(data.first_bad[0].where, "a:line 1");
  // A document that was cut off is no such file, even if some of its lines stand alone.
  EXPECT_THAT(message_of("{\"data\": [\n" + kGood + ",\n" + kGood + ",\n" + kGood + "\n"),
              HasSubstr("a.json:5: not valid JSON: incomplete JSON"));
}

TEST(TrainingData, RefusesOtherFiles) {
  EXPECT_THAT(message_of(""), AllOf(HasSubstr("a.json: is empty; expected SQuAD's JSON"), HasSubstr("MRQA")));
  EXPECT_THAT(message_of(" \n\t"), HasSubstr("is empty"));
  EXPECT_THAT(message_of("\x1F\x8B\x08"), HasSubstr("gzip; unpack it first"));
  EXPECT_THAT(message_of("id,question,context\n1,2,3\n"), HasSubstr("a.json: has no format of questions"));
  EXPECT_THAT(message_of("{\"model_type\": \"bert\"}"), HasSubstr("has no format of questions"));
  EXPECT_THAT(message_of("{\"a\": 1}\n{\"a\": 2}"), HasSubstr("has no format of questions"));
  EXPECT_THAT(message_of("5"), HasSubstr("has no format of questions"));
  EXPECT_THAT(message_of("{\"data\": 5}"), HasSubstr("key data is not a list"));
  EXPECT_THAT(message_of("[]"), HasSubstr("holds no questions"));
  EXPECT_THAT(message_of("{\"data\": []}"), HasSubstr("holds no questions"));
  EXPECT_THAT(message_of("{\"header\": {}}\n"), HasSubstr("holds no questions"));
  EXPECT_THAT(message_of("[{\"id\": 1"), AllOf(HasSubstr("a.json:1: not valid JSON"), HasSubstr("correct")));
  EXPECT_THAT(message_of("{\"data\": []}\nx"), HasSubstr("a.json:2: not valid JSON"));
  EXPECT_THAT(message_of("{\"question\": \"q\"}\n{\"context\": \"\"}"),
              HasSubstr("none of its 2 rows can be used (a.json:line 1: key context is missing)"));
  EXPECT_THAT(message_of("{\"question\": \"q\"}"), HasSubstr("(a.json: key context is missing)"));
}

TEST(TrainingData, ReadsSeveralFilesAndSharesTheirContexts) {
  const tests::TemporaryFolder folder;
  std::ofstream(folder / "a.json") << kSquad;
  std::ofstream(folder / "b.jsonl") << flat("Umeå is cold.", "cold", "8");
  const std::vector<TrainingFile> files = {{.path = folder / "a.json"},
                                           {.path = folder / "b.jsonl", .weight = 2}};
  const TrainingData data = load_training_data(files);
  ASSERT_THAT(data.examples, SizeIs(6));
  EXPECT_THAT(data.contexts, SizeIs(2));
  EXPECT_EQ(data.examples[4].file, 0);
  EXPECT_EQ(data.examples[5].file, 1);
  EXPECT_EQ(data.examples[5].context, 1);
  ASSERT_THAT(data.files, SizeIs(2));
  EXPECT_EQ(data.files[1].weight, 2);
  EXPECT_THAT(data.first_bad, IsEmpty());

  const std::vector<TrainingFile> missing = {{.path = folder / "c.json"}};
  EXPECT_THROW(load_training_data(missing), Error);
  EXPECT_THROW(load_training_data({}), Error);
}

TEST(TrainingFile, HasAWeight) {
  const tests::TemporaryFolder folder;
  const std::string odd = (folder / "a=0.5").string(), none = (folder / "none").string();
  std::ofstream(odd) << kGood;
  EXPECT_EQ(parse_training_file("train.json").path, "train.json");
  EXPECT_EQ(parse_training_file("train.json").weight, 1);
  EXPECT_EQ(parse_training_file("train.json=0.25").path, "train.json");
  EXPECT_EQ(parse_training_file("train.json=0.25").weight, 0.25);
  EXPECT_EQ(parse_training_file("train.json=100").weight, 100);
  EXPECT_EQ(parse_training_file(odd).path, odd);
  EXPECT_EQ(parse_training_file(odd).weight, 1);
  EXPECT_EQ(parse_training_file(odd + "=3").path, odd);
  EXPECT_EQ(parse_training_file(odd + "=3").weight, 3);
  EXPECT_EQ(parse_training_file(none + "=a=2").path, none + "=a");
  for (const char* bad : {"a=", "a=0", "a=-1", "a=100.5", "a=nan", "a=inf", "a=1x", "a= 1", "=1", "a=b"}) {
    try {
      parse_training_file(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), AllOf(HasSubstr(bad), HasSubstr("train.json=0.5")));
    }
  }
}

}  // namespace
}  // namespace kvasir::train
