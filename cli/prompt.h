// Questions typed at a terminal, with line editing and a history that is kept.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace kvasir::cli {

class Prompt {
 public:
  Prompt();
  ~Prompt();  // writes the history
  Prompt(const Prompt&) = delete;
  Prompt& operator=(const Prompt&) = delete;

  // The next question, without white space at its edges. Commands (":help") are carried out here. Ctrl-C
  // drops the line. nullopt: Ctrl-D or :quit.
  std::optional<std::string> read_question();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kvasir::cli
