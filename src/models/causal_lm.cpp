#include "models/causal_lm.h"

#include <utility>

#include "formats/gguf.h"
#include "models/gguf/config.h"
#include "models/inventory.h"
#include "models/registry.h"
#include "models/weight_checker.h"
#include "models/weight_loader.h"

namespace kvasir::models {

std::unique_ptr<const CausalLm> load_causal_lm(const formats::ModelFolder& folder,
                                               const LoadOptions& options) {
  const std::shared_ptr<const formats::GgufFile> gguf = folder.gguf();
  const base::json::value metadata = gguf == nullptr ? nullptr : config_from_gguf(*gguf);
  const ConfigReader config(gguf == nullptr ? folder.config()
                                            : base::JsonObject(metadata, folder.gguf_path()->string()));
  const DecoderFamily& family = decoder_family(config);
  WeightSource source = gguf == nullptr ? WeightSource(folder.path(), family.prefix)
                                        : WeightSource(gguf, config.json(), family.prefix);
  std::unique_ptr<CausalLm> model = family.model(config, source);
  WeightChecker checker(source);
  checker.check(*model);
  checker.finish();
  WeightLoader loader(source,
                      {.kernels = options.kernels, .precision = options.precision, .keeps_half = true});
  model->visit(loader);
  loader.run(options.pool);
  if (options.inventory != nullptr) {
    InventoryTaker taker(source, *options.inventory);
    std::as_const(*model).visit(taker);
  }
  source.warn_about_unused();
  return model;
}

bool is_causal_lm(const formats::ModelFolder& folder) {
  if (folder.gguf_path()) return true;
  return is_decoder_type(folder.config().string_or("model_type", ""));
}

}  // namespace kvasir::models
