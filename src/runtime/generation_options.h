// The options of a caller in the words of the parts.
#pragma once

#include "kvasir/generator.h"
#include "runtime/beam_search.h"
#include "runtime/sampler.h"

namespace kvasir::runtime {

SamplingOptions sampling_options(const GenerateOptions& options);
// "false", "true", "never". Throws kInvalidArgument.
EarlyStopping parse_early_stopping(const std::string& name);

}  // namespace kvasir::runtime
