#include "generation_options.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <limits>

#include "base/json.h"
#include "base/mapped_file.h"
#include "command.h"
#include "grammar/json_schema.h"
#include "model_location.h"
#include "text_source.h"

namespace kvasir::cli {

namespace {

// A whole number; the parser would take -1 for a very large one.
const CLI::Validator kCount(
    [](const std::string& text) {
      return std::string(text.starts_with('-') ? text + " is less than 0" : "");
    },
    "");

constexpr std::size_t kMostOfASchema = std::size_t{16} << 20;  // bytes; people's are kilobytes

bool is_on_server(const std::string& model) noexcept {
  return model.starts_with("openai://") || model.starts_with("openais://");
}

// {"12", 3.5} of "12=3.5".
std::pair<std::int32_t, float> parse_bias(const std::string& text) {
  const std::size_t at = text.find('=');
  char* end_of_id = nullptr;
  char* end = nullptr;
  const long id = std::strtol(text.c_str(), &end_of_id, 10);
  const float bias = at == std::string::npos ? 0 : std::strtof(text.c_str() + at + 1, &end);
  if (at == std::string::npos || at == 0 || end_of_id != text.c_str() + at || end == text.c_str() + at + 1 ||
      *end != '\0' || id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
    throw UsageError("--logit-bias " + text + ": should be ID=BIAS, as 50256=-5");
  }
  return {static_cast<std::int32_t>(id), bias};
}

void add_sampling_options(CLI::App& command, GenerationArguments& arguments) {
  GenerateOptions& o = arguments.options;
  const char* const group = "Sampling";
  const auto add = [&](const char* name, auto& field, const char* help, const char* text) {
    return command.add_option(name, field, help)->option_text(text)->group(group);
  };
  command
      .add_option_function<float>(
          "--temperature",
          [&arguments](const float& value) {
            arguments.options.temperature = value;
            arguments.has_temperature = true;
          },
          "Draw tokens, logits divided by this; 0: always the most probable (default: 0, or 1 if another "
          "option "
          "of drawing is given)")
      ->option_text("X")
      ->group(group);
  add("--top-k", o.top_k, "Draw from the N most probable only (default: 0, all)", "N")->check(kCount);
  add("--top-p", o.top_p, "Draw from the most probable that make up P only (default: 1)", "P");
  add("--min-p", o.min_p, "Draw from those with P of the best's probability only (default: 0)", "P");
  add("--seed", o.seed, "Of the draws; the same seed gives the same text (default: 0)", "N")->check(kCount);
  add("--num-return-sequences", o.num_return_sequences, "Texts to write for the prompt (default: 1)", "N")
      ->check(kCount);
  add("--repetition-penalty", o.repetition_penalty,
      "Divide the logits of tokens of prompt and output by this (default: 1)", "X");
  add("--presence-penalty", o.presence_penalty,
      "Subtract this from logits of tokens of the output (default: 0)", "X");
  add("--frequency-penalty", o.frequency_penalty, "The same, for each time that they occur (default: 0)",
      "X");
  command
      .add_option("--logit-bias", arguments.logit_bias, "Add this to the logit of a token; may be repeated")
      ->option_text("ID=BIAS")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group(group);
}

void add_beam_options(CLI::App& command, GenerationArguments& arguments) {
  GenerateOptions& o = arguments.options;
  const char* const group = "Beam search";
  command.add_option("--num-beams", o.num_beams, "Beams (default: 1, none)")
      ->option_text("N")
      ->check(kCount)
      ->group(group);
  command
      .add_option("--length-penalty", o.length_penalty,
                  "Compare beams by log-probability / tokens ^ X (default: 1)")
      ->option_text("X")
      ->group(group);
  command
      .add_option(
          "--early-stopping", o.early_stopping,
          "End with as many finished texts as beams: true; when none gets better: false, at any length: "
          "never (default: false)")
      ->option_text("WHEN")
      ->expected(0, 1)
      ->default_str("true")
      ->check(CLI::IsMember({"true", "false", "never"}))
      ->group(group);
}

}  // namespace

void add_generation_options(CLI::App& command, GenerationArguments& arguments) {
  GenerateOptions& o = arguments.options;
  command.add_option("-n,--max-new-tokens", o.max_new_tokens, "Tokens to write at most (default: 256)")
      ->option_text("N")
      ->check(kCount);
  command.add_option("--stop", o.stop, "End before this text; may be repeated")
      ->option_text("TEXT")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_flag("--ignore-eos", o.ignore_eos, "Write on after the token that ends a text");
  command
      .add_option(
          "--prompt-lookup-num-tokens", o.prompt_lookup_num_tokens,
          "Guess N tokens by looking up what came before; the same text in less time where it is copied "
          "from the prompt (default: 0)")
      ->option_text("N");
  command.add_flag("--truncate", o.truncate, "Drop the beginning of a prompt that is too long");
  command.add_flag("--context-shift", o.context_shift,
                   "Where the model's context is full, forget the older half and write on");
  command
      .add_option("--context-keep", o.context_keep,
                  "Of what the two drop, keep the first N tokens (default: the system prompt of a chat, "
                  "else the token that begins a text)")
      ->option_text("N")
      ->check(kCount);
  // A raw word: the parser would take "{}" for an empty one.
  command
      .add_option(
          "--json-schema",
          [&arguments](const CLI::results_t& words) {
            arguments.json_schema = words.back();
            return true;
          },
          "Write JSON that this schema allows: a file, - for standard input, or the schema itself, {…}")
      ->option_text("SCHEMA");
  add_sampling_options(command, arguments);
  add_beam_options(command, arguments);
  add_model_options(command, arguments.model);
  command
      .add_option("--kv-type", arguments.kv_type,
                  "What keys and values are kept as: f32; f16; q8_0: bytes, in about half of the memory of "
                  "f16; auto: "
                  "f16, but f32 for a model in fp32 (default: auto)")
      ->option_text("NAME")
      ->check(CLI::IsMember({"auto", "f32", "f16", "q8_0"}))
      ->group("Model");
}

void add_chat_template_option(CLI::App& command, GenerationArguments& arguments) {
  command
      .add_option(
          "--chat-template", arguments.chat_template,
          "How the conversation becomes a prompt: llama-2-chat, vicuna, falcon-instruct, mpt-instruct, "
          "chatml, bloomz, or a file in Jinja (default: the model's own, else by its name)")
      ->option_text("NAME|FILE")
      ->group("Model");
}

GeneratorOptions generator_options(const GenerationArguments& arguments) {
  const ReaderOptions options = reader_options(arguments.model);
  const char* key = std::getenv("OPENAI_API_KEY");
  return {.threads = options.threads,
          .isa = options.isa,
          .precision = options.precision,
          .kv_type = arguments.kv_type,
          .chat_template = arguments.chat_template,
          .api_key = key == nullptr ? "" : key};
}

GenerateOptions generate_options(const GenerationArguments& arguments) {
  GenerateOptions options = arguments.options;
  const bool draws = options.top_k > 0 || options.top_p < 1 || options.min_p > 0 || options.seed != 0 ||
                     (options.num_return_sequences > 1 && options.num_beams == 1);
  if (draws && !arguments.has_temperature) options.temperature = 1;
  for (const std::string& bias : arguments.logit_bias) options.logit_bias.insert(parse_bias(bias));
  for (const std::string& stop : options.stop) {
    if (stop.empty()) throw UsageError("--stop is given an empty text");
  }
  return options;
}

std::filesystem::path find_language_model(const std::string& given) {
  const char* name = std::getenv("KVASIR_MODEL");
  const std::string named = !given.empty() || name == nullptr ? given : std::string(name);
  if (is_on_server(named)) return named;
  return find_named_model(given, "language model");
}

std::string read_json_schema(const GenerationArguments& arguments, const std::filesystem::path& model,
                             bool reads_input) {
  if (!arguments.json_schema) return {};
  const std::string& given = *arguments.json_schema;
  const std::size_t begin = given.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) throw UsageError("--json-schema is given an empty text");
  const bool is_itself = given[begin] == '{';
  if (given == "-" && reads_input) {
    throw UsageError("--json-schema -: standard input is read for something else; name a file");
  }
  const std::string origin = is_itself ? "--json-schema" : given == "-" ? "standard input" : given;
  std::string text = is_itself      ? given
                     : given == "-" ? read_plain_input().text
                                    : base::read_file(given, {.max_bytes = kMostOfASchema});
  const base::json::value schema = base::parse_json(text, origin);
  // Servers may know more keywords.
  if (!is_on_server(model.string())) grammar::compile_json_schema(schema, {}, origin);
  return text;
}

