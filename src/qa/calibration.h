// The calibration in a model folder.
#pragma once

#include "formats/model_folder.h"
#include "qa/span_decoder.h"

namespace kvasir::qa {

// Reads FOLDER/kvasir_reader.json:
//
//   {"format_version": 1, "calibration": {"temperature": 1.3, "no_answer_bias": -0.4}}
//
// Without such a file: no calibration (temperature 1, bias 0). Throws kFormat for anything missing, unknown
// or out of range, kUnsupported for another format_version.
Calibration load_calibration(const formats::ModelFolder& folder);

}  // namespace kvasir::qa
