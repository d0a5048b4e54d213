// kvasir: the program. Sets the process up, finds the command, turns failures into one line and an exit code.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "help.h"
#include "interrupt.h"
#include "kvasir/error.h"
#include "kvasir/log.h"
#include "train.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(Examples:
  kvasir ask -q "Where was the treaty signed?" treaty.txt
  kvasir ask letters/*.txt            asks you for questions
  kvasir ask -q "How many patients were treated?" paper.pdf
  kvasir help ask

Environment:
  KVASIR_MODEL            model folder or id to use when --model is not given
  KVASIR_ISA              instruction set: scalar, avx2, avx512 (default: best)
  HF_HOME, HF_HUB_CACHE   where fetched models are; see kvasir help pull
  OPENAI_API_KEY          sent to the server of a model openai://HOST:PORT/NAME
  NO_COLOR                if set and not empty: no colour

Exit codes:
  0    done, also when the answer is "no answer"
  1    failed: a file, the model, the system; standard error says what
  2    the command line could not be understood
  130  stopped by Ctrl-C; 141: whoever read the output has gone)";

// A program that was started without one of the three standard descriptors would take the next file that it
// opens for it.
void hold_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF) ::open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
  }
}

// "help ask" means "ask --help".
std::vector<std::string> arguments(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words.front() == "help") {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  return words;
}

void set_up(CLI::App& app, Program& program) {
  app.name("kvasir");
  app.formatter(make_help_formatter());
  app.set_help_flag("-h,--help", "Show this help and leave");
  app.set_version_flag("--version", "kvasir " KVASIR_VERSION, "Show the version and leave");
  app.add_option_function<std::string>(
         "--color",
         [&program](const std::string& when) {
           program.color = when == "always"  ? ColorMode::kAlways
                           : when == "never" ? ColorMode::kNever
                                             : ColorMode::kAuto;
         },
         "Colour: auto (on a terminal), always, never")
      ->option_text("WHEN")
      ->check(CLI::IsMember({"auto", "always", "never"}));
  app.footer(kFooter);
  app.require_subcommand(1);
  add_ask(app, program);
  add_embed(app, program);
  add_rerank(app, program);
  add_generate(app, program);
  add_chat(app, program);
  add_train(app, program);
  add_merge(app, program);
  add_eval(app, program);
  add_tokenize(app, program);
  add_logits(app, program);
  add_bench(app, program);
  add_pull(app, program);
  add_list(app, program);
  add_show(app, program);
  add_quantize(app, program);
  add_rm(app, program);
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    command->group("Commands");
}

// What was answered before a failure is not lost by it.
void perform(Program& program) {
  try {
    program.action();
  } catch (const Error&) {
    program.out.flush();
    throw;
  }
}

int run(const std::vector<std::string>& words) {
  CLI::App app("Answers questions with pre-trained language models, natively.");
  Program program{.action = {}, .command = {}, .color = ColorMode::kAuto, .out = Output(STDOUT_FILENO)};
  program.words = words;
  set_up(app, program);
  if (words.empty()) {
    complain("no command; see kvasir --help");
    return kExitUsage;
  }
  try {
    const std::vector<std::string> all = with_config_file(words);
    app.parse(std::vector<std::string>(all.rbegin(), all.rend()));
    perform(program);
  } catch (const CLI::CallForHelp& call) {
    if (app.get_subcommands().empty() && !app.remaining().empty()) {  // "kvasir help nonsense"
      complain(explain_parse_error(app, call));
      return kExitUsage;
    }
    program.out.write(app.help());
  } catch (const CLI::CallForVersion& version) {
    program.out.write(std::string(version.what()) + "\n");
  } catch (const CLI::ParseError& error) {
    complain(explain_parse_error(app, error));
    return kExitUsage;
  } catch (const UsageError& error) {
    complain(std::string(error.what()) + "; see kvasir " + program.command + " --help");
    return kExitUsage;
  }
  program.out.flush();
  // A file on a network may report only now that it could not be written.
  if (::close(STDOUT_FILENO) != 0 && errno != EBADF) throw OutputFailed{errno};
  return kExitOk;
}

int guarded_main(int argc, char** argv) {
  try {
    return run(arguments(argc, argv));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) return 128 + interrupt_signal();
    complain(error.what());
  } catch (const Interrupted& interrupted) {
    return 128 + interrupted.signal;
  } catch (const OutputFailed& failed) {
    if (failed.error == EPIPE) return 128 + SIGPIPE;
    complain(std::string("standard output: write failed: ") + std::strerror(failed.error));
  } catch (const std::bad_alloc&) {
    complain("out of memory; give it a smaller text or a smaller model");
  } catch (const std::exception& error) {
    complain(std::string("internal error: ") + error.what());
  }
  return kExitFailed;
}

}  // namespace

}  // namespace kvasir::cli

int main(int argc, char** argv) {
  kvasir::cli::hold_standard_descriptors();
  kvasir::cli::install_interrupt_handlers();
  kvasir::set_log_sink(
      [](kvasir::LogLevel, std::string_view line) { kvasir::cli::complain(std::string(line)); });
  return kvasir::cli::guarded_main(argc, argv);
}
