// kvasir eval squad: runs the reader over a SQuAD file and scores its answers.
#include <cstdio>
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
#include "qa/evaluation.h"
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

void show(ProgressLine& line, double asked, std::size_t total) {
  if (!line.due()) return;
  const double rate = asked / line.seconds();
  if (rate <= 0) return;
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, "  %zu/%zu questions, %.1f/s, %s left",
                static_cast<std::size_t>(asked), total, rate,
                duration_text((static_cast<double>(total) - asked) / rate).c_str());
  line.update(progress_bar(static_cast<std::size_t>(asked), total) + numbers);
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
  qa::EvaluationCall call{.data = data, .version = version, .options = ask_options(arguments.decode)};
  call.options.cancel = &interrupt_flag();
  qa::Evaluation answers;
  double seconds = 0;
  {
    ProgressLine line(true);
    call.progress = [&](double asked, std::size_t total) { show(line, asked, total); };
    answers = qa::evaluate(reader, call);
    seconds = line.seconds();
  }
  write_by_id(arguments.predictions, answers.no_answer, [&](std::string& out, std::size_t i) {
    append_json_string(out, answers.chosen.at(answers.no_answer[i].first));
  });
  write_by_id(arguments.na_prob_out, answers.no_answer,
              [&](std::string& out, std::size_t i) { append_json_number(out, answers.no_answer[i].second); });

  std::vector<qa::Metric> metrics = qa::score(call, answers);
  const auto questions = static_cast<double>(answers.no_answer.size());
  metrics.push_back({"questions", questions, true});
  metrics.push_back({"windows", static_cast<double>(answers.windows), true});
  metrics.push_back({"seconds", seconds, false});
  metrics.push_back({"questions_per_second", questions / seconds, false});
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
