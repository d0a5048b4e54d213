#include "train/learning_curves.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "base/atomic_file.h"
#include "kvasir/error.h"
#include "train/checkpoint_folder.h"

namespace kvasir::train {

namespace {

// All that was logged under a name.
Points logged(const TrainerState& state, std::string_view name) {
  Points points;
  for (const LogEntry& entry : state.log_history) {
    const std::optional<double> value = entry.value(name);
    if (value && std::isfinite(*value)) points.emplace_back(static_cast<double>(entry.step), *value);
  }
  return points;
}

struct Named {
  const char* key;    // in the log
  const char* label;  // in the legend; empty: the title says it
};

class Curves {
 public:
  explicit Curves(std::span<const NamedRun> runs) : runs_(runs) {}

  // For each run, what it has of these.
  void add(Plot plot, std::initializer_list<Named> series, bool smooths) {
    for (const NamedRun& run : runs_) {
      for (const Named& named : series) {
        Points points = logged(run.state, named.key);
        if (points.empty()) continue;
        const std::string name = name_of(run, named.label);
        Points smooth = smooths ? smoothed(points) : points;
        if (smooth != points) plot.curves.push_back({.name = name, .points = points, .is_raw = true});
        plot.curves.push_back({.name = name, .points = std::move(smooth)});
      }
    }
    if (!plot.curves.empty()) plots_.push_back(std::move(plot));
  }

  std::vector<Plot> take() { return std::move(plots_); }

 private:
  std::string name_of(const NamedRun& run, const std::string& label) const {
    if (runs_.size() == 1) return label;
    return label.empty() ? run.name : run.name + ": " + label;
  }

  std::span<const NamedRun> runs_;
  std::vector<Plot> plots_;
};

}  // namespace

TrainerState read_state_of_run(const std::filesystem::path& output_dir) {
  const char* name = "trainer_state.json";
  if (std::filesystem::exists(output_dir / name)) return read_trainer_state(output_dir / name);
  const std::vector<Checkpoint> checkpoints = list_checkpoints(output_dir);
  if (checkpoints.empty()) {
    throw Error(ErrorCode::kNotFound,
                output_dir.string() +
                    ": neither trainer_state.json nor a complete checkpoint-N is in it; "
                    "name the output_dir of a run");
  }
  return read_trainer_state(checkpoints.back().path / name);
}

std::vector<Plot> learning_curves(std::span<const NamedRun> runs) {
  Curves curves(runs);
  curves.add({.title = "Loss", .x_label = "step", .y_label = "loss"},
             {{.key = "loss", .label = "training"}, {.key = "eval_loss", .label = "evaluation"}}, true);
  curves.add({.title = "Learning rate", .x_label = "step", .y_label = "learning rate"},
             {{.key = "learning_rate", .label = ""}}, false);
  // SQuAD 2.0's script says exact.
  curves.add({.title = "Evaluation", .x_label = "step", .y_label = "percent"},
             {{.key = "eval_f1", .label = "F1"},
              {.key = "eval_exact_match", .label = "exact match"},
              {.key = "eval_exact", .label = "exact match"}},
             false);
  std::vector<Plot> plots = curves.take();
  if (plots.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "nothing was logged that has a curve; train with logging_steps below the number of steps");
  }
  return plots;
}

Points smoothed(const Points& points) {
  constexpr std::size_t kFew = 20;
  if (points.size() < kFew) return points;
  const std::size_t radius = std::max<std::size_t>(points.size() / 40, 1);
  std::vector<double> sums = {0};
  for (const auto& [x, y] : points) sums.push_back(sums.back() + y);
  Points out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t r = std::min({radius, i, points.size() - 1 - i});
    out.emplace_back(points[i].first, (sums[i + r + 1] - sums[i - r]) / static_cast<double>(2 * r + 1));
  }
  return out;
}

void write_learning_curves(std::span<const std::filesystem::path> output_dirs,
                           const std::filesystem::path& svg) {
  std::vector<NamedRun> runs;
  for (const std::filesystem::path& folder : output_dirs) {
    const std::filesystem::path named = folder.has_filename() ? folder : folder.parent_path();
    runs.push_back({.name = named.filename().string(), .state = read_state_of_run(folder)});
  }
  const std::string text = svg_of(learning_curves(runs));
  base::AtomicFile file(svg);
  file.write(text);
  file.commit();
}

}  // namespace kvasir::train
