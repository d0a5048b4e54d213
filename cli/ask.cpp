// kvasir ask: questions about texts.
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "answer_view.h"
#include "command.h"
#include "generation_options.h"
#include "interrupt.h"
#include "kvasir/generative_reader.h"
#include "kvasir/reader.h"
#include "model_location.h"
#include "progress.h"
#include "prompt.h"
#include "reader_options.h"
#include "text_source.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(Files are plain text, Markdown, HTML, PDF, Word (.docx), PowerPoint (.pptx),
Excel (.xlsx), OpenDocument text (.odt), EPUB or e-mail (.eml); a folder stands
for all of them in it. Several are searched as one collection. Without a file,
standard input is read. Without a question, and on a terminal, kvasir asks you
for questions until Ctrl-D.

--json prints one line per question:
  {"question":…,"answers":[{"answer":…,"score":…,"start":…,"end":…,"file":…}],
   "no_answer_score":…,"windows":…}
With --generate, a language model writes the answer from the passages that the
reader finds, with their numbers, like [1]; sentences that their passages do not
support are marked (?). --json prints
  {"question":…,"answer":…,"known":…,"sentences":[{"text":…,"citations":[1],
   "supported":true}],"passages":[{"text":…,"start":…,"end":…,"file":…}]}

start and end count Unicode code points of the file as it is, which for UTF-8
text is taken byte for byte; for other files they count in the converted text,
and "location" tells the page, line, … of the file. file is null for --context
and "-" for standard input.

