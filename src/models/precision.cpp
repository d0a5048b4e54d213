#include "models/precision.h"

#include <string>

#include "kvasir/error.h"

namespace kvasir::models {

const char* precision_name(Precision precision) noexcept {
  switch (precision) {
    case Precision::kAuto:
      return "auto";
    case Precision::kFp32:
      return "fp32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

Precision parse_precision(std::string_view name) {
  for (const Precision precision : {Precision::kAuto, Precision::kFp32, Precision::kBf16, Precision::kInt8}) {
    if (name == precision_name(precision)) return precision;
  }
  throw Error(ErrorCode::kInvalidArgument,
              "unknown precision \"" + std::string(name) + "\"; use auto, fp32, bf16 or int8");
}

}  // namespace kvasir::models
