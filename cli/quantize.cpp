// kvasir quantize: writes a reader with its matrices as bytes, or a language model as GGUF.
#include "export/quantize.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "export/gguf_export.h"
#include "interrupt.h"
#include "json_output.h"
#include "model_location.h"
#include "models/causal_lm.h"
#include "models/sentence_modules.h"
#include "progress.h"
#include "reader_options.h"
#include "text/tokenizer.h"
#include "text_source.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(MODEL and OUT stand for --model MODEL --out OUT.

A reader, sentence model or cross-encoder: OUT becomes a model folder like any
other, which ask, embed, rerank and the library compute with bytes, unless told
otherwise with --precision. It takes a quarter of the memory of fp32 and is
several times as fast. Each matrix is tried on a text first. Where its outputs
would be off by more than --max-error (root mean squares, as a share of their
size), it stays in fp16 and is computed in fp32. Use a text like those that will
be asked about; without --text a few lines of English serve. Of a sentence
model, the report ends with the cosine of its vectors with those of fp32.

A language model (Llama, Falcon, BLOOM, MPT), with --type: OUT, which ends in
.gguf, becomes one file with weights, tokenizer and chat template, which
generate, chat and llama.cpp read. Types, and bits of each weight: q4_0 and q4_k
4.5, q6_k 6.6, q8_0 8.5, f16 16, f32 32. Matrices whose rows are no whole quants
of the type get the next larger one; so does the head under a type of 4 bits.

Examples:
  kvasir quantize --model deepset/minilm-uncased-squad2 --out minilm-int8
  kvasir quantize my-reader small --text handbook.md
  kvasir eval squad --model minilm-int8 --data dev-v2.0.json
  kvasir quantize models/llama-2-7b-chat llama-q4.gguf --type q4_k)";

constexpr const char* kDefaultText =
    "The Bell Rock, eleven miles off the coast of Angus, had wrecked ships for centuries. In 1807 work began "
    "on a lighthouse of granite, 35 metres high, which was lit on 1 February 1811. Its builder, Robert "
    "Stevenson, was the grandfather of the writer; some of the men earned \u00a31 a week. \"It is a "
    "wonder\", "
    "wrote a visitor (Sir Walter Scott, in 1814), \"that it stands at all.\" Photosynthesis, by contrast, "
    "converts light into chemical energy: 6 CO2 + 6 H2O become one sugar and six molecules of oxygen. The "
    "committee met on Tuesday, approved the budget of $4.2 million, and adjourned until the third quarter. "
    "Patients who received the drug recovered faster than those in the control group, although two of them "
    "reported headaches. Press the green button for three seconds, then wait until the lamp stops blinking.";
constexpr const char* kQuestion = "When was the work finished, and who had approved it?";
// Tokens of a sample, and how many samples: what changes the errors in their second digit only.
constexpr std::size_t kSampleTokens = 256, kMaxSamples = 16;

struct QuantizeArguments {
  ModelArguments model;
  std::vector<std::string> paths;  // MODEL and OUT, in place of options
  std::string out, text, store = "int8", type;
  double max_error = 0.1;
  bool json = false;
};

std::vector<exporting::Sample> make_samples(const text::Tokenizer& tokenizer, const std::string& text) {
  const text::TokenizedText question = tokenizer.tokenize(kQuestion), tokens = tokenizer.tokenize(text);
  std::vector<exporting::Sample> samples;
  for (std::size_t begin = 0; begin < tokens.size() && samples.size() < kMaxSamples; begin += kSampleTokens) {
    const std::size_t end = std::min(tokens.size(), begin + kSampleTokens);
    text::Encoding encoding = tokenizer.join(question, {0, question.size()}, tokens, {begin, end});
    samples.push_back({.input_ids = std::move(encoding.ids), .token_type_ids = std::move(encoding.type_ids)});
  }
  return samples;
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", share * 100);
  return text;
}

std::string megabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

