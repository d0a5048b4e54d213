#include "models/config.h"

#include <algorithm>

#include "kvasir/error.h"

namespace kvasir::models {

namespace {

struct ActivationName {
  std::string_view name;
  kernels::Activation activation;
};
// Names as in transformers' ACT2FN.
constexpr ActivationName kActivations[] = {{"gelu", kernels::Activation::kGelu},
                                           {"gelu_new", kernels::Activation::kGeluTanh},
                                           {"gelu_pytorch_tanh", kernels::Activation::kGeluTanh},
                                           {"relu", kernels::Activation::kRelu},
                                           {"silu", kernels::Activation::kSilu},
                                           {"swish", kernels::Activation::kSilu}};

[[noreturn]] void unsupported(const base::JsonObject& json, const std::string& message) {
  throw Error(ErrorCode::kUnsupported, json.origin() + ": " + message);
}

}  // namespace

void ConfigReader::required(const char* key, std::size_t& field, std::size_t max) const {
  field = static_cast<std::size_t>(json_.integer(key, 1, static_cast<std::int64_t>(max)));
}

void ConfigReader::optional(const char* key, std::size_t& field, std::size_t max) const {
  if (json_.has(key)) required(key, field, max);
}

void ConfigReader::optional(const char* key, float& field) const {
  const double value = json_.number_or(key, field);
  if (!(value >= 0 && value <= 1)) {
    json_.fail("key " + std::string(key) + " = " + std::to_string(value) + " is out of range [0, 1]");
  }
  field = static_cast<float>(value);
}

void ConfigReader::optional_dropout(const char* key, float& field) const {
  const double value = json_.number_or(key, field);
  if (!(value >= 0 && value < 1)) {
    json_.fail("key " + std::string(key) + " = " + std::to_string(value) + " is out of range [0, 1)");
  }
  field = static_cast<float>(value);
}

void ConfigReader::optional(const char* key, kernels::Activation& field) const {
  if (!json_.has(key)) return;
  const std::string name = json_.string(key);
  std::string known;
  for (const ActivationName& row : kActivations) {
    if (row.name == name) {
      field = row.activation;
      return;
    }
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  unsupported(json_, std::string(key) + " " + name + " is not supported; known: " + known);
}

void ConfigReader::optional(const char* key, double& field) const {
  const double value = json_.number_or(key, field);
  if (!(value >= 1 && value <= 1e12)) {
    json_.fail("key " + std::string(key) + " = " + std::to_string(value) + " is out of range [1, 1e12]");
  }
  field = value;
}

void ConfigReader::optional(const char* key, bool& field) const {
  field = json_.boolean_or(key, field);
}

void ConfigReader::optional_or_none(const char* key, std::size_t& field, std::size_t max) const {
  if (!json_.has(key)) return;
  field = static_cast<std::size_t>(
      std::max<std::int64_t>(0, json_.integer(key, -1, static_cast<std::int64_t>(max))));
}

void ConfigReader::optional_id(const char* key, std::int32_t& field, std::size_t end) const {
  field = static_cast<std::int32_t>(json_.integer_or(key, field, 0, static_cast<std::int64_t>(end) - 1));
}

void ConfigReader::only(const char* key, const char* value) const {
  const std::string found = json_.string_or(key, value);
  if (found != value) {
    unsupported(json_, std::string(key) + " " + found + " is not supported; known: " + value);
  }
}

void ConfigReader::only(const char* key, bool value) const {
  if (json_.boolean_or(key, value) != value) {
    unsupported(json_, std::string(key) + (value ? " false" : " true") + " is not supported");
  }
}

void ConfigReader::only(const char* key, std::int64_t value) const {
  constexpr std::int64_t kAny = std::int64_t{1} << 53;
  const std::int64_t found = json_.integer_or(key, value, -kAny, kAny);
  if (found != value) {
    unsupported(json_, std::string(key) + " " + std::to_string(found) +
                           " is not supported; known: " + std::to_string(value));
  }
}

void check_heads(const ConfigReader& reader, Dim width, Dim heads) {
  if (width.size % heads.size == 0) return;
  reader.json().fail(std::string(width.key) + " = " + std::to_string(width.size) + " is not a multiple of " +
                     heads.key + " = " + std::to_string(heads.size));
}

void check_at_least(const ConfigReader& reader, Dim dim, std::size_t least) {
  if (dim.size >= least) return;
  reader.json().fail(std::string(dim.key) + " = " + std::to_string(dim.size) + " is less than " +
                     std::to_string(least));
}

}  // namespace kvasir::models
