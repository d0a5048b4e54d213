// kvasir embed: vectors of texts.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "command.h"
#include "interrupt.h"
#include "json_output.h"
#include "kvasir/embedder.h"
#include "line_reader.h"
#include "model_location.h"
#include "progress.h"
#include "reader_options.h"
#include "text_source.h"
#include "vector_file.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(MODEL is a sentence model in the layout of sentence-transformers, such as
all-MiniLM-L6-v2, E5 or BGE. A TEXT that is the name of a file stands for what
is in it (any document that kvasir ask reads); after --text it is a text,
whatever it looks like. Prints one line for each text:
  {"embedding":[…],"tokens":n}
A text that is longer than the model takes is cut: then the line also has
"text_tokens":m, the tokens that it would have been.

--jsonl reads lines from FILE, or from standard input: a string, or
  {"text":…,"prompt_name":…}
where prompt_name, one of the model's prompts ("query", "passage"), may be left
out. Blank lines are passed over; the n-th line of the output belongs to the
n-th that is not.

--out writes all vectors into one file instead: a matrix [texts, components] of
32-bit floats, in safetensors under the name embeddings.

Examples:
  kvasir embed -m sentence-transformers/all-MiniLM-L6-v2 "A man eats pasta."
  kvasir embed -m all-MiniLM-L6-v2 --similarity "A man eats." "Someone dines."
  kvasir embed -m intfloat/e5-small-v2 --prompt-name query "how tall is it?"
  kvasir embed -m all-MiniLM-L6-v2 --jsonl corpus.jsonl --out corpus.npy)";

constexpr int kMaxTexts = 1 << 24;
// Lines that are read before the model runs: enough to keep it busy, few enough that memory does not grow
// with the input.
constexpr std::size_t kGroup = 1024;
// Of a table that fits into 80 columns.
constexpr std::size_t kMostCompared = 9;

struct EmbedArguments {
  ModelArguments model;
  std::vector<std::string> inputs, texts;
  std::string prompt_name, prompt, out;
  bool jsonl = false, similarity = false, json = false;
};

struct Input {
  std::string text;
  std::optional<std::string> prompt_name;
};

// {"embedding":[…],"tokens":n}
void append_line(std::string& out, const Embedding& embedding) {
  out += "{\"embedding\":[";
  for (std::size_t i = 0; i < embedding.vector.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, embedding.vector[i]);
  }
  out += "],\"tokens\":";
  append_json_integer(out, static_cast<std::int64_t>(embedding.tokens));
  if (embedding.truncated()) {
    out += ",\"text_tokens\":";
    append_json_integer(out, static_cast<std::int64_t>(embedding.text_tokens));
  }
  out += "}\n";
}

Input parse_line(const std::string& line, const std::string& where) {
  const base::json::value value = base::parse_json(line, where);
  if (const auto* text = value.if_string()) return {.text = std::string(*text), .prompt_name = {}};
  if (!value.is_object()) {
    throw Error(ErrorCode::kFormat, where + ": is neither a string nor {\"text\":…,\"prompt_name\":…}");
  }
  const base::JsonObject object(value, where);
  Input input{.text = object.string("text"), .prompt_name = {}};
  if (object.has("prompt_name")) input.prompt_name = object.string("prompt_name");
  return input;
}

EmbedOptions embed_options(const EmbedArguments& arguments) {
  EmbedOptions options{.cancel = &interrupt_flag()};
  if (!arguments.prompt_name.empty()) options.prompt_name = arguments.prompt_name;
  if (!arguments.prompt.empty()) options.prompt = arguments.prompt;
  return options;
}

// Embeds inputs as they come and hands the vectors on.
class Run {
 public:
  Run(const EmbedArguments& arguments, const Embedder& embedder, Program& program)
      : embedder_(embedder), program_(program), options_(embed_options(arguments)), line_(true) {
    if (!arguments.out.empty()) file_.emplace(arguments.out, embedder.dimension());
  }

  void add(Input input) {
    group_.push_back(std::move(input));
    if (group_.size() >= kGroup) flush();
  }

  void flush() {
    std::vector<EmbedText> texts;
    for (const Input& input : group_) texts.push_back({.text = input.text, .prompt_name = input.prompt_name});
    embedder_.embed_batch(texts, options_, [&](std::size_t, Embedding& embedding) { take(embedding); });
    group_.clear();
    if (!file_) program_.out.flush();  // whoever writes line by line reads line by line
  }

