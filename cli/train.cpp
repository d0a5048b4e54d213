// kvasir train: a model learns to answer questions.
#include "train.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "command.h"
#include "interrupt.h"
#include "kvasir/trainer.h"
#include "model_location.h"
#include "progress.h"
#include "train/config_file.h"
#include "train/learning_curves.h"
#include "train/training_data.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(MODEL is a pre-trained encoder such as bert-base-uncased, or a reader that is
to learn more. The result in DIR is an ordinary model folder for kvasir ask and
for transformers; its README.md tells how it was made.

Training files are SQuAD v1.1 or v2.0, Hugging Face's flat rows (JSON lines)
or MRQA's; FILE=0.5 takes a random half of it in each epoch. Rows that cannot be
right are left out, counted and named.

Options mean what they mean in Hugging Face's Trainer and run_qa. --config reads
them from a YAML or JSON file; what stands on the command line goes first.

Ctrl-C saves a checkpoint and ends; --resume-from-checkpoint true goes on with
the newest one in DIR, and ends with the very weights that the whole run gives.

--train-batches trains on ready-made batches in a safetensors file: input_ids,
attention_mask, token_type_ids (may be left out) [steps, batch, length],
start_positions and end_positions [steps, batch].

Examples:
  kvasir train qa -m bert-base-uncased --train-file train-v1.1.json
    --validation-file dev-v1.1.json --output-dir my-reader
  kvasir train qa -m my-reader --train-file mine.jsonl --learning-rate 1e-5
    --num-train-epochs 2 --output-dir better
  kvasir train qa -m bert-base-uncased --train-file train.json --lora-r 8
    --output-dir adapter
  kvasir train qa --config run.yaml --output-dir out --resume-from-checkpoint true)";

struct TrainArguments {
  TrainOptions options;
  std::string config;  // read before the command line is parsed, see with_config_file()
  std::vector<std::string> train_files;
  std::string eval_strategy = "epoch", save_strategy = "epoch", lora_targets = "query,value", group = "true";
  bool no_dropout = false;
};

