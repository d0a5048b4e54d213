// Event files, which TensorBoard reads: TFRecords of the protobuf message Event.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "train/append_file.h"

namespace kvasir::train {

// Each call leaves a file that can be read: TensorBoard may follow the run, and a killed run loses nothing.
class EventFile {
 public:
  // Makes events.out.tfevents.<seconds>.<host>.<pid>.0 (1, 2, … if that is there) in the folder, which must
  // be there. start_time: Unix time in seconds. Throws kIo.
  EventFile(const std::filesystem::path& folder, double start_time);

  // Throws kIo; the file then has whole records all the same.
  void scalar(std::string_view tag, std::uint64_t step, double wall_time, float value);
  // A resumed run goes on with this step: what earlier files of the folder have of it and of later steps is
  // no longer shown.
  void resume(std::uint64_t step, double wall_time);

  const std::filesystem::path& path() const noexcept { return file_.path(); }

 private:
  AppendFile file_;
};

// CRC-32C (Castagnoli), as TFRecords mask it.
std::uint32_t masked_crc32c(std::string_view bytes) noexcept;

}  // namespace kvasir::train
