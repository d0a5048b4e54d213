#include "train/teachers.h"

#include <span>
#include <utility>

#include "kvasir/error.h"
#include "kvasir/hub.h"
#include "text/tokenizer.h"

namespace kvasir::train {

namespace {

// What tokenizers of different kinds or vocabularies cut differently.
constexpr const char* kProbe =
    "The naïve Dr. O'Neill's 1,024 km re-entry (\"Götterdämmerung\") cost $3.5bn; 東京 and Москва weren't "
    "told!";

void check_tokenizer(const std::string& teacher, const text::Tokenizer& own,
                     const text::Tokenizer& students) {
  if (own.tokenize(kProbe).ids == students.tokenize(kProbe).ids && own.vocab_size() == students.vocab_size())
    return;
  throw Error(ErrorCode::kInvalidArgument,
              "teacher " + teacher +
                  ": its tokenizer makes other tokens than the student's, so that their logits cannot "
                  "be compared; choose a teacher with the same vocabulary");
}

}  // namespace

TaughtBatches::TaughtBatches(std::unique_ptr<BatchSource> source, const Options& options)
    : source_(std::move(source)) {
  const text::Tokenizer student = text::Tokenizer::load(options.student);
  for (const std::string& name : options.teachers) {
    const formats::ModelFolder folder(resolve_model(name));
    check_tokenizer(name, text::Tokenizer::load(folder), student);
    runtime::EngineOptions engine{.threads = options.threads};
    if (!options.isa.empty()) engine.isa = base::parse_isa(options.isa);
    teachers_.push_back(runtime::Engine::load(folder, models::Task::kQuestionAnswering, engine));
  }
}

std::vector<SpanBatch> TaughtBatches::batches(std::uint64_t epoch, std::uint64_t step) {
  std::vector<SpanBatch> batches = source_->batches(epoch, step);
  for (SpanBatch& batch : batches) teach(batch);
  return batches;
}

void TaughtBatches::teach(SpanBatch& batch) {
  std::vector<runtime::Sequence> sequences;
  std::vector<std::vector<float>*> results;
  for (std::size_t s = 0; s < batch.sequences(); ++s) {
    const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
    const std::size_t length = static_cast<std::size_t>(batch.cu_seqlens[s + 1]) - begin;
    std::vector<float>& logits = known_[batch.examples[s]];
    if (!logits.empty()) continue;
    logits.assign(length * 2, 0);
    runtime::Sequence& sequence = sequences.emplace_back();
    sequence.input_ids = std::span(batch.input_ids).subspan(begin, length);
    if (!batch.token_type_ids.empty()) {
      sequence.token_type_ids = std::span(batch.token_type_ids).subspan(begin, length);
    }
    if (!batch.key_lengths.empty()) sequence.keys = static_cast<std::size_t>(batch.key_lengths[s]);
    results.push_back(&logits);
  }
  const float share = 1 / static_cast<float>(teachers_.size());
  for (const runtime::Engine& teacher : teachers_) {
    teacher.run(sequences, [&](std::size_t i, std::span<const float> logits) {
      for (std::size_t k = 0; k < logits.size(); ++k) (*results[i])[k] += share * logits[k];
    });
  }
  batch.teacher_start.clear();
  batch.teacher_end.clear();
  for (const std::uint64_t example : batch.examples) {
    const std::vector<float>& logits = known_[example];
    for (std::size_t k = 0; k < logits.size(); k += 2) {
      batch.teacher_start.push_back(logits[k]);
      batch.teacher_end.push_back(logits[k + 1]);
    }
  }
}

}  // namespace kvasir::train
