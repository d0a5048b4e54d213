// kvasir eval squad: runs the reader over a SQuAD file and scores its answers.
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "eval.h"
#include "interrupt.h"
#include "json_output.h"
#include "kvasir/reader.h"
#include "metrics_output.h"
#include "model_location.h"
#include "progress.h"
#include "qa/squad.h"
#include "reader_options.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(Data with unanswerable questions is scored as v2.0: all questions are asked,
"no answer" is an answer, and best_exact, best_f1 tell what the best threshold
would give. With --metric v1.1, and for v1.1 data, the answerable questions are
asked and always answered. As run_qa does, --decode squad predicts the word
"empty" where it finds no candidate at all.

--json prints one object: the metrics under the official scripts' key names,
answerable_exact_match and answerable_f1 (v2.0 data: the best answer to each
answerable question, whatever the threshold), questions, windows, seconds and
questions_per_second (without the time to load the model).

Examples:
  kvasir eval squad --data dev-v2.0.json --predictions predictions.json
  kvasir eval squad --model M --data dev-v2.0.json --metric v1.1 --json)";

struct SquadArguments {
  std::string data, predictions, na_prob_out, metric;
  bool json = false;
  ModelArguments model;
  DecodeArguments decode;
};

// What the reader said to the questions that were asked.
struct Answers {
  qa::Predictions chosen;         // by question id
  qa::Predictions best;           // the best answer that is not "no answer"
  qa::NaProbabilities no_answer;  // AskResult::no_answer_score; all questions, in the order of the file
  std::size_t windows = 0;
  double seconds = 0;
};

// Questions of one call of the reader: enough to fill its batches many times over, few enough that memory
// stays bounded and the progress line moves.
constexpr std::size_t kChunk = 256;

class Run {
 public:
  Run(const Reader& reader, AskOptions options, std::size_t total)
      : reader_(reader), options_(std::move(options)), total_(total), line_(true) {
    options_.cancel = &interrupt_flag();
    options_.progress = [this](std::size_t done, std::size_t windows) { show(done, windows); };
  }

  void add(const qa::SquadQuestion& question, const Document& document) {
    ids_.push_back(&question.id);
    queries_.push_back({.question = question.question, .documents = {document}});
    if (queries_.size() == kChunk) ask();
  }

  Answers finish() {
    ask();
    answers_.seconds = line_.seconds();
    return std::move(answers_);
  }

 private:
  void ask() {
    check_interrupt();
    if (queries_.empty()) return;
    const std::vector<AskResult> results = reader_.ask_batch(queries_, options_);
    for (std::size_t i = 0; i < results.size(); ++i) {
      const std::string& id = *ids_[i];
      std::string& chosen = answers_.chosen[id];
      std::string& best = answers_.best[id];
      if (!results[i].answers.empty()) {
        chosen = results[i].answers.front().text;
      } else if (options_.decode == Decode::kSquad) {
        chosen = "empty";  // what run_qa predicts, literally, for want of a candidate
      }
      for (const Answer& answer : results[i].answers) {
        if (best.empty()) best = answer.text;
      }
      answers_.no_answer.emplace_back(id, results[i].no_answer_score);
      answers_.windows += results[i].windows;
    }
    queries_.clear();
    ids_.clear();
  }

  void show(std::size_t done, std::size_t windows) {
    if (!line_.due() || windows == 0) return;
    const double asked =
        static_cast<double>(answers_.no_answer.size()) +
        static_cast<double>(queries_.size()) * static_cast<double>(done) / static_cast<double>(windows);
    const double rate = asked / line_.seconds();
    if (rate <= 0) return;
    char numbers[96];
    std::snprintf(numbers, sizeof numbers, "  %zu/%zu questions, %.1f/s, %s left",
                  static_cast<std::size_t>(asked), total_, rate,
                  duration_text((static_cast<double>(total_) - asked) / rate).c_str());
    line_.update(progress_bar(static_cast<std::size_t>(asked), total_) + numbers);
  }

  const Reader& reader_;
  AskOptions options_;
  std::size_t total_;
  ProgressLine line_;
  std::vector<const std::string*> ids_;
  std::vector<Query> queries_;
  Answers answers_;
};

bool is_asked(const qa::SquadQuestion& question, const std::string& version) {
  return version == "v2.0" || !question.answers.empty();
}

// The number of questions. What cannot be asked is found before the work, not after half of it.
std::size_t count_asked(const qa::SquadDataset& data, const std::string& version) {
  std::size_t total = 0;
  for (const qa::SquadParagraph& paragraph : data.paragraphs) {
    for (const qa::SquadQuestion& question : paragraph.qas) {
      if (!is_asked(question, version)) continue;
      ++total;
      if (!question.question.empty() && !paragraph.context.empty()) continue;
      throw Error(ErrorCode::kFormat, "question " + question.id + " of the data: " +
                                          (question.question.empty() ? "it" : "its context") +
                                          " is empty; take it out");
    }
  }
  return total;
}

Answers ask_all(const Reader& reader, const qa::SquadDataset& data, const std::string& version,
                const AskOptions& options) {
  const std::size_t total = count_asked(data, version);
  Run run(reader, options, total);
  for (const qa::SquadParagraph& paragraph : data.paragraphs) {
    std::optional<Document> document;  // tokenised once for all questions of the paragraph
    for (const qa::SquadQuestion& question : paragraph.qas) {
      if (!is_asked(question, version)) continue;
      if (!document) document = reader.prepare(paragraph.context);
      run.add(question, *document);
    }
  }
  return run.finish();
}

