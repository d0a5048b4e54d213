#include "train/training_data.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "kvasir/error.h"
#include "unicode/python_text.h"

namespace kvasir::train {

namespace {

using base::JsonObject;
namespace json = base::json;

constexpr double kMaxWeight = 100;
constexpr std::string_view kExpected =
    "expected SQuAD's JSON, Hugging Face's rows with context, question and answers (JSON or JSONL) or MRQA's "
    "JSONL";
// Where a row's own errors come from; the place of the row is known elsewhere.
constexpr std::string_view kRow = "row";
// An answer in a message; more of it says no more.
constexpr std::size_t kQuotedCodePoints = 60;
// By which lines a file is recognised whose first line is damaged.
constexpr std::size_t kProbedLines = 100;

[[noreturn]] void refuse(const std::string& reason) {
  throw Error(ErrorCode::kFormat, reason);
}

bool is_blank(std::string_view text) noexcept {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::string quote(std::string_view text) {
  const base::OffsetMap offsets(text);
  if (offsets.code_points(text.size()) <= kQuotedCodePoints) return '"' + std::string(text) + '"';
  return '"' + std::string(text.substr(0, offsets.byte_of_code_point(kQuotedCodePoints))) + "…\"";
}

// The message of an error of a row without its origin.
std::string reason_of(const Error& error) {
  std::string_view message = error.what();
  for (const std::string_view origin : {"row: ", "row:1: "}) {
    if (message.starts_with(origin)) message.remove_prefix(origin.size());
  }
  return std::string(message);
}

std::string string_of(const JsonObject& row, std::string_view key) {
  std::string text = row.string(key);
  const std::size_t invalid = base::find_invalid_utf8(text);
  if (invalid != text.size())
    refuse("key " + std::string(key) + " is not UTF-8 (byte " + std::to_string(invalid) + " of it)");
  return text;
}

// Training needs no ids, and those that are numbers do as well.
std::string id_of(const JsonObject& row) {
  for (const std::string_view key : {"id", "qid"}) {
    if (!row.has(key)) continue;
    if (row.at(key).is_string()) return string_of(row, key);
    return std::to_string(
        row.integer(key, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()));
  }
  return {};
}

std::int64_t any_integer(const JsonObject& object, std::string_view key) {
  return object.integer(key, std::numeric_limits<std::int64_t>::min(),
                        std::numeric_limits<std::int64_t>::max());
}

const json::array& array_at(const JsonObject& row, std::string_view key) {
  const json::value& value = row.at(key);
  if (!value.is_array()) row.fail("key " + std::string(key) + " is not a list");
  return value.get_array();
}

// An answer as a file gives it; nothing of it is checked.
struct GivenAnswer {
  std::string text;
  std::int64_t start = 0;            // code points
  std::optional<std::int64_t> last;  // MRQA: the last code point
};

// {"text": […], "answer_start": […]}
std::optional<GivenAnswer> flat_answer(const json::value& value) {
  const JsonObject answers(value, "answers");
  const json::array& texts = array_at(answers, "text");
  const json::array& starts = array_at(answers, "answer_start");
  if (texts.size() != starts.size()) {
    refuse("answers has " + std::to_string(texts.size()) + " of text and " + std::to_string(starts.size()) +
           " of answer_start");
  }
  if (texts.empty()) return std::nullopt;
  // As one object, so that what is wrong is said in the words of all formats.
  const json::value first = json::object{{"text", texts[0]}, {"answer_start", starts[0]}};
  const JsonObject answer(first, "answers");
  return GivenAnswer{
      .text = string_of(answer, "text"), .start = any_integer(answer, "answer_start"), .last = {}};
}

// [{"text", "char_spans": [[first, last]]}]
std::optional<GivenAnswer> detected_answer(const JsonObject& row) {
  const json::array& detected = array_at(row, "detected_answers");
  if (detected.empty()) {
    // MRQA keeps the questions of which no answer is in the context; they are not unanswerable.
    if (row.has("answers") && !array_at(row, "answers").empty())
      refuse("detected_answers is empty: none of its answers is in the context");
    return std::nullopt;
  }
  const JsonObject answer(detected[0], "detected_answers[0]");
  const json::array& spans = array_at(answer, "char_spans");
  if (spans.empty() || !spans[0].is_array() || spans[0].get_array().size() != 2)
    answer.fail("key char_spans is not a list of [first, last]");
  const json::value ends =
      json::object{{"first", spans[0].get_array()[0]}, {"last", spans[0].get_array()[1]}};
  const JsonObject span(ends, "detected_answers[0].char_spans[0]");
  return GivenAnswer{.text = string_of(answer, "text"),
                     .start = any_integer(span, "first"),
                     .last = any_integer(span, "last")};
}

std::optional<GivenAnswer> first_answer(const JsonObject& row) {
  if (row.boolean_or("is_impossible", false)) return std::nullopt;
  if (row.has("detected_answers")) return detected_answer(row);
  const json::value& answers = row.at("answers");
  if (answers.is_object()) return flat_answer(answers);
  if (array_at(row, "answers").empty()) return std::nullopt;
  const JsonObject answer(answers.get_array()[0], "answers[0]");
  return GivenAnswer{
      .text = string_of(answer, "text"), .start = any_integer(answer, "answer_start"), .last = {}};
}

// A context and where its code points are.
class Context {
 public:
  // Throws if no question can be asked of it.
  explicit Context(std::string text) : text_(std::move(text)), offsets_(text_) {
    if (unicode::strip(text_).empty()) refuse("context is empty");
  }
  Context(const Context&) = delete;  // offsets_ points into text_
  Context& operator=(const Context&) = delete;

  const std::string& text() const noexcept { return text_; }
  std::optional<std::size_t> byte_of(std::int64_t code_point) const noexcept {
    if (code_point < 0 || static_cast<std::uint64_t>(code_point) > offsets_.code_points(text_.size()))
      return std::nullopt;
    return offsets_.byte_of_code_point(static_cast<std::size_t>(code_point));
  }

 private:
  std::string text_;
  base::OffsetMap offsets_;
};

// Bytes of a context.
struct Place {
  std::size_t begin = 0, end = 0;
};

// Where the file says that the answer is, if it is there.
std::optional<Place> stated_place(const Context& context, const GivenAnswer& answer) {
  const std::optional<std::size_t> begin = context.byte_of(answer.start);
  if (!begin) return std::nullopt;
  if (std::string_view(context.text()).substr(*begin).starts_with(answer.text))
    return Place{*begin, *begin + answer.text.size()};
  if (!answer.last || *answer.last < answer.start) return std::nullopt;
  // The texts of MRQA were found in the context without regard to case; its spans are of the context.
  const std::optional<std::size_t> last = context.byte_of(*answer.last);
  if (!last || *last == context.text().size()) return std::nullopt;
  const std::size_t end = *last + base::decode_utf8(context.text(), *last).length;
  const std::string_view text = std::string_view(context.text()).substr(*begin, end - *begin);
  if (unicode::to_lower(text) != unicode::to_lower(answer.text)) return std::nullopt;
  return Place{*begin, end};
}

// The only place where the answer can be. Throws if it is nowhere or in several.
Place only_place(const Context& context, const GivenAnswer& answer) {
  std::size_t count = 0, found = 0;
  for (std::size_t at = context.text().find(answer.text); at != std::string::npos;
       at = context.text().find(answer.text, at + 1)) {
    found = at;
    ++count;
  }
  if (count == 1) return {.begin = found, .end = found + answer.text.size()};
  const std::string start =
      answer.last ? "char_spans [" + std::to_string(answer.start) + ", " + std::to_string(*answer.last) + "]"
                  : "answer_start " + std::to_string(answer.start);
  refuse(start + " does not point to " + quote(answer.text) + ", which " +
         (count == 0 ? "does not occur" : "occurs " + std::to_string(count) + " times") + " in the context");
}

// Gathers the examples of all files.
class Collector {
 public:
  TrainingData data;

  void add(TrainingExample example, const std::string& context) {
    example.context = index_of(context);
    data.examples.push_back(std::move(example));
  }

  void add_bad(const std::string& where, const std::string& reason) {
    ++data.bad;
    if (data.first_bad.size() < kNamedBadRows)
      data.first_bad.push_back({base::one_line(where), base::one_line(reason)});
  }

 private:
  std::size_t index_of(const std::string& context) {
    const std::size_t hash = std::hash<std::string_view>{}(context);
    const auto [first, last] = by_hash_.equal_range(hash);
    for (auto it = first; it != last; ++it) {
      if (data.contexts[it->second] == context) return it->second;
    }
    by_hash_.emplace(hash, data.contexts.size());
    data.contexts.push_back(context);
    return data.contexts.size() - 1;
  }

  std::unordered_multimap<std::size_t, std::size_t> by_hash_;  // indices of contexts
};

// Where something is in a file. Below a file or a line ": key[3]", deeper ".key[3]".
struct Where {
  std::string text;
  bool is_top = true;

  Where element(std::string_view key, std::size_t index) const {
    return {.text = text + (is_top ? ": " : ".") + std::string(key) + "[" + std::to_string(index) + "]",
            .is_top = false};
  }
};

class FileReader {
 public:
  FileReader(std::string_view text, std::string name, Collector& out)
      : text_(text), name_(std::move(name)), file_(out.data.files.size()), out_(out) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);  // the byte order mark of Windows' editors
  }