IntervalStrategy strategy(const std::string& name) {
  return name == "no"      ? IntervalStrategy::kNo
         : name == "steps" ? IntervalStrategy::kSteps
                           : IntervalStrategy::kEpoch;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    if (end > begin) parts.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// "(default: 5e-05)"
template <class Value>
std::string with_default(const std::string& what, const Value& value) {
  std::ostringstream text;
  text << what << " (default: " << value << ")";
  return text.str();
}

// Options of one group of --help.
struct OptionGroup {
  CLI::App& command;
  const char* name;

  // One that is told with its default: NAME VALUE.
  template <class Value>
  CLI::Option* add(const char* option, Value& value, const char* what, const char* word = "N") const {
    return command.add_option(option, value, with_default(what, value))->option_text(word)->group(name);
  }
  // One that is not there by default.
  template <class Value>
  CLI::Option* add_plain(const char* option, Value& value, const char* what, const char* word) const {
    return command.add_option(option, value, what)->option_text(word)->group(name);
  }
  void add_flag(const char* option, bool& value, const char* what) const {
    command.add_flag(option, value, what)->group(name);
  }
};

void add_files(CLI::App& command, TrainArguments& a) {
  TrainOptions& o = a.options;
  command.add_option("-m,--model", o.model, "Model to start from: a folder or an id")
      ->option_text("MODEL")
      ->required();
  command.add_option("--train-file", a.train_files, "Questions to learn from; FILE=W weighs it")
      ->option_text("FILE...");
  command.add_option("--validation-file", o.validation_file, "SQuAD file to evaluate with")
      ->option_text("FILE");
  command.add_option("--output-dir", o.output_dir, "Folder for the model and its checkpoints")
      ->option_text("DIR")
      ->required();
  command.add_option("--train-batches", o.train_batches, "Ready-made batches instead of files")
      ->option_text("FILE");
  command.add_option("--log-json", o.log_json, "Write a line for each step")->option_text("FILE");
  command.add_option("--config", a.config, "YAML or JSON file with options")->option_text("FILE");
}

void add_course(CLI::App& command, TrainArguments& a) {
  TrainOptions& o = a.options;
  const OptionGroup course{command, "Course"};
  course.add("--learning-rate", o.learning_rate, "Highest learning rate");
  course.add("--num-train-epochs", o.num_train_epochs, "Passes over the data");
  course.add("--max-steps", o.max_steps, "Steps instead of epochs, if not 0");
  course.add("--per-device-train-batch-size", o.per_device_train_batch_size, "Windows of a batch");
  course.add("--batch-tokens", o.batch_tokens, "Tokens of a batch instead, if not 0");
  course.add("--gradient-accumulation-steps", o.gradient_accumulation_steps, "Batches of a step");
  course.add("--warmup-ratio", o.warmup_ratio, "Share of the steps in which the rate rises");
  course.add("--warmup-steps", o.warmup_steps, "Steps in which it rises instead, if not 0");
  course.add("--weight-decay", o.weight_decay, "Of all but biases and norms");
  course.add("--adam-beta1", o.adam_beta1, "AdamW's mean of gradients");
  course.add("--adam-beta2", o.adam_beta2, "AdamW's mean of squares");
  course.add("--adam-epsilon", o.adam_epsilon, "AdamW's least divisor");
  course.add("--max-grad-norm", o.max_grad_norm, "Gradients are clipped to it; 0: never");
  course.add("--lr-scheduler-type", o.lr_scheduler_type, "linear, cosine or constant", "NAME")
      ->check(CLI::IsMember({"linear", "cosine", "constant"}));
  course.add("--layerwise-lr-decay", o.layerwise_lr_decay, "Each layer below learns this much slower");
  course.add_plain("--freeze", o.freeze, "Tensors whose names match do not learn", "REGEX...");
  course.add("--ema", o.ema, "Save the moving average of the weights with this decay");
  course.add("--seed", o.seed, "Of dropout and of a new head");
  course.add("--data-seed", o.data_seed, "Of the order of the data; 0: as --seed");
  course.add_flag("--no-dropout", a.no_dropout, "Without the dropout that config.json asks for");
  course.add("--max-seq-length", o.max_seq_length, "Tokens of a window");
  course.add("--doc-stride", o.doc_stride, "Tokens by which windows overlap");
  course.add("--group-by-length", a.group, "Windows of like length together: true or false", "BOOL")
      ->check(CLI::IsMember({"true", "false"}));
}

void add_checkpoints(CLI::App& command, TrainArguments& a) {
  TrainOptions& o = a.options;
  const OptionGroup checkpoints{command, "Evaluation and checkpoints"};
  const auto strategies = CLI::IsMember({"no", "steps", "epoch"});
  checkpoints.add("--logging-steps", o.logging_steps, "Steps between entries of the history");
  checkpoints.add("--eval-strategy", a.eval_strategy, "no, steps or epoch", "WHEN")->check(strategies);
  checkpoints.add("--eval-steps", o.eval_steps, "Steps between evaluations");
  checkpoints.add("--save-strategy", a.save_strategy, "no, steps or epoch", "WHEN")->check(strategies);
  checkpoints.add("--save-steps", o.save_steps, "Steps between checkpoints");
  checkpoints.add("--save-total-limit", o.save_total_limit, "Checkpoints that are kept; 0: all");
  checkpoints.add_flag("--load-best-model-at-end", o.load_best_model_at_end,
                       "The result is the best model, not the last");
  checkpoints.add("--metric-for-best-model", o.metric_for_best_model, "What the best is judged by", "NAME");
  checkpoints.add("--early-stopping-patience", o.early_stopping_patience,
                  "Evaluations without gain before it ends; 0: never");
  checkpoints.add_plain("--resume-from-checkpoint", o.resume_from_checkpoint,
                        "A checkpoint's folder; true: the newest in DIR", "DIR");
}

void add_methods(CLI::App& command, TrainArguments& a) {
  TrainOptions& o = a.options;
  const OptionGroup lora{command, "LoRA"};
  lora.add_plain("--lora-r", o.lora_r, "Rank of the adapters; 0: all weights learn", "N");
  lora.add("--lora-alpha", o.lora_alpha, "Their factor is alpha / r");
  lora.add("--lora-dropout", o.lora_dropout, "Of what they read", "P");
  lora.add("--lora-target-modules", a.lora_targets, "Matrices that get one, by the ends of their names",
           "A,B");
  lora.add_plain("--adapter", o.adapter, "Adapter to start from, as PEFT writes them", "DIR");
  const OptionGroup distillation{command, "Distillation"};
  distillation.add_plain("--teacher", o.teachers, "Readers to learn from; of several, their mean",
                         "MODEL...");
  distillation.add_plain("--teacher-logits", o.teacher_logits, "Their logits for --train-batches", "FILE");
  distillation.add("--distil-alpha", o.distil_alpha, "Share of the teachers in the loss");
  distillation.add("--distil-temperature", o.distil_temperature, "By which logits are divided");
  const OptionGroup machine{command, "Machine"};
  machine.add("--threads", o.threads, "Threads; 0: one per core that the process may use");
  machine
      .add_plain("--isa", o.isa,
                 "Instruction set: scalar, avx2 or avx512 (default: KVASIR_ISA, else the best there is)",
                 "NAME")
      ->envname("KVASIR_ISA");
}

// "epoch 1.25, step 250/400, loss 1.234, rate 2.3e-05, 2810 tokens/s, 3 min 20 s left"
std::string step_line(const TrainStep& step, double mean_loss) {
  char text[160];
  std::snprintf(text, sizeof text, " %llu/%llu, loss %.3f, rate %.1e, %.0f tokens/s, %s left",
                static_cast<unsigned long long>(step.step), static_cast<unsigned long long>(step.total_steps),
                mean_loss, step.learning_rate, step.tokens_per_second,
                duration_text(step.seconds_left).c_str());
  return text;
}

void train(TrainArguments& arguments, const Program& program) {
  TrainOptions& o = arguments.options;
  for (const std::string& file : arguments.train_files) {
    const train::TrainingFile parsed = train::parse_training_file(file);
    o.train_files.push_back({.path = parsed.path.string(), .weight = parsed.weight});
  }
  o.eval_strategy = strategy(arguments.eval_strategy);
  o.save_strategy = strategy(arguments.save_strategy);
  o.lora_target_modules = split(arguments.lora_targets);
  o.group_by_length = arguments.group == "true";
  o.dropout = !arguments.no_dropout;
  o.cancel = &interrupt_flag();
  o.command = program.words;
  o.command.insert(o.command.begin(), "kvasir");
  ProgressLine line(true);
  double mean_loss = 0;
  o.on_step = [&](const TrainStep& step) {
    mean_loss = step.step <= 1 || mean_loss == 0 ? step.loss : 0.95 * mean_loss + 0.05 * step.loss;
    if (line.due()) {
      line.update(
          progress_bar(static_cast<std::size_t>(step.step), static_cast<std::size_t>(step.total_steps)) +
          step_line(step, mean_loss));
    }
  };
  o.on_message = [&](const std::string& message) {
    line.clear();
    complain(message);
  };
  const TrainResult result = train_qa(o);
  line.clear();
  if (result.interrupted) throw Interrupted{interrupt_signal()};
  char text[96];
  std::snprintf(text, sizeof text, "%llu step%s, mean loss %.4f; the model is in ",
                static_cast<unsigned long long>(result.steps), result.steps == 1 ? "" : "s",
                result.train_loss);
  complain(text + o.output_dir);
}

void add_train_qa(CLI::App& train_command, Program& program) {
  auto arguments = std::make_shared<TrainArguments>();
  CLI::App* command =
      train_command.add_subcommand("qa", "Fine-tune a model for extractive question answering");
  command->fallthrough();
  command->footer(kFooter);
  add_files(*command, *arguments);
  add_course(*command, *arguments);
  add_checkpoints(*command, *arguments);
  add_methods(*command, *arguments);
  command->callback([arguments, &program] {
    program.command = "train qa";
    program.action = [arguments, &program] { train(*arguments, program); };
  });
}

void add_train_plot(CLI::App& train_command, Program& program) {
  auto folders = std::make_shared<std::vector<std::string>>();
  auto out = std::make_shared<std::string>();
  CLI::App* command = train_command.add_subcommand("plot", "Draw a run's learning curves");
  command->fallthrough();
  command->footer(
      "Writes loss, learning rate and scores of runs, finished or not, as SVG: several\n"
      "in one picture.\n\n"
      "Example:\n  kvasir train plot my-reader another --out curves.svg");
  command->add_option("dir", *folders, "Folders that kvasir train qa writes to")
      ->option_text("DIR...")
      ->required();
  command->add_option("--out", *out, "File to write (default: learning-curves.svg in the first)")
      ->option_text("FILE")
      ->check(names_a_file());
  command->callback([folders, out, &program] {
    program.command = "train plot";
    program.action = [folders, out] {
      const std::string path = out->empty() ? folders->front() + "/learning-curves.svg" : *out;
      const std::vector<std::filesystem::path> paths(folders->begin(), folders->end());
      train::write_learning_curves(paths, path);
      complain("wrote " + path);
    };
  });
}

}  // namespace

