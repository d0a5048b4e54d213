// Reading SQuAD's files: the data set and the two kinds of predictions.
#include <limits>
#include <unordered_map>

#include "base/json.h"
#include "kvasir/error.h"
#include "qa/squad.h"

namespace kvasir::qa {

namespace {

using base::JsonObject;

// The array under a key as objects that know where they came from: "FILE: data[3].paragraphs[0]".
template <class Visit>
void each_object(const JsonObject& parent, const std::string& where, std::string_view key,
                 const std::string& file, const Visit& visit) {
  const base::json::value& value = parent.at(key);
  if (!value.is_array()) parent.fail("key " + std::string(key) + " is not an array");
  const base::json::array& items = value.get_array();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string path =
        (where.empty() ? "" : where + ".") + std::string(key) + "[" + std::to_string(i) + "]";
    visit(JsonObject(items[i], file + ": " + path), path);
  }
}

SquadQuestion read_question(const JsonObject& qa, const std::string& where, const std::string& file) {
  SquadQuestion question;
  question.id = qa.string("id");
  question.question = qa.string("question");
  question.is_impossible = qa.boolean_or("is_impossible", false);
  each_object(qa, where, "answers", file, [&](const JsonObject& answer, const std::string&) {
    SquadAnswer& out = question.answers.emplace_back();
    out.text = answer.string("text");
    out.answer_start =
        static_cast<std::size_t>(answer.integer("answer_start", 0, std::numeric_limits<std::int32_t>::max()));
  });
  return question;
}

}  // namespace

std::size_t SquadDataset::questions() const noexcept {
  std::size_t count = 0;
  for (const SquadParagraph& paragraph : paragraphs) count += paragraph.qas.size();
  return count;
}

bool SquadDataset::has_impossible() const noexcept {
  for (const SquadParagraph& paragraph : paragraphs) {
    for (const SquadQuestion& question : paragraph.qas) {
      if (question.is_impossible) return true;
    }
  }
  return false;
}

SquadDataset load_squad(const std::filesystem::path& path) {
  const base::json::value root_value = base::parse_json_file(path);
  const std::string file = path.string();
  const JsonObject root(root_value, file);
  SquadDataset data;
  data.version = root.string_or("version", "");
  std::unordered_map<std::string, std::string> seen;  // id -> where
  each_object(root, "", "data", file, [&](const JsonObject& article, const std::string& article_path) {
    each_object(
        article, article_path, "paragraphs", file, [&](const JsonObject& item, const std::string& where) {
          SquadParagraph& paragraph = data.paragraphs.emplace_back();
          paragraph.context = item.string("context");
          each_object(item, where, "qas", file, [&](const JsonObject& qa, const std::string& qa_path) {
            SquadQuestion question = read_question(qa, qa_path, file);
            const auto [other, is_new] = seen.emplace(question.id, qa_path);
            // Serialised: an id may hold anything, a message is one line.
            if (!is_new)
              qa.fail("id " + base::json::serialize(base::json::value(question.id)) + " is also that of " +
                      other->second);
            paragraph.qas.push_back(std::move(question));
          });
        });
  });
  return data;
}

Predictions load_predictions(const std::filesystem::path& path) {
  const base::json::value value = base::parse_json_file(path);
  const JsonObject object(value, path.string());
  Predictions predictions;
  for (const auto& entry : object.raw()) {
    const std::string id(entry.key());
    predictions[id] = object.string(id);
  }
  return predictions;
}

NaProbabilities load_na_probabilities(const std::filesystem::path& path) {
  const base::json::value value = base::parse_json_file(path);
  const JsonObject object(value, path.string());
  NaProbabilities probabilities;
  probabilities.reserve(object.raw().size());
  for (const auto& entry : object.raw()) {
    std::string id(entry.key());
    const double probability = object.number(id);
    probabilities.emplace_back(std::move(id), probability);
  }
  return probabilities;
}

}  // namespace kvasir::qa