  void finish() {
    flush();
    line_.clear();
    if (file_) file_->commit();
    if (cut_ > 0) {
      complain(std::to_string(cut_) + (cut_ == 1 ? " text was" : " texts were") + " longer than " +
               std::to_string(embedder_.max_seq_length()) + " tokens; the rest was left out");
    }
  }

 private:
  void take(const Embedding& embedding) {
    cut_ += embedding.truncated() ? 1 : 0;
    ++done_;
    if (file_) {
      file_->add(embedding.vector);
      if (line_.due()) line_.update("embedding: " + std::to_string(done_) + " texts");
      return;
    }
    append_line(program_.out.buffer(), embedding);
    program_.out.flush_if_full();
  }

  const Embedder& embedder_;
  Program& program_;
  EmbedOptions options_;
  std::optional<VectorFile> file_;
  ProgressLine line_;
  std::vector<Input> group_;
  std::size_t done_ = 0, cut_ = 0;
};

// What came before a line that cannot be read is not lost.
void embed_lines(const std::vector<std::string>& files, Run& run) {
  for (const std::string& file : files) {
    LineReader reader(file);
    std::string line;
    while (reader.next(line)) {
      Input input;
      try {
        input = parse_line(line, reader.where());
        check_utf8(input.text, reader.where());
      } catch (const Error&) {
        run.flush();
        throw;
      }
      run.add(std::move(input));
      if (!reader.ready()) run.flush();
    }
  }
}

// Texts of the command line, in order: those of --text last.
std::vector<Input> named_inputs(const EmbedArguments& arguments) {
  std::vector<Input> inputs;
  for (const std::string& input : arguments.inputs) {
    std::error_code ignored;
    const bool is_file = input == "-" || std::filesystem::is_regular_file(input, ignored);
    inputs.push_back({.text = is_file ? read_text(input).text : input, .prompt_name = {}});
    if (!is_file) check_utf8(input, "the text");
  }
  for (const std::string& text : arguments.texts) {
    check_utf8(text, "the text");
    inputs.push_back({.text = text, .prompt_name = {}});
  }
  return inputs;
}

void append_similarity_json(std::string& out, const std::vector<std::vector<double>>& table,
                            const std::string& function) {
  out += "{\"similarity_fn_name\":";
  append_json_string(out, function);
  out += ",\"similarity\":[";
  for (std::size_t i = 0; i < table.size(); ++i) {
    out += i == 0 ? "[" : ",[";
    for (std::size_t j = 0; j < table.size(); ++j) {
      if (j > 0) out += ',';
      append_json_number(out, table[i][j]);
    }
    out += ']';
  }
  out += "]}\n";
}

// As much of a text as stands on one line behind its number.
std::string beginning_of(const std::string& text, std::size_t columns) {
  std::string shown = printable(text);
  if (display_width(shown) <= columns) return shown;
  while (!shown.empty() && display_width(shown) > columns - 1) {
    do {
      shown.pop_back();
    } while (!shown.empty() && (static_cast<unsigned char>(shown.back()) & 0xC0) == 0x80);
  }
  // The last byte may be the first of a character whose rest is gone.
  if (!shown.empty() && (static_cast<unsigned char>(shown.back()) & 0xC0) == 0xC0) shown.pop_back();
  return shown + "…";
}

void print_similarity(const EmbedArguments& arguments, const Embedder& embedder, Program& program) {
  const std::vector<Input> inputs = named_inputs(arguments);
  if (inputs.size() < 2) throw UsageError("--similarity compares texts: give two or more");
  if (inputs.size() > kMostCompared && !arguments.json) {
    throw UsageError("--similarity shows a table of up to " + std::to_string(kMostCompared) +
                     " texts; more with --json");
  }
  std::vector<EmbedText> texts;
  texts.reserve(inputs.size());
  for (const Input& input : inputs) texts.push_back({.text = input.text});
  std::vector<Embedding> vectors;
  embedder.embed_batch(texts, embed_options(arguments),
                       [&](std::size_t, Embedding& embedding) { vectors.push_back(std::move(embedding)); });
  std::vector<std::vector<double>> table(vectors.size());
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    for (const Embedding& other : vectors)
      table[i].push_back(embedder.similarity(vectors[i].vector, other.vector));
  }
  std::string& out = program.out.buffer();
  if (arguments.json) return append_similarity_json(out, table, embedder.similarity_name());
  use_utf8_locale();
  out += embedder.similarity_name() + " similarity\n";
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    out += "  " + std::to_string(i + 1) + "  " + beginning_of(inputs[i].text, 70) + "\n";
  }
  out += "\n   ";
  for (std::size_t i = 0; i < inputs.size(); ++i) out += "       " + std::to_string(i + 1);
  out += '\n';
  for (std::size_t i = 0; i < table.size(); ++i) {
    out += "  " + std::to_string(i + 1);
    for (const double value : table[i]) {
      char cell[32];
      std::snprintf(cell, sizeof cell, " %7.3f", value);
      out += cell;
    }
    out += '\n';
  }
}

