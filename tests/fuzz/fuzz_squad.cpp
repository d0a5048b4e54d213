// Any bytes as a SQuAD file: refused with a kvasir::Error, or data that can be scored.
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string_view>

#include "kvasir/error.h"
#include "qa/squad.h"
#include "temporary_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  static const tests::TemporaryFolder folder;
  static const auto path = folder / "squad.json";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    const qa::SquadDataset dataset = qa::load_squad(path);
    qa::Predictions predictions;
    for (const auto& paragraph : dataset.paragraphs) {
      for (const auto& question : paragraph.qas) predictions[question.id] = question.question;
    }
    qa::score_v1(dataset, predictions);
    qa::score_v2(dataset, predictions);
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
