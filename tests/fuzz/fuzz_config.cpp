// Any bytes as config.json beside the weights of a small BERT: refused with a kvasir::Error in one line, or a
// model that loads.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "base/thread_pool.h"
#include "kvasir/error.h"
#include "models/encoder_model.h"
#include "temporary_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  static const tests::TemporaryFolder folder;
  static const bool linked = [] {
    const std::filesystem::path weights =
        KVASIR_TEST_DATA "/checkpoints/whole-word-masking/clean.safetensors";
    std::filesystem::create_symlink(weights, folder / "model.safetensors");
    return true;
  }();
  static base::ThreadPool pool(1);
  (void)linked;
  std::ofstream(folder / "config.json", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    const auto model =
        models::load_encoder_model(folder.path(), models::Task::kQuestionAnswering,
                                   {.kernels = kernels::kernels_for(base::best_isa()), .pool = pool});
    if (model.parameters() == 0) __builtin_trap();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