void check_arguments(const EmbedArguments& arguments) {
  if (arguments.similarity && (arguments.jsonl || !arguments.out.empty())) {
    throw UsageError("--similarity prints a table: give it without --jsonl and --out");
  }
  if (arguments.jsonl && !arguments.texts.empty()) throw UsageError("--text goes without --jsonl");
  if (!arguments.jsonl && arguments.inputs.empty() && arguments.texts.empty()) {
    throw UsageError("no text; give one, or lines of JSON with --jsonl");
  }
  if (!arguments.out.empty() && !VectorFile::has_known_name(arguments.out)) {
    throw UsageError("--out " + arguments.out + ": the name should end in .npy or .safetensors");
  }
  if (!arguments.prompt_name.empty() && !arguments.prompt.empty()) {
    throw UsageError("--prompt-name and --prompt: give one of them");
  }
  check_utf8(arguments.prompt, "--prompt");
}

void run_embed(const EmbedArguments& arguments, Program& program) {
  check_arguments(arguments);
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const ReaderOptions options = reader_options(arguments.model);
  const Embedder embedder =
      Embedder::load(find_named_model(arguments.model.model, "sentence model"),
                     {.threads = options.threads, .isa = options.isa, .precision = options.precision});
  at_once.reset();
  if (arguments.similarity) return print_similarity(arguments, embedder, program);
  Run run(arguments, embedder, program);
  if (arguments.jsonl) {
    embed_lines(arguments.inputs.empty() ? std::vector<std::string>{"-"} : arguments.inputs, run);
  } else {
    for (Input& input : named_inputs(arguments)) run.add(std::move(input));
  }
  run.finish();
}

}  // namespace

void add_embed(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<EmbedArguments>();
  CLI::App* command =
      app.add_subcommand("embed", "Turn texts into vectors, which tell how near their meanings are");
  command->fallthrough();
  command->footer(kFooter);
  // Raw words: the parser's conversion to a list would take "[a,b]" apart.
  const auto words = [&](const char* name, std::vector<std::string>& target, const char* description) {
    return command
        ->add_option(
            name,
            [&target, arguments](const CLI::results_t& given) {
              target = given;
              return true;
            },
            description)
        ->type_size(1);
  };
  words("TEXT", arguments->inputs, "Text or file; with --jsonl a file of lines, - is standard input")
      ->option_text("[TEXT|FILE]...")
      ->expected(kMaxTexts)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  words("--text", arguments->texts, "A text, whatever it looks like; may be given several times")
      ->option_text("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--jsonl", arguments->jsonl, "Read texts as lines of JSON");
  command->add_option("-o,--out", arguments->out, "File for all vectors")
      ->option_text("FILE.npy|FILE.safetensors")
      ->check(names_a_file());
  command->add_flag("--similarity", arguments->similarity, "Print how near the texts are to each other");
  command
      ->add_option("--prompt-name", arguments->prompt_name,
                   "Prompt of the model that comes before each text (default: the model's own default)")
      ->option_text("NAME");
  command->add_option("--prompt", arguments->prompt, "A text that comes before each text instead")
      ->option_text("TEXT");
  command->add_flag("--json", arguments->json, "With --similarity: one JSON object, for machines");
  add_model_options(*command, arguments->model);
  command->callback([arguments, &program] {
    program.command = "embed";
    program.action = [arguments, &program] { run_embed(*arguments, program); };
  });
}

}  // namespace kvasir::cli