  void read() {
    const std::size_t good = out_.data.examples.size(), bad = out_.data.bad;
    read_any();
    if (out_.data.examples.size() > good) return;
    if (out_.data.bad == bad) fail("holds no questions; " + std::string(kExpected));
    fail("none of its " + std::to_string(out_.data.bad - bad) + " rows can be used (" + first_bad_ +
         "); correct them");
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, base::one_line(name_) + ": " + message);
  }
  [[noreturn]] void fail_unknown() const { fail("has no format of questions; " + std::string(kExpected)); }

  void add_bad(const Where& where, const Error& error) {
    const std::string reason = reason_of(error);
    if (first_bad_.empty()) first_bad_ = where.text + ": " + reason;
    out_.add_bad(where.text, reason);
  }

  void read_any() {
    if (is_blank(text_)) fail("is empty; " + std::string(kExpected));
    if (text_.starts_with("\x1F\x8B")) fail("is compressed by gzip; unpack it first (gunzip)");
    const std::string_view begin = text_.substr(text_.find_first_not_of(" \t\r\n"));
    const std::size_t line = std::min(begin.find('\n'), begin.size());
    if (const std::optional<json::value> first = parse_line(begin.substr(0, line))) {
      if (is_blank(begin.substr(line))) return read_document(*first);
      if (is_line(*first)) return read_lines();
      if (first->is_object() && !first->get_object().contains("data")) fail_unknown();
    }
    if (begin[0] != '[' && lines_prevail()) return read_lines();
    if (begin[0] != '[' && begin[0] != '{') fail_unknown();
    read_document(parse_document());
  }

