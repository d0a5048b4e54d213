// kvasir show: what a model is.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/json.h"
#include "command.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "formats/model_folder.h"
#include "hub_options.h"
#include "interrupt.h"
#include "json_output.h"
#include "kvasir/error.h"
#include "model_location.h"
#include "models/gguf/config.h"
#include "models/model_kind.h"
#include "models/sentence_modules.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(MODEL is a folder, a GGUF file, the id of a model in the cache, or nothing for
the model that ships with kvasir.

Examples:
  kvasir show deepset/minilm-uncased-squad2
  kvasir show llama-2-7b.Q4_0.gguf)";

struct ModelFacts {
  std::filesystem::path folder;
  models::ModelDescription description;
  std::string weights, types;
  std::uint64_t parameters = 0;
  std::map<std::string, std::uint64_t> files;  // name, bytes
};

// Of either kind of file: tensors by name.
template <class Tensors>
void count_tensors(const Tensors& tensors, ModelFacts& facts) {
  std::map<std::string, std::uint64_t> types;
  for (const auto& [name, tensor] : tensors) {
    facts.parameters += tensor.view.elements();
    types[tensor::dtype_name(tensor.view.dtype)] += tensor.view.elements();
  }
  for (const auto& [type, elements] : types) facts.types += (facts.types.empty() ? "" : ", ") + type;
}

ModelFacts read_gguf_facts(const std::filesystem::path& path, const formats::GgufFile& gguf) {
  ModelFacts facts;
  facts.folder = path.has_parent_path() ? path.parent_path() : ".";
  facts.description.kind = models::ModelKind::kLanguageModel;
  try {
    const base::json::value config = models::config_from_gguf(gguf);
    facts.description.family = base::JsonObject(config, gguf.origin()).string("model_type");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kUnsupported) throw;
    facts.description.unsupported = error.what();
  }
  facts.weights = path.filename().string();
  count_tensors(gguf.tensors(), facts);
  facts.files[facts.weights] = std::filesystem::file_size(path);
  return facts;
}

ModelFacts read_facts(const formats::ModelFolder& folder) {
  if (const auto gguf = folder.gguf()) return read_gguf_facts(*folder.gguf_path(), *gguf);
  ModelFacts facts;
  facts.folder = folder.path();
  facts.description = models::describe_model(folder);
  const formats::Checkpoint checkpoint(models::encoder_folder(folder.path()));
  facts.weights = std::filesystem::path(checkpoint.origin()).filename().string();
  count_tensors(checkpoint.tensors(), facts);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path())) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(entry.path(), error);
    if (!error) facts.files[entry.path().lexically_relative(folder.path()).string()] = size;
  }
  return facts;
}

void append_json(std::string& out, const ModelFacts& facts) {
  const auto text = [&](const char* key, const std::string& value) {
    out += std::string("\"") + key + "\":";
    append_json_string(out, value);
    out += ',';
  };
  out += '{';
  text("folder", facts.folder.string());
  text("model_type", facts.description.family);
  text("architecture", facts.description.architecture);
  text("kind", models::kind_name(facts.description.kind));
  text("command", facts.description.unsupported.empty() ? models::commands_of(facts.description.kind) : "");
  if (!facts.description.unsupported.empty()) text("unsupported", facts.description.unsupported);
  text("weights", facts.weights);
  text("dtypes", facts.types);
  out += "\"parameters\":";
  append_json_integer(out, static_cast<std::int64_t>(facts.parameters));
  out += ",\"files\":{";
  bool first = true;
  for (const auto& [name, size] : facts.files) {
    if (!std::exchange(first, false)) out += ',';
    append_json_string(out, name);
    out += ':';
    append_json_integer(out, static_cast<std::int64_t>(size));
  }
  out += "}}\n";
}

void append_text(std::string& out, const ModelFacts& facts) {
  const auto line = [&](const char* key, const std::string& value) {
    if (!value.empty()) out += std::string(key) + printable(value) + "\n";
  };
  const models::ModelDescription& description = facts.description;
  line("folder        ", facts.folder.string());
  line("family        ", description.family);
  line("architecture  ", description.architecture);
  line("kind          ", models::kind_name(description.kind));
  if (description.unsupported.empty()) {
    line("command       ", models::commands_of(description.kind));
  } else {
    line("cannot run    ", description.unsupported);
  }
  char millions[48];
  std::snprintf(millions, sizeof millions, "%.1f million", static_cast<double>(facts.parameters) / 1e6);
  line("parameters    ", millions);
  line("weights       ", facts.weights + " (" + facts.types + ")");
  out += "files\n";
  std::size_t width = 0;
  for (const auto& [name, size] : facts.files) width = std::max(width, printable(name).size());
  for (const auto& [name, size] : facts.files) {
    const std::string shown = printable(name);
    out += "  " + shown + std::string(width - shown.size() + 2, ' ') + size_text(size) + "\n";
  }
}

struct ShowArguments {
  std::string model;
  bool json = false;
};

}  // namespace

void add_show(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<ShowArguments>();
  CLI::App* command = app.add_subcommand("show", "Show what a model is");
  command->fallthrough();
  command->footer(kFooter);
  command
      ->add_option("MODEL", arguments->model,
                   "Folder, GGUF file or id (default: KVASIR_MODEL, else the model that ships)")
      ->option_text("[MODEL]");
  command->add_flag("--json", arguments->json, "One JSON object, for machines");
  command->callback([arguments, &program] {
    program.command = "show";
    program.action = [arguments, &program] {
      const InterruptAtOnce at_once;
      const ModelFacts facts = read_facts(find_model(arguments->model));
      (arguments->json ? append_json : append_text)(program.out.buffer(), facts);
    };
  });
}

}  // namespace kvasir::cli
