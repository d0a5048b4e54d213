#include "train/parameter_groups.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <optional>
#include <string_view>

#include "kvasir/error.h"
#include "text/pattern.h"

namespace kvasir::train {

namespace {

bool occurs(const text::Pattern& pattern, const std::string& name) {
  std::vector<text::Part> parts;
  pattern.find(name, {0, name.size()}, parts);
  return std::ranges::any_of(parts, &text::Part::match);
}

// The number of the layer that a tensor is in: "….layer.3.…", "layers.3.…"; nullopt for what is in none.
std::optional<std::size_t> layer_of(std::string_view name) {
  for (const std::string_view word : {"layer.", "layers.", "layer_groups."}) {
    const std::size_t at = name.find(word);
    if (at == std::string_view::npos || (at > 0 && name[at - 1] != '.' && name[at - 1] != '_')) continue;
    const char* first = name.data() + at + word.size();
    std::size_t number = 0;
    if (std::from_chars(first, name.data() + name.size(), number).ec == std::errc()) return number;
  }
  return {};
}

}  // namespace

std::vector<FrozenRows> freeze(std::span<const std::string> patterns, Parameters& parameters) {
  std::vector<std::unique_ptr<text::Pattern>> compiled;
  for (const std::string& pattern : patterns) compiled.push_back(text::make_regex(pattern, "freeze"));
  std::vector<bool> found(patterns.size());
  std::vector<FrozenRows> parts;
  bool any_learns = false;
  for (Parameter& parameter : parameters.all()) {
    std::vector<const NamedTensor*> frozen;
    for (const NamedTensor& tensor : parameter.tensors) {
      bool freezes = false;
      for (std::size_t i = 0; i < compiled.size(); ++i) {
        if (!occurs(*compiled[i], tensor.name)) continue;
        found[i] = freezes = true;
      }
      if (freezes) frozen.push_back(&tensor);
    }
    if (frozen.size() == parameter.tensors.size()) {
      parameter.trains = false;
    } else if (parameter.trains) {
      for (const NamedTensor* tensor : frozen) {
        std::vector<float> rows(tensor->rows * parameter.columns);
        parameter.read(*tensor, parameter.value, rows.data());
        parts.push_back({.parameter = &parameter, .tensor = tensor, .rows = std::move(rows)});
      }
    }
    any_learns = any_learns || parameter.trains;
  }
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    if (found[i]) continue;
    throw Error(ErrorCode::kInvalidArgument, "freeze: \"" + patterns[i] +
                                                 "\" is found in no tensor's name; such names are " +
                                                 parameters.all().front().tensors.front().name + ", " +
                                                 parameters.all().back().tensors.front().name);
  }
  if (!any_learns)
    throw Error(ErrorCode::kInvalidArgument, "freeze: all weights are frozen, so nothing would learn");
  return parts;
}

void decay_by_layer(double decay, Parameters& parameters) {
  std::size_t layers = 0;
  for (const Parameter& parameter : parameters.all()) {
    layers = std::max(layers, layer_of(parameter.tensors.front().name).value_or(0) + 1);
  }
  for (Parameter& parameter : parameters.all()) {
    if (parameter.is_head) continue;
    const std::optional<std::size_t> layer = layer_of(parameter.tensors.front().name);
    const std::size_t below = layer ? layers + 1 - *layer : layers + 2;
    parameter.learning_rate_factor = std::pow(decay, static_cast<double>(below));
  }
}

}  // namespace kvasir::train