void add_train(CLI::App& app, Program& program) {
  CLI::App* command = app.add_subcommand("train", "Fine-tune a model, or draw how that went");
  command->fallthrough();
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  kvasir train qa -m bert-base-uncased --train-file train.json\n"
      "    --output-dir my-reader\n"
      "  kvasir train plot my-reader");
  add_train_qa(*command, program);
  add_train_plot(*command, program);
  for (CLI::App* part : command->get_subcommands([](const CLI::App*) { return true; }))
    part->group("Commands");
}

void add_merge(CLI::App& app, Program& program) {
  struct Arguments {
    std::string model, adapter, output;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("merge", "Add a LoRA adapter to its model for good");
  command->fallthrough();
  command->footer(
      "The result is an ordinary model folder that answers as model and adapter do\n"
      "together.\n\n"
      "Example:\n  kvasir merge -m bert-base-uncased --adapter my-adapter --output-dir my-reader");
  command->add_option("-m,--model", arguments->model, "The model that the adapter was made for")
      ->option_text("MODEL")
      ->required();
  command
      ->add_option("--adapter", arguments->adapter,
                   "Folder with adapter_config.json and adapter_model.safetensors")
      ->option_text("DIR")
      ->required();
  command->add_option("--output-dir", arguments->output, "Folder to write")->option_text("DIR")->required();
  command->callback([arguments, &program] {
    program.command = "merge";
    program.action = [arguments] {
      merge_adapter(find_model(arguments->model).string(), arguments->adapter, arguments->output);
      complain("wrote " + arguments->output);
    };
  });
}

std::vector<std::string> with_config_file(const std::vector<std::string>& words) {
  const bool trains = words.size() > 2 && words[0] == "train" && words[1] == "qa";
  std::string path;
  for (std::size_t i = 2; trains && i < words.size(); ++i) {
    if (words[i] == "--config" && i + 1 < words.size()) path = words[i + 1];
    if (words[i].starts_with("--config=")) path = words[i].substr(9);
  }
  if (path.empty()) return words;
  const auto is_given = [&](const std::string& option) {
    return std::ranges::any_of(words, [&](const std::string& word) {
      return word == option || word.starts_with(option + "=") || (option == "--model" && word == "-m");
    });
  };
  std::vector<std::string> all(words.begin(), words.begin() + 2);
  for (const auto& [name, values] : train::read_config_file(path)) {
    std::string option = "--" + name;
    std::ranges::replace(option, '_', '-');
    if (is_given(option)) continue;
    const bool is_flag = option == "--load-best-model-at-end" || option == "--no-dropout";
    if (is_flag) {
      if (values == std::vector<std::string>{"true"}) all.push_back(option);
      continue;
    }
    for (const std::string& value : values) all.push_back(option + "=" + value);
  }
  all.insert(all.end(), words.begin() + 2, words.end());
  return all;
}

}  // namespace kvasir::cli