std::string text_report(const exporting::QuantizeReport& report, const std::string& out) {
  std::string text;
  std::size_t int8 = 0;
  for (const exporting::QuantizedLayer& layer : report.layers) {
    int8 += layer.int8 ? 1 : 0;
    const std::string error = layer.error < 0 ? "not measured" : percent(layer.error);
    const std::string store = layer.int8 ? "int8" : "fp16";
    text += "  " + store + "  " + std::string(error.size() < 12 ? 12 - error.size() : 0, ' ') + error + "  " +
            layer.name + '\n';
  }
  if (!report.layers.empty()) {
    text = "stored  error off  matrix\n" + text + std::to_string(int8) + " of " +
           std::to_string(report.layers.size()) + " matrices are int8\n";
  }
  if (report.cosine) {
    char line[96];
    std::snprintf(line, sizeof line, "cosine of vectors with those of fp32: %.5f on average, %.5f at least\n",
                  report.cosine->mean, report.cosine->least);
    text += line;
  }
  return text + out + ": " + megabytes(report.bytes_before) + " became " + megabytes(report.bytes_after) +
         '\n';
}

std::string json_head(const std::string& out, std::uint64_t before, std::uint64_t after) {
  std::string text = "{\"out\":";
  append_json_string(text, out);
  text += ",\"bytes_before\":";
  append_json_integer(text, static_cast<std::int64_t>(before));
  text += ",\"bytes_after\":";
  append_json_integer(text, static_cast<std::int64_t>(after));
  return text;
}

std::string json_report(const exporting::QuantizeReport& report, const std::string& out) {
  std::string text = json_head(out, report.bytes_before, report.bytes_after) + ",\"matrices\":[";
  for (const exporting::QuantizedLayer& layer : report.layers) {
    text += text.back() == '[' ? "{\"name\":" : ",{\"name\":";
    append_json_string(text, layer.name);
    text += ",\"error\":";
    if (layer.error < 0) {
      text += "null";
    } else {
      append_json_number(text, layer.error);
    }
    text += std::string(",\"stored\":\"") + (layer.int8 ? "int8" : "fp16") + "\"}";
  }
  text += ']';
  if (report.cosine) {
    text += ",\"cosine\":{\"mean\":";
    append_json_number(text, report.cosine->mean);
    text += ",\"least\":";
    append_json_number(text, report.cosine->least);
    text += '}';
  }
  return text + "}\n";
}

std::string text_report(const exporting::GgufExportReport& report, const std::string& out) {
  std::map<std::string, std::size_t> counts;
  for (const auto& tensor : report.tensors) ++counts[tensor::dtype_name(tensor.dtype)];
  std::string text = "stored  tensors\n";
  for (const auto& [type, count] : counts) {
    char line[64];
    std::snprintf(line, sizeof line, "  %-4s  %7zu\n", type.c_str(), count);
    text += line;
  }
  return text + out + ": " + megabytes(report.bytes_before) + " became " + megabytes(report.bytes_after) +
         '\n';
}

std::string json_report(const exporting::GgufExportReport& report, const std::string& out) {
  std::string text = json_head(out, report.bytes_before, report.bytes_after) + ",\"tensors\":[";
  for (const auto& tensor : report.tensors) {
    text += text.back() == '[' ? "{\"name\":" : ",{\"name\":";
    append_json_string(text, tensor.name);
    text += std::string(",\"stored\":\"") + tensor::dtype_name(tensor.dtype) + "\"}";
  }
  return text + "]}\n";
}

// Both are given as options, or as words in this order.
void take_paths(QuantizeArguments& arguments) {
  if (arguments.paths.size() == 1) {
    throw UsageError("OUT is missing: give both, as in kvasir quantize MODEL OUT, or use --model and --out");
  }
  if (arguments.paths.size() == 2) {
    arguments.model.model = arguments.paths[0];
    arguments.out = arguments.paths[1];
  }
  if (arguments.out.empty()) throw UsageError("--out is missing: where to write");
}