std::vector<qa::Metric> score(const qa::SquadDataset& data, const Answers& answers,
                              const std::string& version, Decode decode) {
  if (version == "v1.1") return score_v1_with_total(data, answers.chosen);
  std::vector<qa::Metric> metrics = qa::score_v2(data, answers.chosen);
  if (decode == Decode::kPipeline) return metrics;  // its null score does not order questions
  // The best threshold is looked for among answers to every question, not only among those that passed ours.
  for (const qa::Metric& metric :
       qa::score_v2(data, answers.best,
                    {.na_probabilities = &answers.no_answer,
                    .na_prob_threshold = std::numeric_limits<double>::infinity()})) {
    if (metric.name.starts_with("best_")) metrics.push_back(metric);
  }
  for (const qa::Metric& metric : qa::score_v1(data, answers.best)) {
    metrics.push_back({"answerable_" + metric.name, metric.value, metric.integer});
  }
  return metrics;
}

// {"ID": VALUE, …} with one question a line, in the order of the file; append(out, i) appends value i.
template <class Append>
void write_by_id(const std::string& path, const qa::NaProbabilities& questions, const Append& append) {
  if (path.empty()) return;
  std::string text = "{";
  for (std::size_t i = 0; i < questions.size(); ++i) {
    text += i == 0 ? "\n" : ",\n";
    append_json_string(text, questions[i].first);
    text += ": ";
    append(text, i);
  }
  text += "\n}\n";
  // What is written to a pipe leaves nothing behind, and may have to wait for its reader.
  std::optional<InterruptAtOnce> at_once;
  if (base::is_special_file(path)) at_once.emplace();
  base::AtomicFile file(path);
  file.write(text);
  file.commit();
}

// Fails before the work, not after it, if a result could not be written.
void check_writable(const std::string& path) {
  if (!path.empty() && !base::is_special_file(path)) base::AtomicFile file(path);
}

void run_squad(const SquadArguments& arguments, Program& program) {
  check_writable(arguments.predictions);
  check_writable(arguments.na_prob_out);
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const qa::SquadDataset data = qa::load_squad(arguments.data);
  const std::string version = metric_version(arguments.metric, data);
  const Reader reader = Reader::load(find_model(arguments.model.model), reader_options(arguments.model));
  at_once.reset();
  AskOptions options = ask_options(arguments.decode);
  options.handle_impossible_answer = version == "v2.0";
  // The chosen answer, and behind a "no answer" the best one. (The pipeline's answers depend on top_k.)
  options.top_k = version == "v2.0" && options.decode != Decode::kPipeline ? 2 : 1;

  const Answers answers = ask_all(reader, data, version, options);
  write_by_id(arguments.predictions, answers.no_answer, [&](std::string& out, std::size_t i) {
    append_json_string(out, answers.chosen.at(answers.no_answer[i].first));
  });
  write_by_id(arguments.na_prob_out, answers.no_answer,
              [&](std::string& out, std::size_t i) { append_json_number(out, answers.no_answer[i].second); });

  std::vector<qa::Metric> metrics = score(data, answers, version, options.decode);
  const auto questions = static_cast<double>(answers.no_answer.size());
  metrics.push_back({"questions", questions, true});
  metrics.push_back({"windows", static_cast<double>(answers.windows), true});
  metrics.push_back({"seconds", answers.seconds, false});
  metrics.push_back({"questions_per_second", questions / answers.seconds, false});
  if (arguments.json) {
    append_metrics_json(program.out.buffer(), metrics);
  } else {
    append_metrics_table(program.out.buffer(), metrics);
  }
}

}  // namespace

void add_eval_squad(CLI::App& eval, Program& program) {
  auto arguments = std::make_shared<SquadArguments>();
  CLI::App* command = eval.add_subcommand("squad", "Answer a SQuAD file's questions and score them");
  command->fallthrough();
  command->footer(kFooter);
  command->add_option("--data", arguments->data, "SQuAD file, v1.1 or v2.0")
      ->option_text("FILE")
      ->check(names_a_file())
      ->required();
  command
      ->add_option("--predictions", arguments->predictions,
                   "Write the answers: JSON object, question id to text")
      ->option_text("OUT")
      ->check(names_a_file());
  command
      ->add_option(
          "--na-prob-out", arguments->na_prob_out,
          "Write how likely \"no answer\" is: JSON object, question id to number (squad: score difference)")
      ->option_text("OUT")
      ->check(names_a_file());
  command->add_option("--metric", arguments->metric, "v1.1 or v2.0 (default: by the data)")
      ->option_text("v1.1|v2.0")
      ->check(CLI::IsMember({"v1.1", "v2.0"}));
  command->add_flag("--json", arguments->json, "One JSON object, for machines");
  add_decode_options(*command, arguments->decode, "squad");
  add_model_options(*command, arguments->model);
  command->callback([arguments, &program] {
    program.command = "eval squad";
    program.action = [arguments, &program] { run_squad(*arguments, program); };
  });
}

}  // namespace kvasir::cli
