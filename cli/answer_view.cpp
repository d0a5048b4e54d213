#include "answer_view.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "json_output.h"
#include "text/sentences.h"
#include "wrap.h"

namespace kvasir::cli {

namespace {

// Where an answer begins in the file that its text was converted from.
Location place(const TextSource& source, std::string_view document, const Range& range) {
  if (!source.layout.marks.empty()) return source.layout.locate(range.byte_start);
  return {.unit = Location::Unit::kLine, .number = text::line_of(document, range.byte_start)};
}

void append_answer(std::string& out, const Asked& asked, const Answer& answer) {
  out += "{\"answer\":";
  append_json_string(out, answer.text);
  out += ",\"score\":";
  append_json_number(out, answer.score);
  out += ",\"start\":";
  append_json_integer(out, static_cast<std::int64_t>(answer.range.start));
  out += ",\"end\":";
  append_json_integer(out, static_cast<std::int64_t>(answer.range.end));
  out += ",\"file\":";
  const TextSource& source = asked.sources[answer.document];
  if (source.kind == TextSource::Kind::kCommandLine) {
    out += "null";
  } else {
    append_json_string(out, source.path);
  }
  if (!source.layout.verbatim && !answer.text.empty()) {
    out += ",\"location\":";
    append_json_string(out, place(source, asked.documents[answer.document].text(), answer.range).describe());
  }
  out += '}';
}

}  // namespace

void append_json_result(std::string& out, const Asked& asked, const AskResult& result) {
  out += "{\"question\":";
  append_json_string(out, asked.question);
  out += ",\"answers\":[";
  for (std::size_t i = 0; i < result.answers.size(); ++i) {
    if (i > 0) out += ',';
    append_answer(out, asked, result.answers[i]);
  }
  out += "],\"no_answer_score\":";
  append_json_number(out, result.no_answer_score);
  out += ",\"windows\":";
  append_json_integer(out, static_cast<std::int64_t>(result.windows));
  out += "}\n";
}

namespace {

// A probability as people say it: no false precision at the ends.
std::string percent(double probability) {
  const double value = probability * 100;
  if (value < 1) return "<1 %";
  if (value > 99 && value < 100) return ">99 %";
  return std::to_string(static_cast<int>(std::lround(value))) + " %";
}

std::string confidence(Decode decode, double score) {
  if (decode == Decode::kKvasir) return percent(score);
  char text[32];
  std::snprintf(text, sizeof text, "score %.3g", score);
  return text;
}

std::string styled(std::string_view text, std::string_view style, std::string_view reset) {
  return std::string(style) + std::string(text) + std::string(reset);
}

// The sentence around the answer on one line, and where the answer lies in it.
struct Quotation {
  std::string text;
  std::size_t mark_begin = 0, mark_end = 0;
};

Quotation quote(std::string_view document, const Range& range) {
  const text::SentenceSpan span = text::sentence_around(document, range.byte_start, range.byte_end);
  const auto part = [&](std::size_t begin, std::size_t end) {
    return printable(document.substr(begin, end - begin));
  };
  Quotation quotation;
  if (span.cut_begin) quotation.text = "… ";
  quotation.text += part(span.begin, range.byte_start);
  quotation.mark_begin = quotation.text.size();
  quotation.text += part(range.byte_start, range.byte_end);
  quotation.mark_end = quotation.text.size();
  quotation.text += part(range.byte_end, span.end);
  if (span.cut_end) quotation.text += " …";
  return quotation;
}

std::string location(const TextSource& source, std::string_view document, const Range& range) {
  const Location at = place(source, document, range);
  const std::string where =
      at.unit == Location::Unit::kLine ? ":" + std::to_string(at.number) : ", " + at.describe();
  switch (source.kind) {
    case TextSource::Kind::kFile:
      return source.path + where;
    case TextSource::Kind::kStandardInput:
      return "(standard input)" + where;
    case TextSource::Kind::kCommandLine:
      break;
  }
  return "";
}

void append_answer_view(std::string& out, const Asked& asked, const Answer& answer,
                        const ViewOptions& options) {
  const Style& style = options.style;
  const std::string score =
      styled("(" + confidence(asked.decode, answer.score) + ")", style.dim, style.reset);
  if (answer.text.empty()) {
    out += styled("No answer in the text", style.warning, style.reset) + "  " + score + '\n';
    return;
  }
  const std::string_view document = asked.documents[answer.document].text();
  out += styled(printable(answer.text), style.answer, style.reset) + "  " + score + '\n';
  const Quotation quotation = quote(document, answer.range);
  out += wrap(quotation.text, style,
              {.width = options.width, .mark_begin = quotation.mark_begin, .mark_end = quotation.mark_end});
  const std::string where = location(asked.sources[answer.document], document, answer.range);
  if (!where.empty()) out += "  " + styled(printable(where), style.dim, style.reset) + '\n';
}

}  // namespace

void append_human_result(std::string& out, const Asked& asked, const AskResult& result,
                         const ViewOptions& options) {
  if (result.answers.empty()) {
    out += styled("No answer in the text", options.style.warning, options.style.reset) + '\n';
    return;
  }
  const Answer& best = result.answers.front();
  if (asked.decode == Decode::kKvasir && !best.text.empty() && result.no_answer_score > best.score) {
    const std::string how = result.no_answer_score >= 0.5 ? "Probably" : "Perhaps";
    const std::string chance = percent(result.no_answer_score);
    out += styled(how + " not answered here (no answer: " + chance + "). Best guess:", options.style.warning,
                  options.style.reset) +
           '\n';
  }
  for (std::size_t i = 0; i < result.answers.size(); ++i) {
    if (result.answers.size() > 1) out += std::to_string(i + 1) + ". ";
    append_answer_view(out, asked, result.answers[i], options);
  }
}

namespace {

void append_source(std::string& out, const Asked& asked, const Passage& passage) {
  const TextSource& source = asked.sources[passage.document];
  out += ",\"start\":";
  append_json_integer(out, static_cast<std::int64_t>(passage.range.start));
  out += ",\"end\":";
  append_json_integer(out, static_cast<std::int64_t>(passage.range.end));
  out += ",\"file\":";
  if (source.kind == TextSource::Kind::kCommandLine) {
    out += "null";
  } else {
    append_json_string(out, source.path);
  }
  if (source.layout.verbatim) return;
  out += ",\"location\":";
  append_json_string(out, place(source, asked.documents[passage.document].text(), passage.range).describe());
}

}  // namespace

void append_json_answer(std::string& out, const Asked& asked, const WrittenAnswer& answer) {
  out += "{\"question\":";
  append_json_string(out, asked.question);
  out += ",\"answer\":";
  append_json_string(out, answer.text);
  out += answer.is_known ? ",\"known\":true,\"sentences\":[" : ",\"known\":false,\"sentences\":[";
  for (std::size_t i = 0; i < answer.sentences.size(); ++i) {
    const WrittenSentence& sentence = answer.sentences[i];
    out += i > 0 ? ",{\"text\":" : "{\"text\":";
    append_json_string(out, sentence.text);
    out += ",\"citations\":[";
    for (std::size_t j = 0; j < sentence.citations.size(); ++j) {
      if (j > 0) out += ',';
      append_json_integer(out, static_cast<std::int64_t>(sentence.citations[j]));
    }
    out += sentence.is_supported ? "],\"supported\":true}" : "],\"supported\":false}";
  }
  out += "],\"passages\":[";
  for (std::size_t i = 0; i < answer.passages.size(); ++i) {
    out += i > 0 ? ",{\"text\":" : "{\"text\":";
    append_json_string(out, answer.passages[i].text);
    append_source(out, asked, answer.passages[i]);
    out += '}';
  }
  out += "]}\n";
}

void append_human_answer(std::string& out, const Asked& asked, const WrittenAnswer& answer,
                         const ViewOptions& options) {
  const Style& style = options.style;
  if (!answer.is_known) {
    out += styled(answer.text, style.warning, style.reset) + '\n';
    return;
  }
  bool all_supported = true;
  for (const WrittenSentence& sentence : answer.sentences) {
    std::string line = printable(sentence.text);
    for (const std::size_t number : sentence.citations) line += " [" + std::to_string(number) + "]";
    if (!sentence.is_supported) line += " (?)";
    all_supported = all_supported && sentence.is_supported;
    out += wrap(line, style, {.width = options.width, .indent = 0});
  }
  if (!all_supported) {
    out += styled("(?) is not supported by what it cites.", style.warning, style.reset) + '\n';
  }
  for (std::size_t i = 0; i < answer.passages.size(); ++i) {
    const bool is_cited = std::ranges::any_of(answer.sentences, [&](const WrittenSentence& sentence) {
      return std::ranges::find(sentence.citations, i + 1) != sentence.citations.end();
    });
    if (!is_cited) continue;
    const Passage& passage = answer.passages[i];
    const std::string_view document = asked.documents[passage.document].text();
    const std::string where = location(asked.sources[passage.document], document, passage.range);
    out += styled("[" + std::to_string(i + 1) + "] " + printable(where), style.dim, style.reset) + '\n';
    out += wrap(printable(passage.text), style, {.width = options.width, .indent = 4});
  }
}

}  // namespace kvasir::cli
