// kvasir pull: a model from the hub into the cache.
#include <algorithm>
#include <memory>
#include <string>

#include "command.h"
#include "hub_options.h"
#include "kvasir/hub.h"
#include "progress.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(Fetches config.json, the tokenizer's files and the weights (safetensors if there
are any) into the cache that all Hugging Face programs share, verifies them, and
prints the folder. What is there already is not fetched again; what was begun is
continued. Afterwards --model takes the id.

Environment:
  HF_HUB_CACHE            the cache (default: HF_HOME/hub)
  HF_HOME                 (default: ~/.cache/huggingface)
  HF_ENDPOINT             the hub's address
  HF_TOKEN                for private and gated models
  HF_HUB_OFFLINE          1: never ask the hub, use what is in the cache

Examples:
  kvasir pull deepset/minilm-uncased-squad2
  kvasir pull bert-large-uncased-whole-word-masking-finetuned-squad)";

struct PullArguments {
  std::string model, revision;
  bool quiet = false;
};

// "model.safetensors [####....]  43 %  39.1 MB of 90.9 MB, 8.2 MB/s, 6 s left"
class FileBar {
 public:
  explicit FileBar(bool enabled) : enabled_(enabled) {}

  void update(const FileProgress& file) {
    if (file.name != name_) {
      line_ = std::make_unique<ProgressLine>(enabled_);
      name_ = file.name;
      first_ = file.done;  // what an earlier call fetched says nothing of the speed
    }
    if (file.done == file.total) {
      line_->clear();
      return;
    }
    if (!line_->due()) return;
    const double seconds = line_->seconds();
    const double speed =
        seconds > 0 ? static_cast<double>(file.done - std::min(first_, file.done)) / seconds : 0;
    std::string text = printable(file.name) + " " + progress_bar(file.done, file.total) + "  " +
                       size_text(file.done) + " of " + size_text(file.total);
    if (speed > 0) {
      text += ", " + size_text(static_cast<std::uint64_t>(speed)) + "/s, " +
              duration_text(static_cast<double>(file.total - file.done) / speed) + " left";
    }
    line_->update(text);
  }

 private:
  bool enabled_;
  std::unique_ptr<ProgressLine> line_;
  std::string name_;
  std::uint64_t first_ = 0;
};

void run_pull(const PullArguments& arguments, Program& program) {
  std::string name = arguments.model;
  if (!arguments.revision.empty()) name = name.substr(0, name.find('@')) + "@" + arguments.revision;
  FileBar bar(!arguments.quiet);
  HubOptions options = hub_options();
  options.progress = [&](const FileProgress& file) {
    bar.update(file);
    if (file.done != file.total || arguments.quiet) return;
    program.out.write(printable(file.name) + "  " + size_text(file.total) +
                      (file.cached ? "  (was there)" : "") + "\n");
    program.out.flush();
  };
  const PulledModel model = pull_model(name, options);
  program.out.write(printable(model.folder.string()) + "\n");
}

}  // namespace

void add_pull(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<PullArguments>();
  CLI::App* command = app.add_subcommand("pull", "Fetch a model from the Hugging Face hub");
  command->fallthrough();
  command->footer(kFooter);
  command->add_option("ID", arguments->model, "ORGANISATION/NAME or NAME, with @REVISION if not main")
      ->option_text("ID")
      ->required();
  command->add_option("--revision", arguments->revision, "Branch, tag or commit (default: main)")
      ->option_text("REV");
  command->add_flag("--quiet", arguments->quiet, "Print the folder only");
  command->callback([arguments, &program] {
    program.command = "pull";
    program.action = [arguments, &program] { run_pull(*arguments, program); };
  });
}

}  // namespace kvasir::cli
