#include "kvasir/generative_reader.h"

#include <algorithm>
#include <utility>

#include "kvasir/error.h"
#include "qa/support.h"
#include "text/sentences.h"

namespace kvasir {

namespace {

constexpr std::string_view kInstruction =
    "Answer the question from the numbered passages and from nothing else, in one to three sentences. "
    "After each sentence, write the number of the passage that it comes from, like [1]. "
    "If the passages do not hold the answer, write: ";

// Bytes of text on either side of the place that the reader found: a paragraph, about.
constexpr std::size_t kPassageContext = 500;
// The reader is asked for so many answers for each passage that is wanted: several lie in one passage.
constexpr int kAnswersPerPassage = 3;
// Words of a sentence that a passage must have, for its citation to count; less is enough for a sentence that
// holds the reader's own answer.
constexpr double kMostWords = 0.7, kManyWords = 0.4;
// Tokens of a chat template around one message, at most.
constexpr std::size_t kTemplateTokens = 64;

struct FoundPassage {
  Passage passage;
  std::string answer;  // what the reader would say
};

// The passages around the reader's answers, best first, none twice.
std::vector<FoundPassage> find_passages(const AskResult& result, const std::vector<Document>& documents) {
  std::vector<FoundPassage> found;
  for (const Answer& answer : result.answers) {
    if (answer.text.empty()) continue;
    const Document& document = documents[answer.document];
    const text::SentenceSpan span = text::sentence_around(
        document.text(), answer.range.byte_start, answer.range.byte_end, {.max_context = kPassageContext});
    const auto overlaps = [&](const FoundPassage& other) {
      return other.passage.document == answer.document && other.passage.range.byte_start < span.end &&
             span.begin < other.passage.range.byte_end;
    };
    if (std::ranges::any_of(found, overlaps)) continue;
    found.push_back({.passage = {.text = document.text().substr(span.begin, span.end - span.begin),
                                 .range = document.range(span.begin, span.end),
                                 .document = answer.document},
                     .answer = answer.text});
  }
  return found;
}

std::string make_prompt(std::string_view question, const std::vector<FoundPassage>& passages) {
  std::string prompt(kInstruction);
  prompt += std::string(kNotKnown) + "\n\n";
  for (std::size_t i = 0; i < passages.size(); ++i) {
    prompt += "[" + std::to_string(i + 1) + "] ";
    // One passage is one paragraph here, so that none looks like two.
    std::string text = passages[i].passage.text;
    std::ranges::replace(text, '\n', ' ');
    prompt += text + "\n";
  }
  return prompt + "\nQuestion: " + std::string(question);
}

// As many of the passages as the model's context holds.
void fit(std::vector<FoundPassage>& passages, std::string_view question, const Generator& generator,
         const WriteOptions& options) {
  if (passages.size() > options.max_passages) passages.resize(options.max_passages);
  const std::size_t context = generator.context_length();
  if (context == 0) return;  // on a server
  std::size_t used = options.generate.max_new_tokens + generator.count_tokens(make_prompt(question, {})) +
                     (generator.can_chat() ? kTemplateTokens : 8);
  for (std::size_t i = 0; i < passages.size(); ++i) {
    used += generator.count_tokens(passages[i].passage.text) + 4;
    if (used <= context) continue;
    if (i == 0) {
      throw Error(ErrorCode::kInvalidArgument, "the model's context of " + std::to_string(context) +
                                                   " tokens does not hold a passage and an answer of " +
                                                   std::to_string(options.generate.max_new_tokens) +
                                                   " tokens");
    }
    passages.resize(i);
    return;
  }
}

bool is_not_known(std::string_view text) {
  for (const std::string_view sign : {"don't know from these", "do not know from these", "I don't know"}) {
    if (text.find(sign) != std::string_view::npos) return true;
  }
  return false;
}

// Takes "[1]" and "[2, 3]" out of a sentence.
WrittenSentence take_citations(std::string_view sentence, std::size_t passages) {
  WrittenSentence result;
  for (std::size_t at = 0; at < sentence.size();) {
    const std::size_t end = sentence[at] == '[' ? sentence.find(']', at) : std::string_view::npos;
    const std::string_view inside =
        end == std::string_view::npos ? std::string_view() : sentence.substr(at + 1, end - at - 1);
    if (inside.empty() || inside.find_first_not_of("0123456789, ") != std::string_view::npos) {
      result.text += sentence[at++];
      continue;
    }
    std::size_t number = 0;
    for (const char c : std::string(inside) + ",") {
      if (c >= '0' && c <= '9') {
        number = std::min<std::size_t>(1'000'000, number * 10 + static_cast<std::size_t>(c - '0'));
        continue;
      }
      const bool exists = number >= 1 && number <= passages;
      if (exists && std::ranges::find(result.citations, number) == result.citations.end()) {
        result.citations.push_back(number);
      }
      number = 0;
    }
    at = end + 1;
    if (result.text.ends_with(' ')) result.text.pop_back();
  }
  result.text.erase(result.text.find_last_not_of(" \n\t") + 1);
  result.text.erase(0, result.text.find_first_not_of(" \n\t"));
  return result;
}

bool supports(const FoundPassage& found, std::string_view sentence) {
  const qa::Support support = qa::compare_words(sentence, found.passage.text);
  if (!support.numbers) return false;
  if (support.words >= kMostWords) return true;
  return support.words >= kManyWords && !found.answer.empty() &&
         sentence.find(found.answer) != std::string_view::npos;
}

// Whether its citations hold it; a sentence without any gets the passage that does.
void check(WrittenSentence& sentence, const std::vector<FoundPassage>& passages) {
  if (!sentence.citations.empty()) {
    FoundPassage cited;  // all that it cites, together
    for (const std::size_t number : sentence.citations) {
      cited.passage.text += passages[number - 1].passage.text + "\n";
      if (cited.answer.empty()) cited.answer = passages[number - 1].answer;
    }
    sentence.is_supported = supports(cited, sentence.text);
    return;
  }
  for (std::size_t i = 0; i < passages.size() && !sentence.is_supported; ++i) {
    sentence.is_supported = supports(passages[i], sentence.text);
    if (sentence.is_supported) sentence.citations.push_back(i + 1);
  }
}

std::vector<WrittenSentence> read_sentences(std::string_view text,
                                            const std::vector<FoundPassage>& passages) {
  std::vector<WrittenSentence> sentences;
  std::size_t at = 0;
  while (at < text.size()) {
    at = text.find_first_not_of(" \n\t\r", at);
    if (at == std::string_view::npos) break;
    std::size_t end = std::max(text::sentence_around(text, at, at, {.max_context = text.size()}).end, at + 1);
    // "It was Lund. [1]": the number belongs to what stands before it.
    for (std::size_t next = end; next < text.size();) {
      next = text.find_first_not_of(' ', next);
      if (next == std::string_view::npos || text[next] != '[') break;
      const std::size_t close = text.find(']', next);
      if (close == std::string_view::npos) break;
      end = next = close + 1;
      if (end < text.size() && (text[end] == '.' || text[end] == ',')) ++end;
    }
    WrittenSentence sentence = take_citations(text.substr(at, end - at), passages.size());
    at = end;
    if (sentence.text.find_first_not_of(".,;: ") == std::string::npos) continue;
    check(sentence, passages);
    sentences.push_back(std::move(sentence));
  }
  return sentences;
}

std::string with_citations(const std::vector<WrittenSentence>& sentences) {
  std::string text;
  for (const WrittenSentence& sentence : sentences) {
    if (!text.empty()) text += ' ';
    text += sentence.text;
    for (const std::size_t number : sentence.citations) text += " [" + std::to_string(number) + "]";
  }
  return text;
}

GenerateResult write(const Generator& generator, const std::string& prompt, const GenerateOptions& options) {
  if (!generator.can_chat()) return generator.generate(prompt + "\nAnswer:", options);
  const std::vector<ChatMessage> messages = {{.role = "user", .content = prompt}};
  return generator.chat(messages, options);
}

}  // namespace

WrittenAnswer GenerativeReader::answer(std::string_view question, const std::vector<Document>& documents,
                                       const WriteOptions& options) const {
  if (options.max_passages == 0)
    throw Error(ErrorCode::kInvalidArgument, "max_passages should be at least 1");
  AskOptions ask;
  ask.top_k = kAnswersPerPassage * static_cast<int>(std::min<std::size_t>(options.max_passages, 1000));
  ask.cancel = options.generate.cancel;
  const AskResult result = reader_.ask(question, documents, ask);
  std::vector<FoundPassage> passages = find_passages(result, documents);
  WrittenAnswer answer;
  answer.text = kNotKnown;
  if (passages.empty() || result.no_answer_score > options.no_answer_threshold) return answer;
  fit(passages, question, generator_, options);

  const std::string prompt = make_prompt(question, passages);
  const GenerateResult written = write(generator_, prompt, options.generate);
  const std::string& text = written.sequences.front().text;
  for (const FoundPassage& found : passages) answer.passages.push_back(found.passage);
  if (is_not_known(text)) return answer;
  answer.sentences = read_sentences(text, passages);
  if (answer.sentences.empty()) return answer;
  answer.is_known = true;
  answer.text = with_citations(answer.sentences);
  return answer;
}

}  // namespace kvasir
