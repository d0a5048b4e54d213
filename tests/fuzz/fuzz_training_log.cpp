// Any bytes as the log of a training run, and as trainer_state.json: what can be read can be written, and
// read again as the same; all else is refused with a kvasir::Error in one line.
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string_view>

#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "temporary_folder.h"
#include "train/trainer_state.h"
#include "train/training_log.h"

namespace {

using namespace kvasir;

// Runs a reader that may refuse; whether it did not.
template <class Read>
bool accepts(const Read& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
    return false;
  }
}

std::string rewritten(const std::filesystem::path& from, const std::filesystem::path& to) {
  train::TrainingLog log(to);
  for (const train::LogLine& line : train::read_training_log(from)) log.write(line);
  return base::read_file(to);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const tests::TemporaryFolder folder;
  const auto path = folder / "input", once = folder / "once", twice = folder / "twice";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  std::string text;
  if (accepts([&] { text = rewritten(path, once); }) && rewritten(once, twice) != text) __builtin_trap();
  train::TrainerState state;
  if (accepts([&] { state = train::read_trainer_state(path); })) {
    train::write_trainer_state(once, state);
    train::write_trainer_state(twice, train::read_trainer_state(once));
    if (base::read_file(once) != base::read_file(twice)) __builtin_trap();
  }
  // Last, because it cuts the file.
  accepts([&] { const train::TrainingLog log(path, 5); });
  return 0;
}