Examples:
  kvasir ask -q "Where was the treaty signed?" treaty.txt
  kvasir ask -q "Who?" -q "When?" --json letters/*.txt
  kvasir ask -q "How long is the notice period?" contract.pdf minutes/
  kvasir ask --context "Ada Lovelace was born in 1815." -q "When was Ada born?"
  kvasir ask --generate -m models/vicuna-7b -q "Why did it end?" treaty.txt
  curl -s https://example.org/a.txt | kvasir ask -q "What is it?" --top-k 3
  kvasir ask report.txt)";

// The parser may be told "up to so many"; "any number" would also take a name like "[a,b]" apart.
constexpr int kMaxFiles = 1 << 24;

struct AskArguments {
  std::vector<std::string> questions;
  std::vector<std::string> files;
  std::string context;
  bool has_context = false;
  bool json = false;
  bool generate = false;
  std::string reader;            // with --generate, where --model is the one that writes
  std::size_t max_passages = 5;  // likewise
  std::string chat_template;     // likewise
  ModelArguments model;
  DecodeArguments decode;
};

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// Everything that can be said about the command line before a file is opened.
void check_arguments(const AskArguments& arguments) {
  if (arguments.has_context && !arguments.files.empty()) {
    throw UsageError("--context and " + arguments.files.front() + ": give one of them");
  }
  for (const std::string& file : arguments.files) {
    if (file.empty()) throw UsageError("the name of a FILE is empty");
  }
  std::size_t inputs = 0;
  for (const std::string& file : arguments.files) inputs += file == "-" ? 1 : 0;
  if (inputs > 1) throw UsageError("- is given twice: standard input can be read once");
  for (const std::string& question : arguments.questions) {
    if (is_blank(question)) throw UsageError("the question is empty; write one after -q");
    check_utf8(question, "the question");
  }
  const bool terminals = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  if (arguments.questions.empty() && (!terminals || arguments.json)) {
    throw UsageError("no question; give one with -q (questions are asked for on a terminal only)");
  }
  if (arguments.files.empty() && !arguments.has_context && ::isatty(STDIN_FILENO) == 1) {
    throw UsageError("no text; name a file, or give the text with --context or on standard input");
  }
}

std::vector<TextSource> read_sources(const AskArguments& arguments) {
  if (arguments.has_context) {
    std::vector<TextSource> sources;
    sources.push_back(command_line_text(arguments.context));
    return sources;
  }
  return read_texts(arguments.files.empty() ? std::vector<std::string>{"-"} : arguments.files);
}

// The texts of the sources move into documents: a large text is not kept twice.
std::vector<Document> prepare_documents(const Reader& reader, std::vector<TextSource>& sources) {
  std::vector<Document> documents;
  documents.reserve(sources.size());
  for (TextSource& source : sources) {
    documents.push_back(reader.prepare(std::move(source.text), source.display_name()));
  }
  return documents;
}

// Answers one question, with a progress line if it takes long.
AskResult answer(const Reader& reader, const std::string& question, std::span<const Document> documents,
                 AskOptions options) {
  ProgressLine line(true);
  options.cancel = &interrupt_flag();
  options.progress = [&](std::size_t done, std::size_t total) {
    if (!line.due() || done == 0) return;
    const double left =
        line.seconds() / static_cast<double>(done) * static_cast<double>(total > done ? total - done : 0);
    line.update("reading " + progress_bar(done, total) + ", about " + duration_text(left) + " left");
  };
  return reader.ask(question, documents, options);
}

// A line that says how far the model has come, instead of an answer that was not checked yet.
WrittenAnswer write_answer(const GenerativeReader& writer, const std::string& question,
                           const std::vector<Document>& documents, WriteOptions options) {
  ProgressLine line(true);
  std::string text;
  options.generate.cancel = &interrupt_flag();
  options.generate.on_text = [&](std::string_view piece) {
    text += piece;
    if (line.due()) line.update("writing: " + std::to_string(text.size()) + " bytes");
  };
  return writer.answer(question, documents, options);
}

void run_generate(const AskArguments& arguments, Program& program) {
  if (arguments.questions.empty()) throw UsageError("no question; give one with -q");
  const std::filesystem::path model = find_language_model(arguments.model.model);
  std::vector<TextSource> sources = read_sources(arguments);
  std::optional<InterruptAtOnce> at_once(std::in_place);
  // What is said of threads and instruction sets is meant for both.
  ModelArguments reader_model = arguments.model;
  reader_model.model = arguments.reader;
  reader_model.precision = "auto";
  GenerationArguments generation;
  generation.model = arguments.model;
  generation.chat_template = arguments.chat_template;
  const Reader reader = Reader::load(find_reader(arguments.reader), reader_options(reader_model));
  const std::vector<Document> documents = prepare_documents(reader, sources);
  const GenerativeReader writer(reader, Generator::load(model, generator_options(generation)));
  at_once.reset();
  ViewOptions view;
  if (!arguments.json) {
    use_utf8_locale();
    view = {.style = make_style(use_color(program.color, STDOUT_FILENO)), .width = wrap_width(STDOUT_FILENO)};
  }
  for (std::size_t i = 0; i < arguments.questions.size(); ++i) {
    const Asked asked{arguments.questions[i], Decode::kKvasir, documents, sources};
    const WrittenAnswer answer =
        write_answer(writer, arguments.questions[i], documents, {.max_passages = arguments.max_passages});
    std::string& out = program.out.buffer();
    if (arguments.json) {
      append_json_answer(out, asked, answer);
    } else {
      if (i > 0) out += '\n';
      append_human_answer(out, asked, answer, view);
    }
    program.out.flush();
  }
}

void run_prompt(const Reader& reader, std::span<const Document> documents,
                std::span<const TextSource> sources, const AskOptions& options, const ViewOptions& view,
                Output& out) {
  Prompt prompt;
  out.write(
      "Ask about " +
      (sources.size() == 1 ? sources.front().display_name() : std::to_string(sources.size()) + " files") +
      ". Ctrl-D leaves, :help tells more.\n");
  out.flush();
  while (const std::optional<std::string> line = prompt.read_question()) {
    clear_interrupt();
    try {
      check_utf8(*line, "the question");
      const Asked asked{*line, options.decode, documents, sources};
      append_human_result(out.buffer(), asked, answer(reader, *line, documents, options), view);
    } catch (const Error& error) {
      // What is wrong with one question does not end the conversation.
      out.write(error.code() == ErrorCode::kCancelled ? "stopped\n" : std::string(error.what()) + '\n');
      clear_interrupt();
    }
    out.write("\n");
    out.flush();
  }
}

void run_ask(const AskArguments& arguments, Program& program) {
  check_arguments(arguments);
  if (arguments.generate) {
    run_generate(arguments, program);
    return;
  }
  if (!arguments.reader.empty() || !arguments.chat_template.empty()) {
    throw UsageError("--reader and --chat-template go with --generate");
  }
  std::vector<TextSource> sources = read_sources(arguments);
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const Reader reader = Reader::load(find_model(arguments.model.model), reader_options(arguments.model));
  const std::vector<Document> documents = prepare_documents(reader, sources);
  at_once.reset();
  const AskOptions options = ask_options(arguments.decode);

  ViewOptions view;
  if (!arguments.json) {
    use_utf8_locale();
    view = {.style = make_style(use_color(program.color, STDOUT_FILENO)), .width = wrap_width(STDOUT_FILENO)};
  }
  if (arguments.questions.empty()) {
    run_prompt(reader, documents, sources, options, view, program.out);
    return;
  }
  for (std::size_t i = 0; i < arguments.questions.size(); ++i) {
    const std::string& question = arguments.questions[i];
    const Asked asked{question, options.decode, documents, sources};
    const AskResult result = answer(reader, question, documents, options);
    std::string& out = program.out.buffer();
    if (arguments.json) {
      append_json_result(out, asked, result);
    } else {
      if (i > 0) out += '\n';
      if (arguments.questions.size() > 1) {
        out += std::string(view.style.bold) + printable(question) + std::string(view.style.reset) + '\n';
      }
      append_human_result(out, asked, result, view);
    }
    program.out.flush();  // an answer is shown when it is there
  }
}

}  // namespace

void add_ask(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<AskArguments>();
  CLI::App* command = app.add_subcommand("ask", "Answer questions out of texts");
  command->fallthrough();
  command->footer(kFooter);
  // Raw words: the parser's conversion to a list would take "[a,b]" apart and drop "{}".
  command
      ->add_option(
          "-q,--question",
          [arguments](const CLI::results_t& words) {
            arguments->questions = words;
            return true;
          },
          "A question; may be given several times")
      ->option_text("TEXT")
      ->type_size(1)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option(
          "FILE",
          [arguments](const CLI::results_t& words) {
            arguments->files = words;
            return true;
          },
          "File or folder to search; - is standard input")
      ->option_text("[FILE|-]...")
      ->type_size(1)
      ->expected(kMaxFiles)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option(
          "--context",
          [arguments](const CLI::results_t& words) {
            arguments->context = words.back();
            arguments->has_context = true;
            return true;
          },
          "The text itself, instead of a file")
      ->option_text("TEXT");
  command->add_option("-k,--top-k", arguments->decode.options.top_k, "Answers to give (default: 1)")
      ->option_text("N");
  command->add_flag("--json", arguments->json, "One line of JSON per question, for machines");
  const char* const writing = "Written answers";
  command
      ->add_flag("--generate", arguments->generate,
                 "Let the language model of --model write the answer from the passages that matter")
      ->group(writing);
  command
      ->add_option(
          "--reader", arguments->reader,
          "Model that finds the passages and checks the answer (default: the one that ships with kvasir)")
      ->option_text("MODEL")
      ->group(writing);
  command->add_option("--max-passages", arguments->max_passages, "Passages to write from (default: 5)")
      ->option_text("N")
      ->check(CLI::Range(1, 100))
      ->group(writing);
  command
      ->add_option("--chat-template", arguments->chat_template,
                   "How the request becomes a prompt; see kvasir help chat")
      ->option_text("NAME|FILE")
      ->group(writing);
  add_decode_options(*command, arguments->decode, "kvasir");
  add_model_options(*command, arguments->model);
  command->callback([arguments, &program] {
    program.command = "ask";
    program.action = [arguments, &program] { run_ask(*arguments, program); };
  });
}

}  // namespace kvasir::cli
