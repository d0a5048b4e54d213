#include "train/trainer_state.h"

#include <cmath>
#include <limits>
#include <map>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "train/exact_json.h"

namespace kvasir::train {

namespace {

// Values of keys as JSON, which a map sorts by their bytes, as Python's sort_keys does.
using Fields = std::map<std::string, std::string>;

std::string number(double value) {
  std::string out;
  append_number(value, out);
  return out;
}

// Python's `int`: of 3.0 epochs the reference writes 3.
std::string integer_if_whole(double value) {
  const bool is_whole = std::floor(value) == value && std::abs(value) < 9e15;
  return is_whole ? std::to_string(static_cast<std::int64_t>(value)) : number(value);
}

std::string json_string(std::string_view text) {
  std::string out;
  append_string(text, out);
  return out;
}

std::string object(const Fields& fields, const std::string& indent) {
  std::string out = "{";
  for (const auto& [key, value] : fields) {
    out += out.size() == 1 ? "\n" : ",\n";
    out += indent + "  " + json_string(key) + ": " + value;
  }
  return out + "\n" + indent + "}";
}

std::string log_history(const std::vector<LogEntry>& entries) {
  if (entries.empty()) return "[]";
  std::string out = "[";
  for (const LogEntry& entry : entries) {
    Fields fields = {{"epoch", number(entry.epoch)}, {"step", std::to_string(entry.step)}};
    for (const auto& [name, value] : entry.values) fields.emplace(name, number(value));
    out += out.size() == 1 ? "\n    " : ",\n    ";
    out += object(fields, "    ");
  }
  return out + "\n  ]";
}

std::uint64_t count(const base::JsonObject& object, std::string_view key) {
  return static_cast<std::uint64_t>(object.integer(key, 0, std::numeric_limits<std::int64_t>::max()));
}

LogEntry read_entry(const base::JsonObject& object) {
  LogEntry entry;
  entry.step = count(object, "step");
  if (object.has("epoch")) entry.epoch = object.number("epoch");
  for (const auto& field : object.raw()) {
    const std::string key(field.key());
    if (key != "step" && key != "epoch") entry.values.emplace_back(key, number_or_nan(object, key));
  }
  return entry;
}

}  // namespace

std::optional<double> LogEntry::value(std::string_view name) const {
  for (const auto& [key, number] : values) {
    if (key == name) return number;
  }
  return std::nullopt;
}

void write_trainer_state(const std::filesystem::path& path, const TrainerState& state) {
  const std::string null = "null";
  const Fields fields = {
      {"best_global_step", state.best_global_step ? std::to_string(*state.best_global_step) : null},
      {"best_metric", state.best_metric ? number(*state.best_metric) : null},
      {"best_model_checkpoint",
       state.best_model_checkpoint ? json_string(*state.best_model_checkpoint) : null},
      {"epoch", number(state.epoch)},
      {"eval_steps", std::to_string(state.eval_steps)},
      {"global_step", std::to_string(state.global_step)},
      {"is_hyper_param_search", "false"},
      {"is_local_process_zero", "true"},
      {"is_world_process_zero", "true"},
      {"log_history", log_history(state.log_history)},
      {"logging_steps", std::to_string(state.logging_steps)},
      {"max_steps", std::to_string(state.max_steps)},
      {"num_input_tokens_seen", std::to_string(state.num_input_tokens_seen)},
      {"num_train_epochs", integer_if_whole(state.num_train_epochs)},
      {"save_steps", std::to_string(state.save_steps)},
      {"stateful_callbacks", "{}"},
      {"total_flos", number(state.total_flos)},
      {"train_batch_size", std::to_string(state.train_batch_size)},
      {"trial_name", null},
      {"trial_params", null},
  };
  base::AtomicFile file(path);
  file.write(object(fields, "") + "\n");
  file.commit();
}

TrainerState read_trainer_state(const std::filesystem::path& path) {
  const std::string file = path.string();
  const base::json::value value = parse_exact_json(base::read_file(path), file);
  const base::JsonObject root(value, file);
  const auto count_or = [&](std::string_view key, std::uint64_t fallback) {
    return root.has(key) ? count(root, key) : fallback;
  };
  TrainerState state;
  state.epoch = root.number_or("epoch", 0);
  state.global_step = count(root, "global_step");
  state.max_steps = count(root, "max_steps");
  state.num_train_epochs = root.number("num_train_epochs");
  state.train_batch_size = count_or("train_batch_size", 0);
  state.logging_steps = count_or("logging_steps", state.logging_steps);
  state.eval_steps = count_or("eval_steps", state.eval_steps);
  state.save_steps = count_or("save_steps", state.save_steps);
  if (root.has("best_metric")) state.best_metric = root.number("best_metric");
  if (root.has("best_model_checkpoint")) state.best_model_checkpoint = root.string("best_model_checkpoint");
  if (root.has("best_global_step")) state.best_global_step = count(root, "best_global_step");
  state.num_input_tokens_seen = count_or("num_input_tokens_seen", 0);
  state.total_flos = root.number_or("total_flos", 0);
  const base::json::value& history = root.at("log_history");
  if (!history.is_array()) root.fail("key log_history is not a list");
  for (std::size_t i = 0; i < history.get_array().size(); ++i) {
    const std::string where = file + ": log_history[" + std::to_string(i) + "]";
    state.log_history.push_back(read_entry(base::JsonObject(history.get_array()[i], where)));
  }
  return state;
}

}  // namespace kvasir::train
