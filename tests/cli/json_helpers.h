// Reading the program's JSON in tests.
#pragma once

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"

namespace kvasir::tests {

namespace json = base::json;

// The lines of `text`, each parsed.
inline std::vector<json::value> json_lines(const std::string& text) {
  std::vector<json::value> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) values.push_back(base::parse_json(line, "output"));
  return values;
}

inline std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}

inline json::value fixture(const std::string& name) {
  return base::parse_json_file(std::string(KVASIR_TEST_DATA) + "/" + name);
}

}  // namespace kvasir::tests
