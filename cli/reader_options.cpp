#include "reader_options.h"

#include <cstdlib>

#include "base/cpu.h"

namespace kvasir::cli {

namespace {
constexpr int kMaxThreads = 1024;
}

void add_model_options(CLI::App& command, ModelArguments& arguments) {
  const char* const group = "Model";
  command
      .add_option(
          "-m,--model", arguments.model,
          "Model: a folder as Hugging Face has them, or the id of one that was fetched with kvasir pull "
          "(default: KVASIR_MODEL, else the model that ships with kvasir)")
      ->option_text("MODEL")
      ->group(group);
  command
      .add_option("--threads", arguments.threads,
                  "Worker threads (default: 0, one per core that the process may use)")
      ->option_text("N")
      ->check(CLI::Range(0, kMaxThreads))
      ->group(group);
  command
      .add_option("--isa", arguments.isa,
                  "Instruction set: scalar, avx2 or avx512 (default: KVASIR_ISA, else the best there is)")
      ->option_text("NAME")
      ->check(CLI::IsMember({"scalar", "avx2", "avx512"}))
      ->group(group);
  command
      .add_option(
          "--precision", arguments.precision,
          "What matrix products are computed in: fp32; bf16 where the processor has it; int8, which is "
          "several times as fast and changes few answers; auto: as the weights are stored (default: "
          "auto)")
      ->option_text("NAME")
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "int8"}))
      ->group(group);
}

namespace {

base::Isa chosen_isa(const ModelArguments& arguments) {
  if (!arguments.isa.empty()) return base::parse_isa(arguments.isa);
  const char* name = std::getenv("KVASIR_ISA");
  return name == nullptr || *name == '\0' ? base::best_isa() : base::parse_isa(name);
}

}  // namespace

ReaderOptions reader_options(const ModelArguments& arguments) {
  return {.threads = arguments.threads,
          .isa = base::isa_name(chosen_isa(arguments)),
          .precision = arguments.precision};
}

runtime::EngineOptions engine_options(const ModelArguments& arguments) {
  return {.threads = arguments.threads,
          .isa = chosen_isa(arguments),
          .precision = models::parse_precision(arguments.precision)};
}

void add_decode_options(CLI::App& command, DecodeArguments& arguments, const std::string& default_decode) {
  const char* const group = "Decoding";
  arguments.decode = default_decode;
  const auto number = [&](const char* name, auto& variable, const char* description) {
    command.add_option(name, variable, description)->option_text("N")->group(group);
  };
  command
      .add_option(
          "--decode", arguments.decode,
          "How scores become answers. kvasir: calibrated probabilities over all windows and files; pipeline: "
          "as the question-answering pipeline of transformers; squad: as its run_qa example (default: " +
              default_decode + ")")
      ->option_text("kvasir|pipeline|squad")
      ->check(CLI::IsMember({"kvasir", "pipeline", "squad"}))
      ->group(group);
  number("--max-seq-len", arguments.options.max_seq_len,
         "Tokens of question and window together (default: 384, or the model's limit)");
  number("--doc-stride", arguments.options.doc_stride,
         "Tokens by which neighbouring windows overlap (default: 128, or half of --max-seq-len)");
  number("--max-answer-len", arguments.options.max_answer_len,
         "Tokens of an answer (default: 30; pipeline: 15)");
  command
      .add_flag("--handle-impossible-answer", arguments.options.handle_impossible_answer,
                "\"No answer\" may be the answer; it is given as an empty text")
      ->group(group);
  command
      .add_flag("--no-align-to-words", arguments.no_align_to_words,
                "kvasir, pipeline: do not widen answers to whole words")
      ->group(group);
  number("--n-best-size", arguments.options.n_best_size, "squad: candidates that are kept (default: 20)");
  command
      .add_option(
          "--null-score-diff-threshold", arguments.options.null_score_diff_threshold,
          "squad: \"no answer\" wins if its score is more than X above that of the best answer (default: 0)")
      ->option_text("X")
      ->group(group);
  command
      .add_flag(
          "--pad-to-max-length", arguments.options.pad_to_max_length,
          "pipeline, squad: run padding through the model, as run_qa does; slow, and only there to reproduce "
          "its numbers to the last digit")
      ->group(group);
}

AskOptions ask_options(const DecodeArguments& arguments) {
  AskOptions options = arguments.options;
  options.align_to_words = !arguments.no_align_to_words;
  options.decode = arguments.decode == "pipeline" ? Decode::kPipeline
                   : arguments.decode == "squad"  ? Decode::kSquad
                                                  : Decode::kKvasir;
  return options;
}

}  // namespace kvasir::cli
