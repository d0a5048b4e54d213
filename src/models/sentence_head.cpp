#include "models/sentence_head.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kvasir/error.h"
#include "models/weight_checker.h"
#include "models/weight_loader.h"

namespace kvasir::models {

namespace {

// The states of one text that are pooled.
struct Text {
  const float* states;     // [tokens, width], of the whole text
  std::size_t first, end;  // tokens that are pooled
  std::size_t width;

  const float* state(std::size_t token) const noexcept { return states + token * width; }
};

// out = Σ weight(i) x_i
template <class Weight>
void weighted_sum(const Text& text, const Weight& weight, float* out) {
  std::fill_n(out, text.width, 0.0F);
  for (std::size_t token = text.first; token < text.end; ++token) {
    const float* state = text.state(token);
    const float factor = weight(token);
    for (std::size_t i = 0; i < text.width; ++i) out[i] += factor * state[i];
  }
}

void divide(std::span<float> x, float by) noexcept {
  for (float& value : x) value /= by;
}

void pool(Pooling pooling, const Text& text, std::span<float> out) {
  const auto count = static_cast<float>(text.end - text.first);
  switch (pooling) {
    case Pooling::kCls:
      std::copy_n(text.state(0), text.width, out.data());
      return;
    case Pooling::kLastToken:
      std::copy_n(text.state(text.end - 1), text.width, out.data());
      return;
    case Pooling::kMax:
      std::copy_n(text.state(text.first), text.width, out.data());
      for (std::size_t token = text.first + 1; token < text.end; ++token) {
        const float* state = text.state(token);
        for (std::size_t i = 0; i < text.width; ++i) out[i] = std::max(out[i], state[i]);
      }
      return;
    case Pooling::kMean:
    case Pooling::kMeanSqrtLen:
      weighted_sum(
          text, [](std::size_t) { return 1.0F; }, out.data());
      divide(out, pooling == Pooling::kMean ? count : std::sqrt(count));
      return;
    case Pooling::kWeightedMean: {
      float sum = 0;
      for (std::size_t token = text.first; token < text.end; ++token) sum += static_cast<float>(token + 1);
      weighted_sum(
          text, [](std::size_t token) { return static_cast<float>(token + 1); }, out.data());
      divide(out, sum);
      return;
    }
  }
}

void normalize(std::span<float> x) noexcept {
  float squares = 0;
  for (const float value : x) squares += value * value;
  constexpr float kLeast = 1e-12F;  // torch.nn.functional.normalize
  divide(x, std::max(std::sqrt(squares), kLeast));
}

// A Dense module with its weights.
struct Dense {
  DenseModule module;
  Linear linear;

  template <class Self, class Visitor>
  static void visit_weights(Self& self, const std::string& name, Visitor& v) {
    v(name, self.linear,
      MatrixShape{{"out_features", self.module.out_features}, {"in_features", self.module.in_features}},
      bias_if(self.module.bias));
  }
  // As a model of its own, for loading.
  void visit(WeightVisitor& visitor) { visit_weights(*this, "linear", visitor); }
  void visit(ConstWeightVisitor& visitor) const { visit_weights(*this, "linear", visitor); }
  std::string name() const { return module.folder.filename().string() + ".linear"; }
};
using Module = std::variant<Dense, NormalizeModule>;

class SentenceHead final : public Head {
 public:
  SentenceHead(std::vector<Pooling> pooling, std::vector<Module> modules, std::size_t width)
      : pooling_(std::move(pooling)), modules_(std::move(modules)), width_(width) {
    columns_ = pooling_.size() * width_;
    for (const Module& module : modules_) {
      if (const auto* dense = std::get_if<Dense>(&module)) columns_ = dense->module.out_features;
    }
  }

  Rows rows() const noexcept override { return Rows::kSequences; }
  std::size_t columns() const noexcept override { return columns_; }
  bool reads_first_tokens_only() const noexcept override {
    return pooling_.size() == 1 && pooling_.front() == Pooling::kCls;
  }
  double multiply_adds(std::size_t) const noexcept override {
    double sum = 0;
    for (const Module& module : modules_) {
      if (const auto* dense = std::get_if<Dense>(&module)) {
        sum += static_cast<double>(dense->module.in_features * dense->module.out_features);
      }
    }
    return sum;
  }
  std::string missing_advice() const override { return {}; }  // its weights are not the encoder's