  static json::value parse(std::string_view text, const std::string& origin) {
    return base::parse_json(text, origin, {.allow_invalid_utf8 = true});
  }

  static std::optional<json::value> parse_line(std::string_view line) {
    try {
      return parse(line, std::string(kRow));
    } catch (const Error&) {
      return std::nullopt;
    }
  }

  json::value parse_document() const {
    try {
      return parse(text_, name_);
    } catch (const Error& error) {
      throw Error(error.code(), std::string(error.what()) + "; correct the file, or fetch it again");
    }
  }

  // Whether a value can be a line of JSONL: a header of MRQA, a paragraph or a row.
  static bool is_line(const json::value& value) {
    const json::object* object = value.if_object();
    if (object == nullptr) return false;
    return std::ranges::any_of(
        std::initializer_list<std::string_view>{"header", "context", "question", "qas"},
        [&](std::string_view key) { return object->contains(key); });
  }

  // Calls visit(line, number) for each line that is not blank, until it returns false.
  template <class Visit>
  void each_line(const Visit& visit) const {
    std::size_t number = 1;
    for (std::size_t at = 0; at < text_.size(); ++number) {
      const std::size_t end = std::min(text_.find('\n', at), text_.size());
      const std::string_view line = text_.substr(at, end - at);
      if (!is_blank(line) && !visit(line, number)) return;
      at = end + 1;
    }
  }

  // Whether this is JSONL with a bad first line: a document in many lines has few that stand alone.
  bool lines_prevail() const {
    std::size_t lines = 0, rows = 0;
    each_line([&](std::string_view line, std::size_t) {
      const std::optional<json::value> value = parse_line(line);
      rows += value && is_line(*value) ? 1 : 0;
      return ++lines < kProbedLines;
    });
    return lines > 1 && rows * 2 >= lines;
  }

  void read_lines() {
    each_line([&](std::string_view line, std::size_t number) {
      const Where where{.text = name_ + ":line " + std::to_string(number)};
      try {
        const json::value value = parse(line, std::string(kRow));
        const bool is_header = value.is_object() && value.get_object().contains("header");
        if (!is_header) read_item(value, where);
      } catch (const Error& error) {
        add_bad(where, error);
      }
      return true;
    });
  }

