#include "qa/batch_reader.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <optional>

#include "kvasir/error.h"
#include "qa/logits_cache.h"
#include "qa/windows.h"
#include "unicode/python_text.h"

namespace kvasir::qa {

namespace {

// Windows that are held at once: some 40 of full length, 1 MB with their offsets, 16 times what the engine
// runs at once. The batch at the end of a group is not full, so groups should be much larger than batches.
constexpr std::size_t kGroupTokens = 16384;
// For windows that may come again: some 700 of full length, a few times what a group holds.
constexpr std::size_t kLogitsCacheBytes = std::size_t{4} << 20;

// One query from its check to its result.
struct Run {
  const ReaderQuery* query = nullptr;
  std::string_view question;  // what the tokenizer saw
  text::TokenizedText tokens;
  std::size_t windows = 0;  // in all
  std::size_t done = 0;     // decoded
  std::optional<AskResult> cached;
  // While its windows are on their way:
  std::vector<Context> contexts;
  std::unique_ptr<SpanDecoder> decoder;
};

// One window on its way.
struct Pending {
  Run* run;
  text::Encoding encoding;
  Window window;                                       // the logits are set when they have been computed
  std::vector<std::int32_t> padded_ids, padded_types;  // what the model reads, if it reads padding
  LogitsCache::Entry* entry = nullptr;                 // has or gets its logits
};

bool all_finite(std::span<const float> values) noexcept {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

class BatchReader {
 public:
  BatchReader(const LoadedReader& reader, std::span<const ReaderQuery> queries, const AskOptions& options,
              const Reader::OnResult& on_result)
      : reader_(reader), options_(options), on_result_(on_result), runs_(queries.size()) {
    const text::Tokenizer& tokenizer = reader.tokenizer;
    limits_ = {.tokenizer_max = tokenizer.model_max_length(),
               .model_max = reader.engine.facts().max_positions,
               .template_tokens = tokenizer.pair_template_tokens()};
    lengths_ = window_lengths(options, limits_);
    cls_id_ = tokenizer.special_ids().cls.value_or(-1);
    make_decoder({}, options, reader.calibration);  // checks the options
    feeds_types_ = tokenizer.makes_token_type_ids() && reader.engine.facts().type_vocab_size > 0;
    if (options.pad_to_max_length) check_padding();
    for (std::size_t i = 0; i < queries.size(); ++i) {
      try {
        check(queries[i], runs_[i]);
      } catch (const Error& error) {
        throw Error(error.code(), queries[i].where + error.what());
      }
      windows_ += runs_[i].windows;
    }
  }

  std::vector<AskResult> read() {
    for (Run& run : runs_) {
      if (run.cached) {
        report();
        continue;
      }
      start(run);
      for (std::size_t t = 0; t < run.contexts.size(); ++t) add_windows(run, t);
    }
    flush();
    report();
    return std::move(results_);
  }

 private:
  void check_padding() const {
    if (reader_.tokenizer.pad_left()) {
      throw Error(ErrorCode::kUnsupported,
                  "pad_to_max_length: padding_side is left, and only padding on the right can be run");
    }
    if (!reader_.tokenizer.special_ids().pad)
      throw Error(ErrorCode::kUnsupported, "pad_to_max_length: the tokenizer has no padding token");
    if (lengths_.max_seq_len > limits_.model_max) {
      throw Error(ErrorCode::kInvalidArgument, "max_seq_len: " + std::to_string(lengths_.max_seq_len) +
                                                   " is more than the model takes (" +
                                                   std::to_string(limits_.model_max) + "); lower it");
    }
  }

  // Everything that can be wrong with a query, found before any runs; counts its windows.
  void check(const ReaderQuery& query, Run& run) const {
    run.query = &query;
    run.question = query.question;
    if (run.question.empty()) throw Error(ErrorCode::kInvalidArgument, "`question` cannot be empty");
    const std::size_t invalid = base::find_invalid_utf8(run.question);
    if (invalid != run.question.size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "question: is not UTF-8 (byte " + std::to_string(invalid) + "); convert it first");
    }
    if (options_.decode == Decode::kSquad) run.question = unicode::strip_left(run.question);
    run.tokens = reader_.tokenizer.tokenize(run.question);
    if (options_.decode == Decode::kKvasir && run.tokens.size() == 0)
      throw Error(ErrorCode::kInvalidArgument,
                  "`question` cannot be empty: it holds nothing but white space");
    if (query.texts.empty()) throw Error(ErrorCode::kInvalidArgument, "documents: there is none to read");
    for (std::size_t t = 0; t < query.texts.size(); ++t) {
      const PreparedText* text = query.texts[t];
      if (text == nullptr || text->reader_id != reader_.id) {
        throw Error(ErrorCode::kInvalidArgument,
                    "document " + std::to_string(t) +
                        (text == nullptr ? ": is empty" : ": was prepared by another reader") +
                        "; make it with this reader's prepare()");
      }
      run.windows += slices_of(run, *text).size();
    }
    run.cached = reader_.cache->find(key_of(run));
  }

  AnswerKey key_of(const Run& run) const {
    return {.question = run.query->question, .texts = run.query->texts, .options = answer_options(options_)};
  }

  std::vector<text::ContextSlice> slices_of(const Run& run, const PreparedText& text) const {
    std::vector<text::ContextSlice> slices =
        context_slices(run.tokens.size(), text.tokens.size(), lengths_, limits_, options_.decode);
    // A text without tokens is shown to the model only where the reference's result depends on it.
    if (options_.decode == Decode::kKvasir && text.tokens.size() == 0) slices.clear();
    return slices;
  }

  static void set_contexts(Run& run) {
    for (const PreparedText* text : run.query->texts) run.contexts.push_back({text->text, &text->tokens});
  }

  void start(Run& run) {
    set_contexts(run);
    run.decoder = make_decoder(run.contexts, options_, reader_.calibration);
  }

  void add_windows(Run& run, std::size_t context_index) {
    const PreparedText& text = *run.query->texts[context_index];
    const std::vector<text::ContextSlice> slices = slices_of(run, text);
    for (std::size_t k = 0; k < slices.size(); ++k) {
      Pending& pending = group_.emplace_back();
      pending.run = &run;
      build(pending, run, text, slices[k]);
      pending.window.context_index = context_index;
      pending.window.share = span_share(slices, k);
      group_tokens_ += options_.pad_to_max_length ? lengths_.max_seq_len : pending.encoding.size();
      if (group_tokens_ >= kGroupTokens) flush();
    }
  }

  void build(Pending& pending, const Run& run, const PreparedText& text, text::ContextSlice slice) const {
    const text::ContextSlice whole_question{0, run.tokens.size()};
    const bool context_first = reader_.tokenizer.pad_left();
    pending.encoding = context_first ? reader_.tokenizer.join(text.tokens, slice, run.tokens, whole_question)
                                     : reader_.tokenizer.join(run.tokens, whole_question, text.tokens, slice);
    Window& window = pending.window;
    window.encoding = &pending.encoding;
    window.context_sequence = context_first ? 0 : 1;
    window.slice = slice;
    window.cls_id = cls_id_;
    window.question = run.question;
    const std::vector<std::int32_t>& sequences = pending.encoding.sequence_ids;
    const auto first = std::find(sequences.begin(), sequences.end(), window.context_sequence);
    window.context_position = static_cast<std::size_t>(first - sequences.begin());
    if (options_.pad_to_max_length) pad(pending);
  }

  // Padding goes into the ids alone, behind the encoding's own size as the decoders see it.
  void pad(Pending& pending) const {
    pending.padded_ids = pending.encoding.ids;
    pending.padded_ids.resize(lengths_.max_seq_len, *reader_.tokenizer.special_ids().pad);
    pending.padded_types = pending.encoding.type_ids;
    pending.padded_types.resize(lengths_.max_seq_len, 0);
  }

  runtime::Sequence sequence(const Pending& pending) const {
    runtime::Sequence out;
    out.input_ids = options_.pad_to_max_length ? pending.padded_ids : pending.encoding.ids;
    if (feeds_types_)
      out.token_type_ids = options_.pad_to_max_length ? pending.padded_types : pending.encoding.type_ids;
    out.keys = pending.encoding.size();
    out.wanted = wanted(pending.window);
    return out;
  }

  // The kvasir decoder reads [CLS] and the context. The reference's decoders read the question's logits too:
  // run_qa ranks them with the others before it drops them.
  runtime::Sequence::Tokens wanted(const Window& window) const {
    if (options_.decode != Decode::kKvasir || window.encoding->ids.front() != cls_id_) return {};
    return {.begin = window.context_position,
            .end = window.context_position + window.slice.end - window.slice.begin};
  }

  // Runs the group's windows, each kind once, and decodes them in order.
  void flush() {
    std::vector<runtime::Sequence> sequences;
    std::vector<LogitsCache::Entry*> entries;
    for (Pending& pending : group_) {
      const runtime::Sequence window = sequence(pending);
      const auto [entry, is_new] = logits_cache_.find_or_add(window);
      pending.entry = entry;
      if (!is_new) continue;
      sequences.push_back(window);
      entries.push_back(entry);
    }
    std::size_t next = 0;
    const auto decode_ready = [&] {
      for (; next < group_.size() && group_[next].entry->ready(); ++next) decode(group_[next]);
    };
    decode_ready();
    try {
      reader_.engine.run(
          sequences,
          [&](std::size_t i, std::span<const float> logits) {
            keep(*entries[i], logits);
            decode_ready();
          },
          options_.cancel);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCancelled) throw;
      refuse_cancelled();
    }
    logits_cache_.trim();
    group_.clear();
    group_tokens_ = 0;
  }

