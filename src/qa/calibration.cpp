#include "qa/calibration.h"

#include <initializer_list>
#include <limits>
#include <string>

#include "base/json.h"
#include "kvasir/error.h"

namespace kvasir::qa {

namespace {

// No fit of log-odds comes near; beyond it a typing error is likelier.
constexpr double kLimit = 1000;

void refuse_unknown_keys(const base::JsonObject& object, std::initializer_list<std::string_view> known) {
  for (const auto& entry : object.raw()) {
    bool found = false;
    for (const std::string_view key : known) found = found || key == entry.key();
    if (!found) object.fail("key " + base::json::serialize(base::json::value(entry.key())) + " is unknown");
  }
}

double number_within(const base::JsonObject& object, std::string_view key, double min, double max) {
  const double value = object.number(key);
  if (!(value >= min && value <= max)) {
    object.fail("key " + std::string(key) + " = " + base::json::serialize(object.at(key)) +
                " is out of range [" + base::json::serialize(base::json::value(min)) + ", " +
                base::json::serialize(base::json::value(max)) + "]");
  }
  return value;
}

}  // namespace

Calibration load_calibration(const formats::ModelFolder& folder) {
  const std::optional<base::JsonObject> root = folder.json("kvasir_reader.json");
  if (!root) return {};
  const std::int64_t version = root->integer("format_version", 1, std::numeric_limits<std::int32_t>::max());
  if (version != 1) {
    throw Error(ErrorCode::kUnsupported, root->origin() + ": format_version " + std::to_string(version) +
                                             " is newer than this program knows (1); update it");
  }
  refuse_unknown_keys(*root, {"format_version", "calibration"});
  const base::JsonObject fit = root->object("calibration");
  refuse_unknown_keys(fit, {"temperature", "no_answer_bias"});
  return {.temperature = number_within(fit, "temperature", 1 / kLimit, kLimit),
          .no_answer_bias = number_within(fit, "no_answer_bias", -kLimit, kLimit)};
}

}  // namespace kvasir::qa
