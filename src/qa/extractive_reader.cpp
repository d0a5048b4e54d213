#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "base/cpu.h"
#include "kvasir/error.h"
#include "kvasir/hub.h"
#include "qa/batch_reader.h"
#include "qa/calibration.h"
#include "qa/reader_impl.h"

namespace kvasir {

namespace {

std::uint64_t next_reader_id() noexcept {
  static std::atomic<std::uint64_t> next{1};  // 0: a document of no reader
  return next++;
}

}  // namespace

Reader Reader::load(const std::filesystem::path& model, const ReaderOptions& options) {
  const runtime::EngineOptions engine_options = runtime::engine_options(options);

  const std::filesystem::path folder = resolve_model(model, {.cache = options.hub_cache});
  // The small files first: what is wrong with them should not wait for the weights.
  const formats::ModelFolder files(folder);
  qa::Calibration calibration = qa::load_calibration(files);
  text::Tokenizer tokenizer = text::Tokenizer::load(files);
  runtime::Engine engine = runtime::Engine::load(files, models::Task::kQuestionAnswering, engine_options);
  return Reader(std::make_shared<const Impl>(
      Impl{{folder, next_reader_id(), std::move(tokenizer), std::move(engine), calibration,
            std::make_unique<qa::AnswerCache>(options.answer_cache_bytes)}}));
}

std::vector<AskResult> Reader::ask_batch(std::span<const Query> queries, const AskOptions& options,
                                         const OnResult& on_result) const {
  std::vector<qa::ReaderQuery> reader_queries;
  reader_queries.reserve(queries.size());
  for (std::size_t i = 0; i < queries.size(); ++i) {
    qa::ReaderQuery& query = reader_queries.emplace_back();
    query.question = queries[i].question;
    query.where = "query " + std::to_string(i) + ": ";
    for (const Document& document : queries[i].documents) query.texts.push_back(document.impl_.get());
  }
  return qa::read_batch(*impl_, reader_queries, options, on_result);
}

AskResult Reader::ask(std::string_view question, std::span<const Document> documents,
                      const AskOptions& options) const {
  qa::ReaderQuery query{.question = question, .texts = {}, .where = ""};
  for (const Document& document : documents) query.texts.push_back(document.impl_.get());
  return std::move(qa::read_batch(*impl_, {&query, 1}, options, {}).front());
}

AskResult Reader::ask(std::string_view question, const Document& document, const AskOptions& options) const {
  return ask(question, std::span(&document, 1), options);
}

int Reader::max_seq_len() const noexcept {
  return static_cast<int>(std::min(impl_->tokenizer.model_max_length(), impl_->engine.facts().max_positions));
}

int Reader::threads() const noexcept {
  return impl_->engine.threads();
}

const char* Reader::isa() const noexcept {
  return base::isa_name(impl_->engine.isa());
}

const std::string& Reader::family() const noexcept {
  return impl_->engine.facts().family;
}

}  // namespace kvasir