  [[noreturn]] void refuse_cancelled() const {
    throw Error(ErrorCode::kCancelled,
                "cancelled after " + std::to_string(done_) + " of " + std::to_string(windows_) + " windows");
  }

  void keep(LogitsCache::Entry& entry, std::span<const float> logits) const {
    if (!all_finite(logits)) {
      throw Error(ErrorCode::kFormat,
                  reader_.folder.string() + ": the model's logits are not finite; are its weights damaged?");
    }
    models::SpanLogits columns = models::split_span_logits(logits);
    entry.start = std::move(columns.start);
    entry.end = std::move(columns.end);
  }

  void decode(Pending& pending) {
    if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed)) refuse_cancelled();
    pending.window.start_logits = pending.entry->start;
    pending.window.end_logits = pending.entry->end;
    pending.run->decoder->add(pending.window);
    ++pending.run->done;
    ++done_;
    report();
  }

  // Hands out complete results and reports progress, if there is any.
  void report() {
    finish_complete();
    if (done_ == reported_) return;
    reported_ = done_;
    if (options_.progress) options_.progress(done_, windows_);
  }

  // Hands out results, in order, of the queries whose windows are all decoded.
  void finish_complete() {
    while (results_.size() < runs_.size()) {
      Run& run = runs_[results_.size()];
      if (run.cached) {
        results_.push_back(*std::move(run.cached));
        done_ += run.windows;
      } else {
        if (run.decoder == nullptr || run.done < run.windows) return;
        results_.push_back(finish(run));
        reader_.cache->store(key_of(run), results_.back());
      }
      if (on_result_) on_result_(results_.size() - 1, results_.back());
    }
  }

  static AskResult finish(Run& run) {
    const Decoded decoded = run.decoder->finish();
    AskResult result;
    result.no_answer_score = decoded.no_answer_score;
    result.windows = run.windows;
    for (const DecodedAnswer& answer : decoded.answers) {
      const PreparedText& text = *run.query->texts[answer.context_index];
      const std::size_t begin = answer.byte_begin, end = answer.byte_end;
      Answer& out = result.answers.emplace_back();
      out.score = answer.score;
      out.document = answer.context_index;
      if (begin < end) out.text = text.text.substr(begin, end - begin);
      out.range = {.byte_start = begin,
                   .byte_end = end,
                   .start = text.offsets.code_points(begin),
                   .end = text.offsets.code_points(end),
                   .utf16_start = text.offsets.utf16_units(begin),
                   .utf16_end = text.offsets.utf16_units(end)};
    }
    run.decoder.reset();
    run.contexts = {};
    run.tokens = {};
    return result;
  }

  const LoadedReader& reader_;
  const AskOptions& options_;
  const Reader::OnResult& on_result_;
  WindowLimits limits_{};
  WindowLengths lengths_{};
  std::int32_t cls_id_ = -1;
  bool feeds_types_ = true;
  std::vector<Run> runs_;      // one per query, never moved
  std::deque<Pending> group_;  // a deque: windows point at their encodings
  std::size_t group_tokens_ = 0;
  LogitsCache logits_cache_{kLogitsCacheBytes};
  std::size_t windows_ = 0, done_ = 0, reported_ = 0;
  std::vector<AskResult> results_;
};

}  // namespace

std::vector<AskResult> read_batch(const LoadedReader& reader, std::span<const ReaderQuery> queries,
                                  const AskOptions& options, const Reader::OnResult& on_result) {
  return BatchReader(reader, queries, options, on_result).read();
}

}  // namespace kvasir::qa
