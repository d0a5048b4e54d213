#include "kvasir/embedder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/utf8.h"
#include "kvasir/hub.h"
#include "models/model_kind.h"
#include "models/sentence_modules.h"
#include "runtime/engine.h"
#include "text/tokenizer.h"
#include "unicode/python_text.h"

namespace kvasir {

namespace embedding {

struct LoadedEmbedder {
  models::SentenceModules modules;
  text::Tokenizer tokenizer;
  runtime::Engine engine;
  std::size_t max_seq_length;  // at most the encoder's
  bool feeds_types;            // whether the model is given token types
};

namespace {

// Tokens that wait for the engine at once: some 100 texts of common length, so that it can cut them into
// batches as it likes.
constexpr std::size_t kGroupTokens = 16384;

// One text on its way.
struct Pending {
  text::Encoding encoding;
  Embedding result;  // the vector is missing
  std::size_t unpooled = 0;
};

class BatchEmbedder {
 public:
  BatchEmbedder(const LoadedEmbedder& embedder, const EmbedOptions& options,
                const Embedder::OnResult& on_result)
      : embedder_(embedder), options_(options), on_result_(on_result) {}

  void add(std::size_t index, const EmbedText& text) {
    const std::size_t invalid = base::find_invalid_utf8(text.text);
    if (invalid != text.text.size()) {
      throw Error(ErrorCode::kInvalidArgument, "text " + std::to_string(index) + ": is not UTF-8 (byte " +
                                                   std::to_string(invalid) + "); convert it first");
    }
    const std::string& prompt = prompt_of(text);
    const text::Tokenizer& tokenizer = embedder_.tokenizer;
    const text::TokenizedText tokens = tokenizer.tokenize(prepared(prompt + std::string(text.text)));
    const std::size_t special = tokenizer.single_template_tokens();
    const std::size_t room = embedder_.max_seq_length > special ? embedder_.max_seq_length - special : 0;
    Pending& pending = group_.emplace_back();
    pending.encoding = tokenizer.join(tokens, {0, std::min(tokens.size(), room)});
    pending.result.tokens = pending.encoding.size();
    pending.result.text_tokens = tokens.size() + special;
    if (!embedder_.modules.include_prompt && !prompt.empty()) {
      // The tokens of the prompt alone without its last, as the reference counts them: the last is the
      // special one that ends it. What is cut off cannot be left out.
      const std::size_t own = tokenizer.tokenize(prepared(prompt)).size() + special - 1;
      pending.unpooled = std::min(own, pending.encoding.size() - 1);
    }
    group_tokens_ += pending.encoding.size();
    if (group_tokens_ >= kGroupTokens) flush();
  }

  void flush() {
    std::vector<runtime::Sequence> sequences;
    for (const Pending& pending : group_) {
      runtime::Sequence sequence{.input_ids = pending.encoding.ids, .token_type_ids = {}};
      if (embedder_.feeds_types) sequence.token_type_ids = pending.encoding.type_ids;
      sequence.unpooled = pending.unpooled;
      sequences.push_back(sequence);
    }
    embedder_.engine.run(
        sequences,
        [&](std::size_t i, std::span<const float> vector) {
          Embedding& result = group_[i].result;
          result.vector.assign(vector.begin(), vector.end());
          on_result_(done_++, result);
        },
        options_.cancel);
    group_.clear();
    group_tokens_ = 0;
  }

 private:
  const std::string& prompt_of(const EmbedText& text) const {
    static const std::string none;
    const bool own = text.prompt_name.has_value();
    if (!own && options_.prompt) return *options_.prompt;
    const std::optional<std::string>& name = own                    ? text.prompt_name
                                             : options_.prompt_name ? options_.prompt_name
                                                                    : embedder_.modules.default_prompt_name;
    if (!name) return none;
    const std::map<std::string, std::string>& prompts = embedder_.modules.prompts;
    const auto found = prompts.find(*name);
    if (found != prompts.end()) return found->second;
    std::string known;
    for (const auto& [each, value] : prompts) known += (known.empty() ? "" : ", ") + each;
    throw Error(ErrorCode::kInvalidArgument, "the model has no prompt named \"" + *name + "\"; " +
                                                 (known.empty() ? "it has none" : "it has " + known));
  }

  std::string prepared(const std::string& text) const {
    const std::string_view stripped = unicode::strip(text);
    return embedder_.modules.do_lower_case ? unicode::to_lower(stripped) : std::string(stripped);
  }

