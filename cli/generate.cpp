// kvasir generate: text written on by a language model.
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "generation_options.h"
#include "interrupt.h"
#include "json_output.h"
#include "text_source.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(The model writes on after the prompt, which is taken as it is; kvasir chat is
for models that were made to converse. Without -p, the prompt is read from
standard input. Text appears as it is written.

--json prints, per prompt, one line
  {"text":…,"ids":[…],"logprobs":[…],"finish_reason":…,"prompt_ids":[…]}
with a list of such objects under --num-return-sequences. finish_reason is
"stop" (the text ended, or a stop text came) or "length".

--json-schema keeps the text to JSON that the schema allows. The model sees
nothing of it: say in the prompt what you want. If --max-new-tokens end the text
before its JSON, the exit status is 1; under --json, finish_reason tells.

Examples:
  kvasir generate -m models/llama-2-7b -p "The capital of Sweden is" -n 16
  kvasir generate -m models/bloomz-560m -p "Translate: Je t'aime. Answer:"
  kvasir generate -m falcon-7b.gguf --temperature 0.7 --top-p 0.9 --seed 1 \
    -p "Once upon a time"
  kvasir generate -m models/mpt-7b --num-beams 4 --json < prompt.txt
  kvasir generate -m models/llama-2-7b -p "Lund, founded in 990, as JSON:" \
    --json-schema '{"properties": {"city": {"type": "string"}, "year":
    {"type": "integer"}}, "required": ["city", "year"]}')";

struct GenerateArguments {
  std::vector<std::string> prompts;
  bool json = false;
  bool no_special_tokens = false;
  GenerationArguments generation;
};

void append_sequence(std::string& out, const GenerateResult& result, const GeneratedSequence& sequence) {
  const auto append_ids = [&](const std::vector<std::int32_t>& ids) {
    out += '[';
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i > 0) out += ',';
      append_json_integer(out, ids[i]);
    }
    out += ']';
  };
  out += "{\"text\":";
  append_json_string(out, sequence.text);
  out += ",\"ids\":";
  append_ids(sequence.ids);
  out += ",\"logprobs\":[";
  for (std::size_t i = 0; i < sequence.logprobs.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, static_cast<double>(sequence.logprobs[i]));
  }
  out += "],\"finish_reason\":";
  append_json_string(out, sequence.finish_reason);
  out += ",\"score\":";
  append_json_number(out, sequence.score);
  out += ",\"prompt_ids\":";
  append_ids(result.prompt_ids);
  out += '}';
}

void append_json(std::string& out, const GenerateResult& result, bool as_list) {
  if (as_list) out += '[';
  for (std::size_t i = 0; i < result.sequences.size(); ++i) {
    if (i > 0) out += ',';
    append_sequence(out, result, result.sequences[i]);
  }
  out += as_list ? "]\n" : "\n";
}

void write_text(const Generator& generator, const std::string& prompt, GenerateOptions options, Output& out) {
  const bool to_terminal = ::isatty(STDOUT_FILENO) == 1;
  const bool streams = options.num_beams == 1 && options.num_return_sequences == 1;
  bool shown = false;
  const auto show = [&](std::string_view text) {
    shown = shown || !text.empty();
    out.write(to_terminal ? for_terminal(text) : std::string(text));
    out.flush();
  };
  if (streams) options.on_text = show;
  GenerateResult result;
  try {
    result = generator.generate(prompt, options);
  } catch (const Error&) {
    if (shown) show("\n");  // what is wrong is said on a line of its own
    throw;
  }
  if (!streams) {
    for (std::size_t i = 0; i < result.sequences.size(); ++i) {
      if (i > 0) show("\n---\n");
      show(result.sequences[i].text);
    }
  }
  show("\n");
  tell_speed(result);
  check_finished(options, result);
}

void run_generate(const GenerateArguments& arguments, Program& program) {
  GenerateOptions options = generate_options(arguments.generation);
  options.add_special_tokens = !arguments.no_special_tokens;
  options.cancel = &interrupt_flag();
  const std::filesystem::path model = find_language_model(arguments.generation.model.model);
  std::vector<std::string> prompts = arguments.prompts;
  options.json_schema = read_json_schema(arguments.generation, model, prompts.empty());
  if (prompts.empty()) prompts.push_back(read_plain_input().text);
  for (const std::string& prompt : prompts) check_utf8(prompt, "the prompt");

  std::optional<InterruptAtOnce> at_once(std::in_place);
  const Generator generator = Generator::load(model, generator_options(arguments.generation));
  at_once.reset();
  for (const std::string& prompt : prompts) {
    if (!arguments.json) {
      write_text(generator, prompt, options, program.out);
      continue;
    }
    append_json(program.out.buffer(), generator.generate(prompt, options), options.num_return_sequences > 1);
    program.out.flush();
  }
}

}  // namespace

void add_generate(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<GenerateArguments>();
  CLI::App* command = app.add_subcommand("generate", "Write on after a prompt, with a language model");
  command->fallthrough();
  command->footer(kFooter);
  // Raw words: the parser's conversion to a list would take "[a,b]" apart and drop "{}".
  command
      ->add_option(
          "-p,--prompt",
          [arguments](const CLI::results_t& words) {
            arguments->prompts = words;
            return true;
          },
          "Text to go on from; may be given several times")
      ->option_text("TEXT")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--json", arguments->json, "One line of JSON per prompt, for machines");
  command->add_flag("--no-special-tokens", arguments->no_special_tokens,
                    "Do not put the tokenizer's special tokens around the prompt");
  add_generation_options(*command, arguments->generation);
  command->callback([arguments, &program] {
    program.command = "generate";
    program.action = [arguments, &program] { run_generate(*arguments, program); };
  });
}

}  // namespace kvasir::cli
