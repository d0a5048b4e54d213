#include "models/encoder_model.h"

#include <algorithm>
#include <string>

#include "kvasir/error.h"
#include "models/inventory.h"
#include "models/model_kind.h"
#include "models/registry.h"
#include "models/sentence_modules.h"
#include "models/weight_checker.h"
#include "models/weight_loader.h"

namespace kvasir::models {

namespace {

// A folder's config, the family that it names, and its weights.
struct OpenedEncoder {
  ConfigReader config;
  const EncoderFamily& family;
  WeightSource source;

  explicit OpenedEncoder(const formats::ModelFolder& folder)
      : config(folder.config()), family(encoder_family(config)), source(folder.path(), family.prefix) {}
};

// Of a folder that lacks the head of this task: what else it is, if it says so, else what the head says.
std::string advice_on(const formats::ModelFolder& folder, const Head& head, Task task) {
  const ModelDescription description = describe_model(folder);
  const bool classifies =
      description.kind == ModelKind::kCrossEncoder || description.kind == ModelKind::kClassifier;
  const bool says_so = task == Task::kQuestionAnswering ? description.kind == ModelKind::kReader : classifies;
  const bool is_bare = description.kind == ModelKind::kEncoder;
  return says_so || is_bare ? head.missing_advice() : advice(description);
}

// Weights that were checked. The head may be null.
void load_weights(Encoder& encoder, Head* head, WeightSource& source, const LoadOptions& options) {
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

EncoderModel load_encoder_model(const formats::ModelFolder& folder, Task task, const LoadOptions& options) {
  OpenedEncoder opened(folder);
  std::unique_ptr<Encoder> encoder = opened.family.encoder(opened.config);
  const auto make_head =
      task == Task::kQuestionAnswering ? opened.family.span_head : opened.family.classifier;
  std::unique_ptr<Head> head = make_head(opened.config, encoder->facts());
  WeightChecker checker(opened.source);
  checker.check(*encoder);
  checker.finish();
  checker.check(*head);
  if (!checker.complete()) checker.finish(advice_on(folder, *head, task));
  load_weights(*encoder, head.get(), opened.source, options);
  return {.encoder = std::move(encoder), .head = std::move(head)};
}

EncoderModel load_encoder_model(const formats::ModelFolder& folder, const LoadOptions& options) {
  switch (describe_model(folder).kind) {
    case ModelKind::kSentenceModel: {
      const SentenceModules modules = read_sentence_modules(folder.path());
      return load_sentence_model(modules, modules.transformer, options);
    }
    case ModelKind::kCrossEncoder:
    case ModelKind::kClassifier:
      return load_encoder_model(folder, Task::kSequenceClassification, options);
    case ModelKind::kReader:
    case ModelKind::kEncoder:
    case ModelKind::kLanguageModel:
    case ModelKind::kUnknown:
      break;
  }
  return load_encoder_model(folder, Task::kQuestionAnswering, options);
}

EncoderModel load_sentence_model(const SentenceModules& modules, const formats::ModelFolder& encoder,
                                 const LoadOptions& options) {
  EncoderModel model{.encoder = load_encoder(encoder, options), .head = nullptr};
  model.head = load_sentence_head(modules.head, model.facts(), options);
  return model;
}

namespace {

// Allocates a head's weights, zeros. (Norms and biases of a new head are filled by whoever draws its
// weights.)
class ZeroWeights final : public WeightVisitor {
 public:
  void embedding(const std::string&, Embedding&, const MatrixShape&) override {}  // heads have none
  void layer_norm(const std::string&, LayerNorm& norm, const Dim& width, Bias) override {
    norm.weight = filled(width.size, 1);
    norm.bias = filled(width.size, 0);
  }
  void rms_norm(const std::string&, RmsNorm& norm, const Dim& width) override {
    norm.weight = filled(width.size, 1);
  }
  void linear(LinearParts parts, Linear& linear, const Dim& columns, Bias bias) override {
    std::size_t rows = 0;
    for (const LinearPart& part : parts) rows += part.rows.size;
    auto& packed = linear.weight.emplace<kernels::PackedMatrix>(kernels::allocate_packed(rows, columns.size));
    std::ranges::fill(packed.data.span(), 0.0F);
    if (bias == Bias::kYes) linear.bias = filled(rows, 0);
  }
  void convolution(const std::string&, Linear&, const ConvolutionShape&) override {}  // nor these

 private:
  static tensor::Buffer<float> filled(std::size_t size, float value) {
    tensor::Buffer<float> buffer(size);
    std::ranges::fill(buffer.span(), value);
    return buffer;
  }
};

}  // namespace

TrainableModel load_trainable_reader(const formats::ModelFolder& folder, const LoadOptions& options) {
  OpenedEncoder opened(folder);
  TrainableModel model{.encoder = opened.family.encoder(opened.config),
                       .head = nullptr,
                       .prefix = opened.family.prefix,
                       .pad_token_id = opened.family.pad_token_id};
  opened.config.optional_id("pad_token_id", model.pad_token_id,
                            static_cast<std::int32_t>(model.facts().vocab_size));
  model.head = opened.family.span_head(opened.config, model.facts());
  WeightChecker encoder_checker(opened.source), head_checker(opened.source);
  encoder_checker.check(*model.encoder);
  encoder_checker.finish();
  head_checker.check(*model.head);
  model.head_is_new = !head_checker.complete();
  WeightLoader loader(opened.source, {.kernels = options.kernels, .precision = Precision::kFp32});
  model.encoder->visit(loader);
  if (!model.head_is_new) model.head->visit(loader);
  loader.run(options.pool);
  if (model.head_is_new) {
    ZeroWeights zeros;
    model.head->visit(zeros);
  }
  opened.source.warn_about_unused();
  return model;
}

std::unique_ptr<const Encoder> load_encoder(const formats::ModelFolder& folder, const LoadOptions& options) {
  OpenedEncoder opened(folder);
  std::unique_ptr<Encoder> encoder = opened.family.encoder(opened.config);
  WeightChecker checker(opened.source);
  checker.check(*encoder);
  checker.finish();
  load_weights(*encoder, nullptr, opened.source, options);
  return encoder;
}

}  // namespace kvasir::models
