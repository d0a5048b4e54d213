// The options of a caller in the words of the parts.
#pragma once

#include "generation/beam_search.h"
#include "generation/sampler.h"
#include "kvasir/generator.h"

namespace kvasir::generation {

SamplingOptions sampling_options(const GenerateOptions& options);
// "false", "true", "never". Throws kInvalidArgument.
EarlyStopping parse_early_stopping(const std::string& name);

}  // namespace kvasir::generation
