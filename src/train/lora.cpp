#include "train/lora.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "base/atomic_file.h"
#include "base/json.h"
#include "kvasir/error.h"
#include "models/weight_visitor.h"
#include "train/tensor_files.h"

namespace kvasir::train {

namespace {

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kWeightsFile = "adapter_model.safetensors";
constexpr const char* kPrefix = "base_model.model.";  // of all names in PEFT's files
constexpr std::size_t kMaxRank = 4096;

// A matrix of the encoder, and where it lies in a fused one.
struct Module {
  const models::Linear* linear;
  std::string name;
  std::size_t first_row, rows;
};

class ModuleLister final : public models::ConstWeightVisitor {
 public:
  explicit ModuleLister(std::string prefix) : prefix_(std::move(prefix)) {}
  std::vector<Module> modules;

  void embedding(const std::string&, const models::Embedding&, const models::MatrixShape&) override {}
  void layer_norm(const std::string&, const models::LayerNorm&, const models::Dim&, models::Bias) override {}
  void rms_norm(const std::string&, const models::RmsNorm&, const models::Dim&) override {}
  void linear(models::LinearParts parts, const models::Linear& linear, const models::Dim&,
              models::Bias) override {
    std::size_t row = 0;
    for (const models::LinearPart& part : parts) {
      modules.push_back(
          {.linear = &linear, .name = prefix_ + part.name, .first_row = row, .rows = part.rows.size});
      row += part.rows.size;
    }
  }
  void convolution(const std::string&, const models::Linear&, const models::ConvolutionShape&) override {}