  void outputs(const tensor::RaggedBatch& batch, std::span<float> states, ForwardContext& context,
               std::span<float> out) const override {
    const std::size_t rows = batch.sequences();
    std::span<float> x(context.workspace.floats(kHeadOut, rows * pooling_.size() * width_),
                       rows * pooling_.size() * width_);
    pool_texts(batch, states, x);
    Slot free_slot = kNormed;  // the other of the two slots that x lies in by turns
    for (const Module& module : modules_) {
      if (const auto* dense = std::get_if<Dense>(&module)) {
        const std::size_t size = rows * dense->module.out_features;
        const std::span<float> y(context.workspace.floats(free_slot, size), size);
        forward(dense->linear, context, {.x = x.data(), .y = y.data(), .rows = rows});
        activate(dense->module.activation, y);
        x = y;
        free_slot = free_slot == kNormed ? kHeadOut : kNormed;
      } else {
        const std::size_t width = x.size() / rows;
        for (std::size_t row = 0; row < rows; ++row) normalize(x.subspan(row * width, width));
      }
    }
    std::ranges::copy(x, out.begin());
  }

  void visit(WeightVisitor& visitor) override { visit_modules(*this, visitor); }
  void visit(ConstWeightVisitor& visitor) const override { visit_modules(*this, visitor); }

 private:
  template <class Self, class Visitor>
  static void visit_modules(Self& self, Visitor& visitor) {
    for (auto& module : self.modules_) {
      if (auto* dense = std::get_if<Dense>(&module)) Dense::visit_weights(*dense, dense->name(), visitor);
    }
  }

  // out: [sequences, poolings, width]
  void pool_texts(const tensor::RaggedBatch& batch, std::span<const float> states,
                  std::span<float> out) const {
    const bool firsts = reads_first_tokens_only();
    for (std::size_t s = 0; s < batch.sequences(); ++s) {
      const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
      const auto end = static_cast<std::size_t>(batch.cu_seqlens[s + 1]);
      const std::size_t unpooled = batch.unpooled.empty() ? 0 : static_cast<std::size_t>(batch.unpooled[s]);
      const Text text{.states = states.data() + (firsts ? s : begin) * width_,
                      .first = unpooled,
                      .end = end - begin,
                      .width = width_};
      for (std::size_t p = 0; p < pooling_.size(); ++p) {
        pool(pooling_[p], text, out.subspan((s * pooling_.size() + p) * width_, width_));
      }
    }
  }

  std::vector<Pooling> pooling_;
  std::vector<Module> modules_;
  std::size_t width_, columns_ = 0;
};

Dense load_dense(const DenseModule& module, const LoadOptions& options) {
  Dense dense{.module = module, .linear = {}};
  WeightSource source(module.folder, "");
  WeightChecker checker(source);
  checker.check(dense);
  checker.finish();
  // One row for each text: rounding it would gain nothing.
  WeightLoader loader(source, {.kernels = options.kernels, .precision = Precision::kFp32});
  dense.visit(loader);
  loader.run(options.pool);
  return dense;
}

}  // namespace

const char* pooling_name(Pooling pooling) noexcept {
  switch (pooling) {
    case Pooling::kCls:
      return "cls";
    case Pooling::kMax:
      return "max";
    case Pooling::kMean:
      return "mean";
    case Pooling::kMeanSqrtLen:
      return "mean_sqrt_len";
    case Pooling::kWeightedMean:
      return "weightedmean";
    case Pooling::kLastToken:
      return "lasttoken";
  }
  return "unknown";
}

std::unique_ptr<const Head> load_sentence_head(const SentenceLayout& layout, const EncoderFacts& facts,
                                               const LoadOptions& options) {
  if (layout.width > 0 && layout.width != facts.width) {
    throw Error(ErrorCode::kFormat, "pooling is made for states of " + std::to_string(layout.width) +
                                        " components, and those of the encoder have " +
                                        std::to_string(facts.width) + "; the modules do not fit");
  }
  std::size_t width = layout.pooling.size() * facts.width;
  std::vector<Module> modules;
  for (const SentenceModule& module : layout.modules) {
    const auto* dense = std::get_if<DenseModule>(&module);
    if (dense == nullptr) {
      modules.emplace_back(NormalizeModule{});
      continue;
    }
    if (dense->in_features != width) {
      throw Error(ErrorCode::kFormat, (dense->folder / "config.json").string() +
                                          ": in_features = " + std::to_string(dense->in_features) +
                                          ", but what comes before has " + std::to_string(width) +
                                          " components; the modules do not fit");
    }
    width = dense->out_features;
    modules.emplace_back(load_dense(*dense, options));
  }
  return std::make_unique<const SentenceHead>(layout.pooling, std::move(modules), facts.width);
}

}  // namespace kvasir::models