  const LoadedEmbedder& embedder_;
  const EmbedOptions& options_;
  const Embedder::OnResult& on_result_;
  std::vector<Pending> group_;
  std::size_t group_tokens_ = 0, done_ = 0;
};

}  // namespace

}  // namespace embedding

struct Embedder::Impl : embedding::LoadedEmbedder {};

namespace {

// A reader or a cross-encoder has an encoder too, but its states were not trained to be vectors of texts.
void check_kind(const formats::ModelFolder& folder) {
  const models::ModelDescription description = models::describe_model(folder);
  switch (description.kind) {
    case models::ModelKind::kReader:
    case models::ModelKind::kCrossEncoder:
    case models::ModelKind::kClassifier:
    case models::ModelKind::kLanguageModel:
      throw Error(ErrorCode::kInvalidArgument,
                  folder.path().string() + ": has no vectors of texts; " + models::advice(description));
    case models::ModelKind::kSentenceModel:
    case models::ModelKind::kEncoder:
    case models::ModelKind::kUnknown:
      break;
  }
}

}  // namespace

Embedder Embedder::load(const std::filesystem::path& model, const EmbedderOptions& options) {
  const runtime::EngineOptions engine_options = runtime::engine_options(options);
  const std::filesystem::path folder = resolve_model(model, {.cache = options.hub_cache});
  const bool has_modules = models::has_sentence_modules(folder);
  // The small files first: what is wrong with them should not wait for the weights.
  models::SentenceModules modules =
      has_modules ? models::read_sentence_modules(folder) : models::mean_of_tokens(folder);
  const formats::ModelFolder encoder(modules.transformer);
  if (!has_modules) check_kind(encoder);
  text::Tokenizer tokenizer = text::Tokenizer::load(encoder);
  runtime::Engine engine = runtime::Engine::load(
      [&](const models::LoadOptions& load) { return models::load_sentence_model(modules, encoder, load); },
      engine_options);
  const std::size_t longest = engine.facts().max_positions;
  const std::size_t limit = modules.max_seq_length.value_or(tokenizer.model_max_length());
  const bool feeds_types = tokenizer.makes_token_type_ids() && engine.facts().type_vocab_size > 0;
  return Embedder(std::make_shared<const Impl>(Impl{{.modules = std::move(modules),
                                                     .tokenizer = std::move(tokenizer),
                                                     .engine = std::move(engine),
                                                     .max_seq_length = std::min(limit, longest),
                                                     .feeds_types = feeds_types}}));
}

Embedding Embedder::embed(std::string_view text, const EmbedOptions& options) const {
  Embedding result;
  const EmbedText one{.text = text};
  embed_batch({&one, 1}, options, [&](std::size_t, Embedding& embedding) { result = std::move(embedding); });
  return result;
}

void Embedder::embed_batch(std::span<const EmbedText> texts, const EmbedOptions& options,
                           const OnResult& on_result) const {
  embedding::BatchEmbedder batch(*impl_, options, on_result);
  for (std::size_t i = 0; i < texts.size(); ++i) batch.add(i, texts[i]);
  batch.flush();
}

double Embedder::similarity(std::span<const float> a, std::span<const float> b) const {
  if (a.size() != b.size()) {
    throw Error(ErrorCode::kInvalidArgument, "similarity: one vector has " + std::to_string(a.size()) +
                                                 " components, the other " + std::to_string(b.size()));
  }
  double dot = 0, squares_a = 0, squares_b = 0, squares = 0, absolute = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    dot += x * y;
    squares_a += x * x;
    squares_b += y * y;
    squares += (x - y) * (x - y);
    absolute += std::abs(x - y);
  }
  switch (impl_->modules.similarity) {
    case models::Similarity::kCosine: {
      constexpr double kLeast = 1e-12;  // of a length, as torch.nn.functional.normalize
      return dot / (std::max(std::sqrt(squares_a), kLeast) * std::max(std::sqrt(squares_b), kLeast));
    }
    case models::Similarity::kDot:
      return dot;
    case models::Similarity::kEuclidean:
      return -std::sqrt(squares);
    case models::Similarity::kManhattan:
      return -absolute;
  }
  return dot;
}

std::size_t Embedder::dimension() const noexcept {
  return impl_->engine.model().head->columns();
}

std::size_t Embedder::max_seq_length() const noexcept {
  return impl_->max_seq_length;
}

const std::map<std::string, std::string>& Embedder::prompts() const noexcept {
  return impl_->modules.prompts;
}

std::string Embedder::similarity_name() const {
  return models::similarity_name(impl_->modules.similarity);
}

const std::string& Embedder::family() const noexcept {
  return impl_->engine.facts().family;
}

}  // namespace kvasir
