// Runs a template.
#pragma once

#include <ctime>
#include <string>

#include "jinja/syntax.h"

namespace kvasir::jinja {

struct Inputs {
  DictData variables;
  const std::tm* now = nullptr;  // for strftime_now(), which is undefined without
};

// The output of the template. Throws "ORIGIN:LINE: …": kFormat (it does not fit the inputs), kInvalidArgument
// (raise_exception), kUnsupported, kResourceExhausted (over the limits of Runtime).
std::string render(Runtime& runtime, const Body& body, Inputs inputs);

}  // namespace kvasir::jinja
