// kvasir chat: a conversation with a language model.
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/json.h"
#include "command.h"
#include "generation_options.h"
#include "interrupt.h"
#include "json_output.h"
#include "prompt.h"
#include "text_source.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(On a terminal, kvasir asks for what you have to say until Ctrl-D; a line that
ends with a backslash goes on in the next one. Ctrl-C stops the answer. Else
standard input is one message, and the answer goes to standard output.

  /system TEXT   tell the model how to behave, from the beginning
  /save FILE     write the conversation (a JSON list of role and content)
  /load FILE     go on with one
  /reset         forget the conversation
  /help, /quit

Examples:
  kvasir chat -m models/vicuna-7b-v1.5
  kvasir chat -m llama-2-7b-chat.Q4_0.gguf --system "Answer in one sentence."
  kvasir chat -m openai://localhost:8000/meta-llama/Llama-2-7b-chat-hf
  echo "Why is the sky blue?" | kvasir chat -m models/mpt-7b-chat)";

constexpr const char* kHelp =
    "/system TEXT  how the model should behave     /save FILE  write the conversation\n"
    "/reset        forget the conversation         /load FILE  go on with one\n"
    "/quit         leave; Ctrl-D too               Ctrl-C      stops the answer\n"
    "A line that ends with \\ goes on in the next one.\n";

struct ChatArguments {
  std::string system, load;
  GenerationArguments generation;
};

std::vector<ChatMessage> read_conversation(const std::string& path) {
  const base::json::value document = base::parse_json_file(path);
  const base::json::array* list = document.if_array();
  if (list == nullptr) throw Error(ErrorCode::kFormat, path + ": not a list of messages");
  std::vector<ChatMessage> messages;
  for (const base::json::value& value : *list) {
    const base::JsonObject message(value, path + ": message " + std::to_string(messages.size()));
    messages.push_back({.role = message.string("role"), .content = message.string("content")});
  }
  return messages;
}

void write_conversation(const std::string& path, const std::vector<ChatMessage>& messages) {
  std::string text = "[";
  for (const ChatMessage& message : messages) {
    text += text.size() > 1 ? ",\n {\"role\":" : "\n {\"role\":";
    append_json_string(text, message.role);
    text += ",\"content\":";
    append_json_string(text, message.content);
    text += '}';
  }
  text += "\n]\n";
  base::AtomicFile file(path);
  file.write(text);
  file.commit();
}

void set_system(std::vector<ChatMessage>& messages, const std::string& text) {
  if (!messages.empty() && messages.front().role == "system") messages.erase(messages.begin());
  if (!text.empty()) messages.insert(messages.begin(), {.role = "system", .content = text});
}

class Chat {
 public:
  Chat(const Generator& generator, GenerateOptions options, Output& out)
      : generator_(generator), options_(std::move(options)), out_(out) {
    options_.cancel = &interrupt_flag();
  }

  std::vector<ChatMessage> messages;

  // Answers the last message, and keeps the answer, also one that was stopped. Throws what generating throws;
  // then the message is forgotten.
  void answer(bool to_terminal) {
    std::string written;
    options_.on_text = [&](std::string_view text) {
      // Models begin with a space, or a line.
      if (written.empty()) text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
      written += text;
      try {
        out_.write(to_terminal ? for_terminal(text) : std::string(text));
        out_.flush();
      } catch (const Interrupted&) {  // ends the answer, by options_.cancel, and not the program
      }
    };
    GenerateResult result;
    try {
      result = generator_.chat(messages, options_);
      out_.write("\n");
      out_.flush();
      tell_speed(result);
    } catch (const Error& error) {
      if (!written.empty()) out_.write("\n");
      if (error.code() != ErrorCode::kCancelled || written.empty()) {
        messages.pop_back();
        throw;
      }
    }
    written.erase(written.find_last_not_of(" \n") + 1);
    messages.push_back({.role = "assistant", .content = written});
    check_finished(options_, result);
  }

  // "/save x"; false: leave.
  bool command(const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
    rest.erase(0, rest.find_first_not_of(' '));
    if (name == "/quit" || name == "/exit") return false;
    if (name == "/help") {
      out_.write(kHelp);
    } else if (name == "/reset") {
      std::erase_if(messages, [](const ChatMessage& message) { return message.role != "system"; });
    } else if (name == "/system") {
      set_system(messages, rest);
    } else if ((name == "/save" || name == "/load") && rest.empty()) {
      out_.write(name + " needs the name of a file\n");
    } else if (name == "/save") {
      write_conversation(rest, messages);
      out_.write(std::to_string(messages.size()) + " messages written to " + rest + '\n');
    } else if (name == "/load") {
      messages = read_conversation(rest);
      out_.write(std::to_string(messages.size()) + " messages\n");
    } else {
      out_.write("unknown command; /help lists them\n");
    }
    return true;
  }

  void converse() {
    Prompt prompt({.text = "> ", .history = "chat-history"});
    out_.write("Ctrl-D leaves, Ctrl-C stops an answer, /help tells more.\n");
    out_.flush();
    while (const std::optional<std::string> line = prompt.read_line()) {
      clear_interrupt();
      try {
        check_utf8(*line, "the message");
        if (line->front() == '/') {
          if (!command(*line)) return;
        } else {
          messages.push_back({.role = "user", .content = *line});
          answer(true);
        }
      } catch (const Error& error) {
        // What is wrong with one message does not end the conversation.
        out_.write(error.code() == ErrorCode::kCancelled ? "stopped\n" : std::string(error.what()) + '\n');
      }
      clear_interrupt();
      out_.flush();
    }
  }

 private:
  const Generator& generator_;
  GenerateOptions options_;
  Output& out_;
};

void run_chat(const ChatArguments& arguments, Program& program) {
  GenerateOptions options = generate_options(arguments.generation);
  if (options.num_beams > 1 || options.num_return_sequences > 1) {
    throw UsageError(
        "a conversation has one answer; --num-beams and --num-return-sequences are for generate");
  }
  const std::filesystem::path model = find_language_model(arguments.generation.model.model);
  options.json_schema = read_json_schema(arguments.generation, model, true);
  std::vector<ChatMessage> messages;
  if (!arguments.load.empty()) messages = read_conversation(arguments.load);
  check_utf8(arguments.system, "the text of --system");
  if (!arguments.system.empty()) set_system(messages, arguments.system);
  const bool converses = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  if (!converses) {
    std::string text = read_plain_input().text;
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
    if (text.empty()) throw UsageError("standard input is empty; write a message there");
    messages.push_back({.role = "user", .content = std::move(text)});
  }
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const Generator generator = Generator::load(model, generator_options(arguments.generation));
  at_once.reset();
  Chat chat(generator, options, program.out);
  chat.messages = std::move(messages);
  if (converses) {
    chat.converse();
  } else {
    chat.answer(::isatty(STDOUT_FILENO) == 1);
    check_interrupt();
  }
}

}  // namespace

void add_chat(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<ChatArguments>();
  CLI::App* command = app.add_subcommand("chat", "Converse with a language model");
  command->fallthrough();
  command->footer(kFooter);
  command->add_option("--system", arguments->system, "How the model should behave")->option_text("TEXT");
  command->add_option("--load", arguments->load, "Go on with a conversation that /save wrote")
      ->option_text("FILE")
      ->check(names_a_file());
  add_generation_options(*command, arguments->generation);
  add_chat_template_option(*command, arguments->generation);
  command->callback([arguments, &program] {
    program.command = "chat";
    program.action = [arguments, &program] { run_chat(*arguments, program); };
  });
}

}  // namespace kvasir::cli
