#include "models/encoder_model.h"

#include <string>

#include "kvasir/error.h"
#include "models/inventory.h"
#include "models/registry.h"
#include "models/weight_checker.h"
#include "models/weight_loader.h"

namespace kvasir::models {

namespace {

// A folder's config, the family that it names, and its weights.
struct OpenedEncoder {
  base::json::value document;
  ConfigReader config;
  const EncoderFamily& family;

  explicit OpenedEncoder(const std::filesystem::path& folder)
      : document(base::parse_json_file(folder / "config.json")),
        config(base::JsonObject(document, (folder / "config.json").string())),
        family(encoder_family(config)) {}
};

// The head may be null.
void load_weights(Encoder& encoder, Head* head, WeightSource& source, const LoadOptions& options) {
  WeightChecker checker(source);
  checker.check(encoder);
  checker.finish();
  if (head != nullptr) {
    checker.check(*head);
    checker.finish(head->missing_advice());
  }
  WeightLoader loader(source, {.kernels = options.kernels, .precision = options.precision});
  encoder.visit(loader);
  if (head != nullptr) head->visit(loader);
  loader.run(options.pool);
  if (options.inventory != nullptr) {
    InventoryTaker taker(source, *options.inventory);
    std::as_const(encoder).visit(taker);
    if (head != nullptr) std::as_const(*head).visit(taker);
  }
  source.warn_about_unused();
  tensor::Workspace workspace;
  ForwardContext context{.kernels = options.kernels, .pool = options.pool, .workspace = workspace};
  encoder.finish_loading(context);
}

}  // namespace

EncoderModel load_encoder_model(const std::filesystem::path& folder, Task task, const LoadOptions& options) {
  const OpenedEncoder opened(folder);
  WeightSource source(folder, opened.family.prefix);
  std::unique_ptr<Encoder> encoder = opened.family.encoder(opened.config);
  const auto make_head =
      task == Task::kQuestionAnswering ? opened.family.span_head : opened.family.classifier;
  std::unique_ptr<Head> head = make_head(opened.config, encoder->facts());
  load_weights(*encoder, head.get(), source, options);
  return {.encoder = std::move(encoder), .head = std::move(head)};
}

std::unique_ptr<const Encoder> load_encoder(const std::filesystem::path& folder, const LoadOptions& options) {
  const OpenedEncoder opened(folder);
  WeightSource source(folder, opened.family.prefix);
  std::unique_ptr<Encoder> encoder = opened.family.encoder(opened.config);
  load_weights(*encoder, nullptr, source, options);
  return encoder;
}

}  // namespace kvasir::models
