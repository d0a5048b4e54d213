// The two halves of kvasir eval.
#pragma once

#include <CLI/CLI.hpp>

#include "command.h"

namespace kvasir::cli {

void add_eval_squad(CLI::App& eval, Program& program);
void add_eval_score(CLI::App& eval, Program& program);

}  // namespace kvasir::cli
