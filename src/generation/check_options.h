// Checks the options of a caller, and translates them into those of sampling and beam search.
#pragma once

#include "generation/beam_search.h"
#include "generation/sampler.h"
#include "kvasir/generator.h"

namespace kvasir::generation {

// Throws kInvalidArgument for options that make no sense, whatever the model.
void check_options(const GenerateOptions& options);
SamplingOptions sampling_options(const GenerateOptions& options);
// "false", "true", "never". Throws kInvalidArgument.
EarlyStopping parse_early_stopping(const std::string& name);

}  // namespace kvasir::generation
