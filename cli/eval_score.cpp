// kvasir eval score: the official SQuAD metrics of predictions that are there already.
#include <memory>
#include <optional>
#include <string>

#include "eval.h"
#include "interrupt.h"
#include "metrics_output.h"
#include "qa/evaluation.h"
#include "qa/squad.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(The numbers are those of the official scripts (evaluate-v1.1.py and
evaluate-v2.0.py), under their key names. v1.1 counts the answerable questions
only, and a missing prediction as wrong; v2.0 leaves missing predictions out.

Examples:
  kvasir eval score --data dev-v2.0.json --predictions predictions.json
  kvasir eval score --data dev-v1.1.json --predictions p.json --json)";

struct ScoreArguments {
  std::string data, predictions, na_prob, metric;
  std::optional<double> na_prob_threshold;
  bool json = false;
};

void run_score(const ScoreArguments& arguments, Program& program) {
  const InterruptAtOnce at_once;
  const qa::SquadDataset data = qa::load_squad(arguments.data);
  const auto predictions = qa::load_predictions(arguments.predictions);
  const std::string version = metric_version(arguments.metric, data);
  std::vector<qa::Metric> metrics;
  if (version == "v1.1") {
    if (!arguments.na_prob.empty() || arguments.na_prob_threshold) {
      throw UsageError("--na-prob and --na-prob-thresh belong to the metric v2.0");
    }
    metrics = qa::score_v1_with_total(data, predictions);
  } else {
    qa::ScoreV2Options options;
    qa::NaProbabilities probabilities;
    if (!arguments.na_prob.empty()) {
      probabilities = qa::load_na_probabilities(arguments.na_prob);
      options.na_probabilities = &probabilities;
    } else if (arguments.na_prob_threshold) {
      throw UsageError("--na-prob-thresh needs --na-prob");
    }
    if (arguments.na_prob_threshold) options.na_prob_threshold = *arguments.na_prob_threshold;
    metrics = qa::score_v2(data, predictions, options);
  }
  if (arguments.json) {
    append_metrics_json(program.out.buffer(), metrics);
  } else {
    append_metrics_table(program.out.buffer(), metrics);
  }
}

}  // namespace

void add_eval_score(CLI::App& eval, Program& program) {
  auto arguments = std::make_shared<ScoreArguments>();
  CLI::App* command = eval.add_subcommand("score", "Score a file of predictions");
  command->fallthrough();
  command->footer(kFooter);
  command->add_option("--data", arguments->data, "SQuAD file, v1.1 or v2.0")
      ->option_text("FILE")
      ->check(names_a_file())
      ->required();
  command->add_option("--predictions", arguments->predictions, "JSON object: question id to answer text")
      ->option_text("FILE")
      ->check(names_a_file())
      ->required();
  command
      ->add_option(
          "--na-prob", arguments->na_prob,
          "JSON object: question id to the probability of \"no answer\"; adds best_exact and best_f1")
      ->option_text("FILE")
      ->check(names_a_file());
  command
      ->add_option("--na-prob-thresh", arguments->na_prob_threshold,
                   "Probability above which a prediction counts as \"no answer\" (default: 1)")
      ->option_text("X");
  command->add_option("--metric", arguments->metric, "v1.1 or v2.0 (default: by the data)")
      ->option_text("v1.1|v2.0")
      ->check(CLI::IsMember({"v1.1", "v2.0"}));
  command->add_flag("--json", arguments->json, "One JSON object, for machines");
  command->callback([arguments, &program] {
    program.command = "eval score";
    program.action = [arguments, &program] { run_score(*arguments, program); };
  });
}

}  // namespace kvasir::cli