 private:
  std::string prefix_;
};

// As PEFT compares them: the name itself, or its end behind a dot.
bool matches(const std::string& name, const std::string& target) {
  return name == target || name.ends_with("." + target);
}

std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

models::Linear zeros(std::size_t out, std::size_t in) {
  models::Linear linear;
  auto& packed = linear.weight.emplace<kernels::PackedMatrix>(kernels::allocate_packed(out, in));
  std::ranges::fill(packed.data.span(), 0.0F);
  return linear;
}

// The tensors that an adapter's file has, of adapters and head: name there, and parameter.
struct AdapterTensor {
  std::string name;
  const Parameter* parameter;
  const NamedTensor* tensor;
};

std::vector<AdapterTensor> adapter_tensors(const Parameters& parameters) {
  std::vector<AdapterTensor> tensors;
  for (const Parameter& parameter : parameters.all()) {
    for (const NamedTensor& tensor : parameter.tensors) {
      const bool is_adapter = tensor.name.starts_with(kPrefix);
      if (!is_adapter && !parameter.is_head) continue;
      tensors.push_back({.name = is_adapter ? tensor.name : kPrefix + tensor.name,
                         .parameter = &parameter,
                         .tensor = &tensor});
    }
  }
  return tensors;
}

}  // namespace

Lora::Lora(const LoraOptions& options, models::TrainableModel& model, Parameters& parameters,
           std::uint64_t seed)
    : options_(options) {
  if (options.r == 0 || options.r > kMaxRank) {
    throw Error(ErrorCode::kInvalidArgument, "lora_r: should be in [1, " + std::to_string(kMaxRank) +
                                                 "] (got " + std::to_string(options.r) + ")");
  }
  ModuleLister lister(model.prefix);
  std::as_const(*model.encoder).visit(lister);
  for (Parameter& parameter : parameters.all()) parameter.trains = parameter.is_head;
  for (const std::string& target : options.target_modules) {
    if (std::ranges::any_of(lister.modules, [&](const Module& m) { return matches(m.name, target); }))
      continue;
    std::set<std::string> known;
    for (const Module& module : lister.modules) known.insert(last_part(module.name));
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    throw Error(ErrorCode::kInvalidArgument, "lora_target_modules: the model has no matrix that ends with " +
                                                 target + "; it has " + names);
  }
  std::uint32_t place = 0;
  for (const Module& module : lister.modules) {
    const auto targets = [&](const std::string& target) { return matches(module.name, target); };
    if (std::ranges::none_of(options.target_modules, targets)) continue;
    const std::size_t in = module.linear->in();
    LoraAdapter& adapter = adapters_.emplace_back(LoraAdapter{.module = module.name,
                                                              .first_row = module.first_row,
                                                              .a = zeros(options.r, in),
                                                              .b = zeros(module.rows, options.r)});
    by_linear_[module.linear].push_back(&adapter);
    parameters.add(kPrefix + module.name + ".lora_A", adapter.a);
    parameters.add(kPrefix + module.name + ".lora_B", adapter.b);
    const Parameter& a = *parameters.of(&adapter.a).weight;
    const std::uint32_t key[2] = {static_cast<std::uint32_t>(seed),
                                  static_cast<std::uint32_t>(seed >> 32U) ^ 0x10A4U};
    const float bound = 1 / std::sqrt(static_cast<float>(in));
    std::vector<float> rows(options.r * in);
    for (float& value : rows) {
      value =
          bound * static_cast<float>(static_cast<double>(kernels::random_bits(key, place++)) * 0x1p-31 - 1);
    }
    a.write(a.tensors.front(), rows.data(), a.value);
  }
}

std::span<const LoraAdapter* const> Lora::of(const models::Linear& linear) const {
  const auto found = by_linear_.find(&linear);
  return found == by_linear_.end() ? std::span<const LoraAdapter* const>() : found->second;
}

void Lora::load(const std::filesystem::path& folder, Parameters& parameters) {
  TensorSource file(folder / kWeightsFile,
                    "the adapter is of another model, or was made for other target modules");
  for (const AdapterTensor& each : adapter_tensors(parameters)) {
    file.fill(each.name, *each.parameter, *each.tensor, each.parameter->value);
  }
}

void Lora::save(const std::filesystem::path& folder, const std::string& base_model,
                const Parameters& parameters) const {
  TensorList tensors;
  std::set<std::string> head;
  for (const AdapterTensor& each : adapter_tensors(parameters)) {
    tensors.add(each.name, *each.parameter, *each.tensor, each.parameter->value);
    if (each.parameter->is_head) head.insert(each.tensor->name.substr(0, each.tensor->name.find('.')));
  }
  tensors.write(folder / kWeightsFile);
  base::json::array targets, saved;
  for (const std::string& target : options_.target_modules) targets.emplace_back(target);
  for (const std::string& module : head) saved.emplace_back(module);
  const base::json::object config{{"base_model_name_or_path", base_model},
                                  {"bias", "none"},
                                  {"fan_in_fan_out", false},
                                  {"inference_mode", true},
                                  {"init_lora_weights", true},
                                  {"lora_alpha", options_.alpha},
                                  {"lora_dropout", options_.dropout},
                                  {"modules_to_save", saved},
                                  {"peft_type", "LORA"},
                                  {"r", options_.r},
                                  {"target_modules", targets},
                                  {"task_type", "QUESTION_ANS"}};
  base::AtomicFile file(folder / kConfigFile);
  file.write(base::json::serialize(config) + "\n");
  file.commit();
}

void Lora::merge(Parameters& parameters) const {
  for (const auto& [linear, adapters] : by_linear_) {
    const Parameter& weight = *parameters.of(linear).weight;
    for (const LoraAdapter* adapter : adapters) {
      const std::size_t in = linear->in(), out = adapter->b.out(), rank = options_.r;
      const Parameter &a = *parameters.of(&adapter->a).weight, &b = *parameters.of(&adapter->b).weight;
      std::vector<float> a_rows(rank * in), b_rows(out * rank), rows(out * in);
      a.read(a.tensors.front(), a.value, a_rows.data());
      b.read(b.tensors.front(), b.value, b_rows.data());
      const NamedTensor part{.name = {}, .shape = {}, .row = adapter->first_row, .rows = out};
      weight.read(part, weight.value, rows.data());
      for (std::size_t i = 0; i < out; ++i) {
        for (std::size_t r = 0; r < rank; ++r) {
          const float factor = scale() * b_rows[i * rank + r];
          for (std::size_t j = 0; j < in; ++j) rows[i * in + j] += factor * a_rows[r * in + j];
        }
      }
      weight.write(part, rows.data(), weight.value);
    }
  }
}

std::vector<const models::Linear*> Lora::targets() const {
  std::vector<const models::Linear*> targets;
  for (const auto& [linear, adapters] : by_linear_) targets.push_back(linear);
  return targets;
}

MergedWeights::MergedWeights(const Lora& lora, Parameters& parameters) {
  for (const models::Linear* linear : lora.targets()) {
    Parameter* weight = parameters.of(linear).weight;
    before_.emplace_back(weight, std::vector<float>(weight->value.begin(), weight->value.end()));
  }
  lora.merge(parameters);
}

MergedWeights::~MergedWeights() {
  for (const auto& [weight, values] : before_) std::ranges::copy(values, weight->value.begin());
}

LoraOptions read_lora_options(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kConfigFile;
  const base::json::value config = base::parse_json_file(path);
  const base::JsonObject json(config, path.string());
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::kUnsupported, path.string() + ": " + what + " is not supported");
  };
  if (const std::string type = json.string("peft_type"); type != "LORA") refuse("peft_type " + type);
  for (const char* key : {"use_dora", "use_rslora", "use_qalora", "fan_in_fan_out", "lora_bias"}) {
    if (json.boolean_or(key, false)) refuse(std::string(key) + " true");
  }
  for (const char* key : {"rank_pattern", "alpha_pattern"}) {
    if (json.has(key) && !json.object(key).raw().empty()) refuse(key);
  }
  if (const std::string bias = json.string_or("bias", "none"); bias != "none") refuse("bias " + bias);
  LoraOptions options{.r = static_cast<std::size_t>(json.integer_or("r", 8, 1, kMaxRank)),
                      .alpha = json.number_or("lora_alpha", 8),
                      .dropout = json.number_or("lora_dropout", 0),
                      .target_modules = {}};
  const base::json::value& targets = json.at("target_modules");
  if (targets.is_string()) refuse("target_modules as a pattern");
  if (!targets.is_array()) json.fail("key target_modules is not a list of names");
  for (const base::json::value& target : targets.as_array()) {
    if (!target.is_string()) json.fail("key target_modules is not a list of names");
    options.target_modules.emplace_back(target.as_string());
  }
  return options;
}

}  // namespace kvasir::train
