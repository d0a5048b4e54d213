// Lines typed at a terminal, with line editing and a history that is kept.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace kvasir::cli {

struct PromptOptions {
  std::string text = "kvasir> ";
  std::string history = "history";  // name of the file in the user's state folder
};

class Prompt {
 public:
  explicit Prompt(const PromptOptions& options = {});
  ~Prompt();  // writes the history
  Prompt(const Prompt&) = delete;
  Prompt& operator=(const Prompt&) = delete;

  // The next question, without white space at its edges. Commands (":help") are carried out here. Ctrl-C
  // drops the line. nullopt: Ctrl-D or :quit.
  std::optional<std::string> read_question();
  // The next line that is not blank, commands included, without white space at its edges. A line that ends
  // with a backslash goes on in the next one. Ctrl-C drops it. nullopt: Ctrl-D.
  std::optional<std::string> read_line();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::cli
