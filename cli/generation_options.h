// Options that the commands which write with a language model have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kvasir/generator.h"
#include "reader_options.h"

namespace kvasir::cli {

struct GenerationArguments {
  ModelArguments model;
  std::string kv_type = "auto", chat_template;
  std::optional<std::string> json_schema;  // a file, "-", or itself
  GenerateOptions options;
  bool has_temperature = false;
  std::vector<std::string> logit_bias;  // "ID=BIAS"
};
void add_generation_options(CLI::App& command, GenerationArguments& arguments);
void add_chat_template_option(CLI::App& command, GenerationArguments& arguments);

// Reads OPENAI_API_KEY from the environment.
GeneratorOptions generator_options(const GenerationArguments& arguments);
// Draws with temperature 1, if something was said about drawing and nothing about temperature. Throws
// UsageError.
GenerateOptions generate_options(const GenerationArguments& arguments);
// The model of --model or KVASIR_MODEL, which may be on a server (openai://…); there is no language model
// that ships with kvasir. Throws UsageError.
std::filesystem::path find_language_model(const std::string& given);

// The text of --json-schema, "" if there is none. What a model here would refuse is refused before it is
// loaded, by the name of the file. Throws Error; UsageError for standard input if it `reads_input` otherwise.
std::string read_json_schema(const GenerationArguments& arguments, const std::filesystem::path& model,
                             bool reads_input);
// Throws if a text that was to be JSON ended before its JSON did.
void check_finished(const GenerateOptions& options, const GenerateResult& result);

// Text that a model wrote, safe to print on a terminal: control characters other than line breaks and tabs
// become U+FFFD.
std::string for_terminal(std::string_view text);
// "24 tokens, 31.2 tokens/s; prompt: 11 tokens in 0.04 s" on standard error, if that is a terminal.
void tell_speed(const GenerateResult& result);

}  // namespace kvasir::cli