void check_finished(const GenerateOptions& options, const GenerateResult& result) {
  if (options.json_schema.empty()) return;
  for (const GeneratedSequence& sequence : result.sequences) {
    if (sequence.finish_reason != "length") continue;
    const bool by_option = sequence.ids.empty() || sequence.ids.size() >= options.max_new_tokens;
    throw Error(
        ErrorCode::kResourceExhausted,
        "the text ends before its JSON does: " +
            (by_option
                 ? "--max-new-tokens " + std::to_string(options.max_new_tokens) + " is too few for it"
                 : "the model's context is full after " + std::to_string(sequence.ids.size()) + " tokens"));
  }
}

std::string for_terminal(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_control = (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F;
    if (is_control) {
      out += "\uFFFD";
    } else {
      out += c;
    }
  }
  return out;
}

void tell_speed(const GenerateResult& result) {
  if (::isatty(STDERR_FILENO) != 1) return;
  std::size_t tokens = 0;
  for (const GeneratedSequence& sequence : result.sequences) tokens += sequence.ids.size();
  const double seconds = result.seconds - result.prompt_seconds;
  std::string line = std::to_string(tokens) + " tokens";
  char number[64];
  if (tokens > result.sequences.size() && seconds > 0) {
    std::snprintf(number, sizeof number, ", %.1f tokens/s",
                  static_cast<double>(tokens - result.sequences.size()) / seconds);
    line += number;
  }
  std::snprintf(number, sizeof number, " in %.2f s", result.prompt_seconds);
  // A server says nothing of tokens.
  if (tokens == 0) line = "first word";
  if (tokens > 0) line += "; prompt: " + std::to_string(result.prompt_ids.size()) + " tokens";
  line += number;
  if (result.cached_tokens > 0) line += " (" + std::to_string(result.cached_tokens) + " from memory)";
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace kvasir::cli
