// kvasir rerank: how well passages answer a query, by a cross-encoder.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "command.h"
#include "interrupt.h"
#include "json_output.h"
#include "kvasir/reranker.h"
#include "line_reader.h"
#include "model_location.h"
#include "passages.h"
#include "reader_options.h"
#include "text/sentences.h"
#include "text_source.h"
#include "wrap.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(MODEL is a cross-encoder, such as ms-marco-MiniLM-L6-v2 or bge-reranker: a
...ForSequenceClassification with one label. FILE is any document that kvasir
ask reads, or a folder; without one, standard input is read. Its paragraphs are
the passages, or its lines, or each file is one, as --passages says. A passage
that is longer than the model takes is cut. --json prints one line for each:
  {"score":…,"file":…,"start":…,"end":…,"text":…}
start and end count Unicode code points, as in kvasir ask.

--jsonl reads pairs, as lines {"query":…,"text":…}, from FILE or from standard
input, and prints a line for each, in their order:
  {"score":…,"logits":[…]}
The score is the sigmoid of the logit, or the logit itself where config.json
says so; of a classifier with several labels, the list of their probabilities.
Where the pair was cut, the line also has "tokens" and "pair_tokens".

Examples:
  kvasir rerank -m cross-encoder/ms-marco-MiniLM-L6-v2 -q "Who won?" match.txt
  kvasir rerank -m BAAI/bge-reranker-base -q "notice period" -k 3 contracts/
  kvasir rerank -m my-nli-model --jsonl pairs.jsonl)";

constexpr int kMaxFiles = 1 << 24;
constexpr std::size_t kGroup = 1024;  // pairs that are read before the model runs

struct RerankArguments {
  ModelArguments model;
  std::string query;
  bool has_query = false;
  std::vector<std::string> files;
  std::string unit = "paragraph";
  std::size_t top_k = 10;
  bool json = false, jsonl = false;
};

void append_numbers(std::string& out, const std::vector<float>& values) {
  out += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, values[i]);
  }
  out += ']';
}

void append_scores(std::string& out, const PairScore& score) {
  out += "{\"score\":";
  if (score.scores.size() == 1) {
    append_json_number(out, score.scores.front());
  } else {
    append_numbers(out, score.scores);
  }
  out += ",\"logits\":";
  append_numbers(out, score.logits);
  if (score.truncated()) {
    out += ",\"tokens\":";
    append_json_integer(out, static_cast<std::int64_t>(score.tokens));
    out += ",\"pair_tokens\":";
    append_json_integer(out, static_cast<std::int64_t>(score.pair_tokens));
  }
  out += "}\n";
}

struct OwnedPair {
  std::string query, text;
};

OwnedPair parse_pair(const std::string& line, const std::string& where) {
  const base::json::value value = base::parse_json(line, where);
  const base::JsonObject object(value, where);
  return {.query = object.string("query"), .text = object.string("text")};
}

void tell_of_cut(std::size_t cut, std::size_t max_length) {
  if (cut == 0) return;
  complain(std::to_string(cut) + (cut == 1 ? " pair was" : " pairs were") + " longer than " +
           std::to_string(max_length) + " tokens; the rest was left out");
}

// What came before a line that cannot be read is not lost.
void score_lines(const std::vector<std::string>& files, const Reranker& reranker, Program& program) {
  std::vector<OwnedPair> group;
  std::size_t cut = 0;
  const auto flush = [&] {
    std::vector<TextPair> pairs;
    pairs.reserve(group.size());
    for (const OwnedPair& pair : group) pairs.push_back({.query = pair.query, .text = pair.text});
    reranker.score_batch(pairs, {.cancel = &interrupt_flag()}, [&](std::size_t, PairScore& score) {
      cut += score.truncated() ? 1 : 0;
      append_scores(program.out.buffer(), score);
      program.out.flush_if_full();
    });
    program.out.flush();
    group.clear();
  };
  for (const std::string& file : files) {
    LineReader reader(file);
    std::string line;
    while (reader.next(line)) {
      try {
        group.push_back(parse_pair(line, reader.where()));
      } catch (const Error&) {
        flush();
        throw;
      }
      if (group.size() >= kGroup || !reader.ready()) flush();
    }
  }
  flush();
  tell_of_cut(cut, reranker.max_length());
}

struct Passage {
  std::size_t source;  // index
  PassageSpan span;
};

std::string_view text_of(const Passage& passage, const std::vector<TextSource>& sources) {
  return std::string_view(sources[passage.source].text)
      .substr(passage.span.begin, passage.span.end - passage.span.begin);
}

// "treaty.txt:12", where a reader would look for it.
std::string place_of(const Passage& passage, const TextSource& source) {
  if (source.layout.marks.empty()) {
    return source.display_name() + ":" + std::to_string(text::line_of(source.text, passage.span.begin));
  }
  return source.display_name() + ", " + source.layout.locate(passage.span.begin).describe();
}