void write_gguf(const QuantizeArguments& arguments, const std::filesystem::path& folder, Program& program) {
  const std::filesystem::path out(arguments.out);
  if (out.extension() != ".gguf") {
    throw UsageError(arguments.out + ": a file of --type must end in .gguf, by which models are told apart");
  }
  ProgressLine line(!arguments.json);
  const exporting::GgufExportReport report = exporting::export_gguf(
      folder, out, {.type = *exporting::parse_gguf_type(arguments.type), .threads = arguments.model.threads},
      [&](std::size_t done, std::size_t all) {
        check_interrupt();
        if (line.due()) line.update("writing tensors " + progress_bar(done, all));
      });
  line.clear();
  program.out.write(arguments.json ? json_report(report, arguments.out) : text_report(report, arguments.out));
}

void run_quantize(QuantizeArguments& arguments, Program& program) {
  take_paths(arguments);
  const std::filesystem::path folder = find_model(arguments.model.model);
  if (!arguments.type.empty()) return write_gguf(arguments, folder, program);
  if (models::is_causal_lm(folder)) {
    throw UsageError(folder.string() +
                     ": a language model; say with --type how its weights are to be stored");
  }
  const runtime::EngineOptions engine = engine_options(arguments.model);
  const bool int8 = arguments.store == "int8";
  std::vector<exporting::Sample> samples;
  if (int8) {
    const std::string text = arguments.text.empty() ? kDefaultText : read_text(arguments.text).text;
    samples = make_samples(text::Tokenizer::load(models::encoder_folder(folder)), text);
  }
  ProgressLine line(!arguments.json);
  const exporting::QuantizeReport report = exporting::quantize(
      folder, arguments.out, samples,
      {.precision = int8 ? exporting::StoredPrecision::kInt8 : exporting::StoredPrecision::kFp16,
       .max_error = arguments.max_error,
       .threads = engine.threads,
       .isa = engine.isa},
      [&](std::size_t done, std::size_t all) {
        check_interrupt();
        if (line.due()) line.update("measuring errors " + progress_bar(done, all));
      });
  line.clear();
  program.out.write(arguments.json ? json_report(report, arguments.out) : text_report(report, arguments.out));
}

}  // namespace

void add_quantize(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<QuantizeArguments>();
  CLI::App* command = app.add_subcommand(
      "quantize", "Write a model with weights of 8 bits, or 4: smaller, and several times as fast");
  command->fallthrough();
  command->footer(kFooter);
  CLI::Option* paths = command->add_option("MODEL", arguments->paths, "Model to read, and where to write it")
                           ->option_text("[MODEL OUT]")
                           ->expected(1, 2);
  command
      ->add_option("-o,--out", arguments->out,
                   "Folder to write, new or empty; with --type a file, which is replaced")
      ->option_text("OUT")
      ->excludes(paths);
  CLI::Option* store =
      command->add_option("--store", arguments->store, "int8, or fp16 for half precision (default: int8)")
          ->option_text("NAME")
          ->check(CLI::IsMember({"int8", "fp16"}));
  command
      ->add_option("--type", arguments->type,
                   "Write a language model as GGUF: q8_0, q6_k, q4_k, q4_0, f16 or f32")
      ->option_text("NAME")
      ->check(CLI::IsMember({"q8_0", "q6_k", "q4_k", "q4_0", "f16", "f32"}))
      ->excludes(store);
  command
      ->add_option("--text", arguments->text,
                   "Document to measure errors with (default: a few lines of English)")
      ->option_text("FILE");
  command
      ->add_option("--max-error", arguments->max_error,
                   "Largest error of a matrix's outputs that int8 may have (default: 0.1)")
      ->option_text("X")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", arguments->json, "One JSON object, for machines");
  add_model_options(*command, arguments->model);
  command->get_option("--model")->excludes(paths);
  command->callback([arguments, &program] {
    program.command = "quantize";
    program.action = [arguments, &program] { run_quantize(*arguments, program); };
  });
}

}  // namespace kvasir::cli
