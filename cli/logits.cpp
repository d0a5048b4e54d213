// kvasir logits: what a model says about token ids, for people who compare engines.
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/cpu.h"
#include "base/json.h"
#include "command.h"
#include "formats/safetensors.h"
#include "interrupt.h"
#include "kvasir/generator.h"
#include "model_location.h"
#include "models/causal_lm.h"
#include "models/sentence_modules.h"
#include "reader_options.h"
#include "runtime/engine.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(FILE.json holds {"sequences":[{"input_ids":[…],"token_type_ids":[…]},…]};
token_type_ids may be left out (all 0). For sequence I (from 0) the tensors
start_logits.I and end_logits.I are written (F32, as long as the sequence);
of a sentence model embedding.I, of a cross-encoder or classifier logits.I (one
for each label); of a language model logits.I (F32 [tokens, vocabulary], of
every position).

Example:
  kvasir logits --model models/kvasir-base --ids ids.json --out o.safetensors)";

struct LogitsArguments {
  ModelArguments model;
  std::string ids, out;
};

struct IdSequence {
  std::vector<std::int32_t> input_ids, token_type_ids;
};

std::vector<std::int32_t> read_ids(const base::JsonObject& object, const char* key) {
  const base::json::array* values = object.at(key).if_array();
  if (values == nullptr) object.fail(std::string("key ") + key + " is not a list");
  std::vector<std::int32_t> ids;
  ids.reserve(values->size());
  for (const base::json::value& value : *values) {
    const std::int64_t* id = value.if_int64();
    if (id == nullptr || *id < 0 || *id > std::numeric_limits<std::int32_t>::max()) {
      object.fail(std::string(key) + "[" + std::to_string(ids.size()) + "] is not a token id");
    }
    ids.push_back(static_cast<std::int32_t>(*id));
  }
  return ids;
}

std::vector<IdSequence> load_sequences(const std::string& path) {
  const base::json::value root = base::parse_json_file(path);
  const base::JsonObject object(root, path);
  const base::json::array* list = object.at("sequences").if_array();
  if (list == nullptr) object.fail("key sequences is not a list");
  std::vector<IdSequence> sequences;
  for (const base::json::value& value : *list) {
    const base::JsonObject entry(value, path + ": sequences[" + std::to_string(sequences.size()) + "]");
    IdSequence sequence;
    sequence.input_ids = read_ids(entry, "input_ids");
    if (sequence.input_ids.empty()) entry.fail("key input_ids is empty");
    if (entry.has("token_type_ids")) {
      sequence.token_type_ids = read_ids(entry, "token_type_ids");
      if (sequence.token_type_ids.size() != sequence.input_ids.size()) {
        entry.fail("token_type_ids is not as long as input_ids");
      }
    }
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

tensor::TensorView float_view(const std::vector<float>& values) {
  return {.dtype = tensor::DType::kF32,
          .shape = {static_cast<std::int64_t>(values.size())},
          .data = reinterpret_cast<const std::byte*>(values.data())};
}

void write(const std::string& path, const std::vector<formats::NamedTensor>& tensors) {
  // What is written to a pipe leaves nothing behind, and may have to wait for its reader.
  std::optional<InterruptAtOnce> at_once;
  if (base::is_special_file(path)) at_once.emplace();
  formats::write_safetensors(path, tensors);
}

// The tensors of a head: start_logits.I and end_logits.I of a reader, embedding.I of a sentence model,
// logits.I of a classifier.
void write_encoder_outputs(const LogitsArguments& arguments, const std::filesystem::path& model,
                           const std::vector<IdSequence>& inputs) {
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const runtime::Engine engine = runtime::Engine::load(model, engine_options(arguments.model));
  const bool is_sentence_model = models::has_sentence_modules(model);
  at_once.reset();

  std::vector<runtime::Sequence> sequences;
  sequences.reserve(inputs.size());
  for (const IdSequence& input : inputs) {
    sequences.push_back({.input_ids = input.input_ids, .token_type_ids = input.token_type_ids});
  }
  const bool are_spans = engine.model().head->rows() == models::Head::Rows::kTokens;
  std::vector<models::SpanLogits> spans(inputs.size());
  std::vector<std::vector<float>> vectors(inputs.size());
  engine.run(
      sequences,
      [&](std::size_t i, std::span<const float> outputs) {
        if (are_spans) {
          spans[i] = models::split_span_logits(outputs);
        } else {
          vectors[i].assign(outputs.begin(), outputs.end());
        }
      },
      &interrupt_flag());

  std::vector<formats::NamedTensor> tensors;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::string index = std::to_string(i);
    if (are_spans) {
      tensors.push_back({"start_logits." + index, float_view(spans[i].start)});
      tensors.push_back({"end_logits." + index, float_view(spans[i].end)});
    } else {
      tensors.push_back({(is_sentence_model ? "embedding." : "logits.") + index, float_view(vectors[i])});
    }
  }
  write(arguments.out, tensors);
}

void write_lm_logits(const LogitsArguments& arguments, const std::filesystem::path& model,
                     const std::vector<IdSequence>& inputs) {
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const ReaderOptions options = reader_options(arguments.model);
  const Generator generator = Generator::load(
      model, {.threads = options.threads, .isa = options.isa, .precision = options.precision});
  at_once.reset();
  std::vector<std::vector<float>> logits(inputs.size());
  std::vector<formats::NamedTensor> tensors;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    generator.logits(inputs[i].input_ids, [&](std::size_t, const std::vector<float>& row) {
      check_interrupt();
      logits[i].insert(logits[i].end(), row.begin(), row.end());
    });
    tensors.push_back({"logits." + std::to_string(i), float_view(logits[i])});
    tensors.back().view.shape = {static_cast<std::int64_t>(inputs[i].input_ids.size()),
                                 static_cast<std::int64_t>(generator.vocab_size())};
  }
  write(arguments.out, tensors);
}

void run_logits(const LogitsArguments& arguments) {
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const std::vector<IdSequence> inputs = load_sequences(arguments.ids);
  const std::filesystem::path model = find_model(arguments.model.model);
  const bool is_lm = models::is_causal_lm(model);
  at_once.reset();
  if (is_lm) {
    write_lm_logits(arguments, model, inputs);
  } else {
    write_encoder_outputs(arguments, model, inputs);
  }
}

}  // namespace

void add_logits(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<LogitsArguments>();
  CLI::App* command = app.add_subcommand("logits", "Write a model's logits for given token ids");
  command->fallthrough();
  command->footer(kFooter);
  command->add_option("--ids", arguments->ids, "Token ids to run")
      ->option_text("FILE.json")
      ->check(names_a_file())
      ->required();
  command->add_option("--out", arguments->out, "File to write")
      ->option_text("FILE.safetensors")
      ->check(names_a_file())
      ->required();
  add_model_options(*command, arguments->model);
  command->callback([arguments, &program] {
    program.command = "logits";
    program.action = [arguments] { run_logits(*arguments); };
  });
}

}  // namespace kvasir::cli
