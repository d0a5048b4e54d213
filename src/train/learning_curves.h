// Learning curves of training runs, from the log in their trainer_state.json.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "train/svg_plot.h"
#include "train/trainer_state.h"

namespace kvasir::train {

// The state of a run: output_dir/trainer_state.json or, while it trains, that of its newest checkpoint-N.
// Throws kNotFound if there is neither, and as read_trainer_state.
TrainerState read_state_of_run(const std::filesystem::path& output_dir);

struct NamedRun {
  std::string name;  // in the legend, if there are several
  TrainerState state;
};
// What was logged, in panels: loss (each logged number and a smoothed curve, and that of the evaluation),
// learning rate, exact match and F1 of the evaluation. Panels without numbers are left out. Throws
// kInvalidArgument if there are none.
std::vector<Plot> learning_curves(std::span<const NamedRun> runs);

// The mean of the numbers around each, a twentieth of all. At the ends it is of fewer, as many on both sides,
// so that a curve that falls steeply at its beginning begins where it does. Few points stay as they are.
Points smoothed(const Points& points);

// An SVG of these runs' learning curves, atomically. Throws as above, and kIo.
void write_learning_curves(std::span<const std::filesystem::path> output_dirs,
                           const std::filesystem::path& svg);

}  // namespace kvasir::train
