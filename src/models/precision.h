// What the products of a model are computed in.
#pragma once

#include <string_view>

namespace kvasir::models {

enum class Precision {
  kAuto,  // what each weight is stored as: int8 for bytes with scales, else fp32; in decoders also 16 bits
          // and the quants of GGUF
  kFp32,
  kBf16,  // where the processor has it, else fp32
  kInt8,  // weights that are stored as floats are quantized at load
};

const char* precision_name(Precision precision) noexcept;
// "auto", "fp32", "bf16", "int8". Throws kInvalidArgument for another name.
Precision parse_precision(std::string_view name);

}  // namespace kvasir::models
