// kvasir eval: how good a model is.
#include "eval.h"

namespace kvasir::cli {

void add_eval(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("eval", "Measure a model, or score its predictions");
  command->fallthrough();
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  kvasir eval squad --data dev-v2.0.json\n"
      "  kvasir eval score --data dev-v2.0.json --predictions predictions.json");
  add_eval_squad(*command, program);
  add_eval_score(*command, program);
  for (CLI::App* part : command->get_subcommands([](const CLI::App*) { return true; }))
    part->group("Commands");
}

}  // namespace kvasir::cli
