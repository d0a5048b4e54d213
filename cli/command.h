// What main() and the commands know of each other. A command is one file: it adds its subcommand to the
// parser and, if it is the one that was asked for, leaves what is to be done in Program::action.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <stdexcept>
#include <string>

#include "output.h"
#include "terminal.h"

namespace kvasir::cli {

// Exit codes, as documented in --help.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // the operation failed: a file, a model, the system
inline constexpr int kExitUsage = 2;   // the command line makes no sense

// A command line that the parser accepts and that makes no sense all the same.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Program {
  std::function<void()> action;
  std::string command;                  // "ask", "eval squad": for messages
  std::vector<std::string> words = {};  // of the command line
  ColorMode color = ColorMode::kAuto;
  Output out;
};

// For options that take a file's name: an empty one, as a variable that is not set gives, is a mistake.
inline CLI::Validator names_a_file() {
  return CLI::Validator(
      [](const std::string& name) {
        return std::string(name.empty() ? "the name of the file is empty" : "");
      },
      "");
}

// Each adds one command. `app` outlives the call of Program::action.
void add_ask(CLI::App& app, Program& program);
void add_generate(CLI::App& app, Program& program);
void add_chat(CLI::App& app, Program& program);
void add_eval(CLI::App& app, Program& program);
void add_tokenize(CLI::App& app, Program& program);
void add_logits(CLI::App& app, Program& program);
void add_bench(CLI::App& app, Program& program);
void add_pull(CLI::App& app, Program& program);
void add_list(CLI::App& app, Program& program);
void add_show(CLI::App& app, Program& program);
void add_embed(CLI::App& app, Program& program);
void add_rerank(CLI::App& app, Program& program);
void add_quantize(CLI::App& app, Program& program);
void add_rm(CLI::App& app, Program& program);
void add_train(CLI::App& app, Program& program);
void add_merge(CLI::App& app, Program& program);

}  // namespace kvasir::cli
