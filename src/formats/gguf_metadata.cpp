#include <algorithm>
#include <cstring>
#include <limits>

#include "formats/gguf.h"
#include "kvasir/error.h"

namespace kvasir::formats {

namespace {

template <class T, class Element>
std::vector<T> convert(const GgufArray& array) {
  std::vector<T> values(array.size);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Element element;
    std::memcpy(&element, array.data.data() + i * sizeof element, sizeof element);
    values[i] = static_cast<T>(element);
  }
  return values;
}

}  // namespace

void GgufMetadata::fail(std::string_view key, const std::string& message) const {
  throw Error(ErrorCode::kFormat, origin_ + ": metadata key " + std::string(key) + " " + message);
}

void GgufMetadata::fail_type(std::string_view key, std::string_view expected) const {
  const GgufValue& value = at(key);
  std::string type = gguf_type_name(value.type);
  if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    type += std::string(" of ") + gguf_type_name(array->type);
  }
  fail(key, "is of type " + type + ", and " + std::string(expected) + " is due");
}

const GgufValue& GgufMetadata::at(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) fail(key, "is missing");
  return found->second;
}

std::int64_t GgufMetadata::integer(std::string_view key, std::int64_t min, std::int64_t max) const {
  const GgufValue& value = at(key);
  const auto* negative = std::get_if<std::int64_t>(&value.value);
  const auto* positive = std::get_if<std::uint64_t>(&value.value);
  if (negative == nullptr && positive == nullptr) fail_type(key, "an integer");
  const bool huge = positive != nullptr && *positive > std::numeric_limits<std::int64_t>::max();
  const std::int64_t number = negative != nullptr ? *negative
                              : huge              ? 0
                                                  : static_cast<std::int64_t>(*positive);
  if (huge || number < min || number > max) {
    const std::string text = positive != nullptr ? std::to_string(*positive) : std::to_string(number);
    fail(key, "is " + text + ", and must be " +
                  (min == max ? std::to_string(min)
                              : "between " + std::to_string(min) + " and " + std::to_string(max)));
  }
  return number;
}

std::int64_t GgufMetadata::integer_or(std::string_view key, std::int64_t fallback, std::int64_t min,
                                      std::int64_t max) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double GgufMetadata::number(std::string_view key) const {
  const GgufValue& value = at(key);
  if (const auto* number = std::get_if<double>(&value.value)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<std::uint64_t>(&value.value)) return static_cast<double>(*number);
  fail_type(key, "a number");
}

double GgufMetadata::number_or(std::string_view key, double fallback) const {
  return has(key) ? number(key) : fallback;
}

bool GgufMetadata::boolean_or(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  if (const auto* value = std::get_if<bool>(&at(key).value)) return *value;
  fail_type(key, "a bool");
}

std::string_view GgufMetadata::string(std::string_view key) const {
  if (const auto* text = std::get_if<std::string_view>(&at(key).value)) return *text;
  fail_type(key, "a string");
}

std::string_view GgufMetadata::string_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? string(key) : fallback;
}

const GgufArray& GgufMetadata::array(std::string_view key) const {
  if (const auto* array = std::get_if<GgufArray>(&at(key).value)) return *array;
  fail_type(key, "an array");
}

std::span<const std::string_view> GgufMetadata::strings(std::string_view key) const {
  const GgufArray& strings = array(key);
  if (strings.type != GgufType::kString) fail_type(key, "an array of strings");
  return strings.strings;
}

std::vector<float> GgufMetadata::floats(std::string_view key) const {
  const GgufArray& numbers = array(key);
  if (numbers.type == GgufType::kF32) return convert<float, float>(numbers);
  if (numbers.type == GgufType::kF64) return convert<float, double>(numbers);
  fail_type(key, "an array of floats");
}

std::vector<std::int64_t> GgufMetadata::integers(std::string_view key) const {
  const GgufArray& numbers = array(key);
  switch (numbers.type) {
    case GgufType::kU8:
      return convert<std::int64_t, std::uint8_t>(numbers);
    case GgufType::kI8:
      return convert<std::int64_t, std::int8_t>(numbers);
    case GgufType::kU16:
      return convert<std::int64_t, std::uint16_t>(numbers);
    case GgufType::kI16:
      return convert<std::int64_t, std::int16_t>(numbers);
    case GgufType::kU32:
      return convert<std::int64_t, std::uint32_t>(numbers);
    case GgufType::kI32:
      return convert<std::int64_t, std::int32_t>(numbers);
    case GgufType::kU64: {
      const auto values = convert<std::uint64_t, std::uint64_t>(numbers);
      if (std::ranges::any_of(values, [](std::uint64_t v) { return v >> 63 != 0; })) {
        fail(key, "holds a number beyond 2^63");
      }
      return {values.begin(), values.end()};
    }
    case GgufType::kI64:
      return convert<std::int64_t, std::int64_t>(numbers);
    default:
      fail_type(key, "an array of integers");
  }
}

}  // namespace kvasir::formats
