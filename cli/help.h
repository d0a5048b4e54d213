// --help in 80 columns, and messages about command lines that cannot be understood.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::cli {

std::shared_ptr<CLI::FormatterBase> make_help_formatter();

// What is wrong with the command line, in one line with a hint ("unknown option --topk; did you mean
// --top-k?").
std::string explain_parse_error(const CLI::App& app, const CLI::ParseError& error);

// The word in `known` that `word` was probably meant to be; empty if none is near.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace kvasir::cli