  void read_document(const json::value& document) {
    if (const json::array* list = document.if_array()) {
      for (std::size_t i = 0; i < list->size(); ++i)
        read_item((*list)[i], {.text = name_ + ": [" + std::to_string(i) + "]", .is_top = false});
      return;
    }
    const json::object* object = document.if_object();
    if (object != nullptr && object->contains("data")) {
      const json::value& data = object->at("data");
      if (!data.is_array()) fail("key data is not a list; " + std::string(kExpected));
      read_list(data.get_array(), "data", {.text = name_});
    } else if (is_line(document)) {
      if (!object->contains("header")) read_item(document, {.text = name_});
    } else {
      fail_unknown();
    }
  }

  void read_list(const json::array& items, std::string_view key, const Where& parent) {
    for (std::size_t i = 0; i < items.size(); ++i) read_item(items[i], parent.element(key, i));
  }

  // An article, a paragraph or a flat row.
  void read_item(const json::value& value, const Where& where) {
    try {
      const JsonObject item(value, std::string(kRow));
      if (item.has("paragraphs")) {
        read_list(array_at(item, "paragraphs"), "paragraphs", where);
      } else if (item.has("qas")) {
        read_paragraph(item, where);
      } else {
        const Context context(string_of(item, "context"));
        read_row(item, context);
      }
    } catch (const Error& error) {
      add_bad(where, error);
    }
  }

  void read_paragraph(const JsonObject& paragraph, const Where& where) {
    const json::array& qas = array_at(paragraph, "qas");
    std::optional<Context> context;
    std::optional<Error> fault;  // of the context: each of its questions is a bad row
    try {
      context.emplace(string_of(paragraph, "context"));
    } catch (const Error& error) {
      fault = error;
    }
    for (std::size_t i = 0; i < qas.size(); ++i) {
      try {
        if (fault) throw Error(*fault);
        read_row(JsonObject(qas[i], std::string(kRow)), *context);
      } catch (const Error& error) {
        add_bad(where.element("qas", i), error);
      }
    }
  }

  // Throws if the row is bad.
  void read_row(const JsonObject& row, const Context& context) {
    TrainingExample example;
    example.file = file_;
    example.id = id_of(row);
    example.question = string_of(row, "question");
    if (unicode::strip(example.question).empty()) refuse("question is empty");
    bool repaired = false;
    if (const std::optional<GivenAnswer> answer = first_answer(row)) {
      if (unicode::strip(answer->text).empty())
        refuse("the text of its first answer is empty; a question without an answer has an empty list");
      const std::optional<Place> stated = stated_place(context, *answer);
      const Place place = stated ? *stated : only_place(context, *answer);
      repaired = !stated;
      example.answerable = true;
      example.answer_begin = place.begin;
      example.answer_end = place.end;
      example.answer_text = context.text().substr(place.begin, place.end - place.begin);
    }
    out_.data.repaired += repaired ? 1 : 0;
    out_.add(std::move(example), context.text());
  }

  std::string_view text_;
  std::string name_;
  std::size_t file_;
  Collector& out_;
  std::string first_bad_;  // of this file: where and why
};

}  // namespace

TrainingFile parse_training_file(std::string_view argument) {
  const std::size_t equals = argument.rfind('=');
  std::error_code ignored;
  if (equals == std::string_view::npos || std::filesystem::exists(argument, ignored))
    return {.path = argument, .weight = 1};
  const std::string_view number = argument.substr(equals + 1);
  TrainingFile file{.path = argument.substr(0, equals)};
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), file.weight);
  const bool is_number = error == std::errc{} && end == number.data() + number.size();
  if (file.path.empty() || !is_number || !(file.weight > 0 && file.weight <= kMaxWeight)) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string(argument) +
                    ": there is no such file, and it is not FILE=WEIGHT with a weight of " +
                    "more than 0 and at most 100; write it like train.json=0.5");
  }
  return file;
}

bool TrainingData::has_unanswerable() const noexcept {
  return std::ranges::any_of(examples, [](const TrainingExample& example) { return !example.answerable; });
}

TrainingData load_training_data(std::span<const TrainingFile> files) {
  if (files.empty()) throw Error(ErrorCode::kInvalidArgument, "training data: no file is given; name one");
  Collector collector;
  for (const TrainingFile& file : files) {
    const std::string text = base::read_file(file.path);
    FileReader(text, file.path.string(), collector).read();
    collector.data.files.push_back(file);
  }
  return std::move(collector.data);
}

TrainingData parse_training_data(std::string_view bytes, const std::string& name) {
  Collector collector;
  FileReader(bytes, name, collector).read();
  collector.data.files.push_back({.path = name});
  return std::move(collector.data);
}

}  // namespace kvasir::train
