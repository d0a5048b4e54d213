// The log of a training run: JSON lines, one each step, and one each evaluation.
//
//   {"step":1,"loss":5.9,"grad_norm":12.3,"learning_rate":5e-05,"tokens_per_second":1810.5}
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "train/append_file.h"

namespace kvasir::train {

struct LogLine {
  std::uint64_t step = 0;
  std::vector<std::pair<std::string, double>> values = {};  // in this order; epoch is one of them
};

class TrainingLog {
 public:
  // A new log; forgets one that is there. Throws kIo.
  explicit TrainingLog(const std::filesystem::path& path);
  // Of a run that goes on after `step`: a killed run may have logged steps that its last checkpoint does not
  // have, and half a line. From the first line behind `step` on, all is cut off. A log that is not there is
  // begun. Throws kIo; kFormat "FILE:LINE: …" if a line before is not of such a log.
  TrainingLog(const std::filesystem::path& path, std::uint64_t step);

  // The line is in the file when this returns. Throws kIo; the file then has whole lines all the same.
  void write(const LogLine& line);

 private:
  AppendFile file_;
};

// Half a line at the end is left out; null is read as no number (NaN). Throws kNotFound, kIo, kFormat
// "FILE:LINE: …".
std::vector<LogLine> read_training_log(const std::filesystem::path& path);

}  // namespace kvasir::train