void append_passage_json(std::string& out, const RankedText& ranked, const Passage& passage,
                         const TextSource& source) {
  const base::OffsetMap offsets(source.text);
  out += "{\"score\":";
  append_json_number(out, ranked.score);
  out += ",\"file\":";
  append_json_string(out, source.kind == TextSource::Kind::kStandardInput ? "-" : source.path);
  out += ",\"start\":";
  append_json_integer(out, static_cast<std::int64_t>(offsets.code_points(passage.span.begin)));
  out += ",\"end\":";
  append_json_integer(out, static_cast<std::int64_t>(offsets.code_points(passage.span.end)));
  out += ",\"text\":";
  append_json_string(
      out, std::string_view(source.text).substr(passage.span.begin, passage.span.end - passage.span.begin));
  out += "}\n";
}

void rank_files(const RerankArguments& arguments, const Reranker& reranker, Program& program) {
  const std::vector<TextSource> sources =
      read_texts(arguments.files.empty() ? std::vector<std::string>{"-"} : arguments.files);
  std::vector<Passage> passages;
  std::vector<std::string_view> texts;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    for (const PassageSpan& span : passages_of(sources[i].text, parse_passage_unit(arguments.unit))) {
      passages.push_back({.source = i, .span = span});
      texts.push_back(text_of(passages.back(), sources));
    }
  }
  const std::vector<RankedText> ranked = reranker.rank(arguments.query, texts, {.cancel = &interrupt_flag()});
  use_utf8_locale();
  const Style style = make_style(use_color(program.color, STDOUT_FILENO));
  const std::size_t width = wrap_width(STDOUT_FILENO);
  std::string& out = program.out.buffer();
  for (std::size_t i = 0; i < std::min(ranked.size(), arguments.top_k); ++i) {
    const Passage& passage = passages[ranked[i].index];
    const TextSource& source = sources[passage.source];
    if (arguments.json) {
      append_passage_json(out, ranked[i], passage, source);
      continue;
    }
    char score[32];
    std::snprintf(score, sizeof score, "%8.4f", static_cast<double>(ranked[i].score));
    if (i > 0) out += '\n';
    out += std::string(style.bold) + score + std::string(style.reset) + "  " +
           printable(place_of(passage, source)) + '\n';
    out += wrap(printable(text_of(passage, sources)), style, {.width = width, .indent = 10});
  }
}

void check_arguments(const RerankArguments& arguments) {
  if (arguments.jsonl && arguments.has_query) {
    throw UsageError("--jsonl reads queries from the lines: give it without -q");
  }
  if (arguments.jsonl) return;
  if (!arguments.has_query) throw UsageError("no query; give one with -q, or pairs with --jsonl");
  check_utf8(arguments.query, "the query");
  for (const std::string& file : arguments.files) {
    if (file.empty()) throw UsageError("the name of a FILE is empty");
  }
}

void run_rerank(const RerankArguments& arguments, Program& program) {
  check_arguments(arguments);
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const ReaderOptions options = reader_options(arguments.model);
  const Reranker reranker =
      Reranker::load(find_named_model(arguments.model.model, "cross-encoder"),
                     {.threads = options.threads, .isa = options.isa, .precision = options.precision});
  at_once.reset();
  if (arguments.jsonl) {
    score_lines(arguments.files.empty() ? std::vector<std::string>{"-"} : arguments.files, reranker, program);
  } else {
    rank_files(arguments, reranker, program);
  }
}

}  // namespace

void add_rerank(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<RerankArguments>();
  CLI::App* command = app.add_subcommand("rerank", "Put the passages first that answer a query best");
  command->fallthrough();
  command->footer(kFooter);
  // Raw words: the parser's conversion to a list would take "[a,b]" apart.
  command
      ->add_option(
          "-q,--query",
          [arguments](const CLI::results_t& words) {
            arguments->query = words.back();
            arguments->has_query = true;
            return true;
          },
          "What the passages should answer")
      ->option_text("TEXT");
  command
      ->add_option(
          "FILE",
          [arguments](const CLI::results_t& words) {
            arguments->files = words;
            return true;
          },
          "File or folder with passages; with --jsonl a file of lines; - is standard input")
      ->option_text("[FILE|-]...")
      ->type_size(1)
      ->expected(kMaxFiles)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--passages", arguments->unit, "What is a passage (default: paragraph)")
      ->option_text("paragraph|line|file")
      ->check(CLI::IsMember({"paragraph", "line", "file"}));
  command->add_option("-k,--top-k", arguments->top_k, "Passages to print, the best first (default: 10)")
      ->option_text("N")
      ->check(CLI::Range(1, kMaxFiles));
  command->add_flag("--jsonl", arguments->jsonl, "Score pairs that come as lines of JSON");
  command->add_flag("--json", arguments->json, "One line of JSON per passage, for machines");
  add_model_options(*command, arguments->model);
  command->callback([arguments, &program] {
    program.command = "rerank";
    program.action = [arguments, &program] { run_rerank(*arguments, program); };
  });
}

}  // namespace kvasir::cli
