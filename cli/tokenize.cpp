// kvasir tokenize: texts to tokens, for people who compare engines or look for surprises.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "command.h"
#include "formats/model_folder.h"
#include "generation/model_language.h"
#include "interrupt.h"
#include "json_output.h"
#include "kvasir/error.h"
#include "model_location.h"
#include "text/tokenizer.h"
#include "text_source.h"
#include "wrap.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(--jsonl reads one JSON value a line from standard input, a string or
{"text":…,"pair":…}, and writes one line each:
  {"ids":[…],"offsets":[[s,e],…],"word_ids":[…],"tokens":[…]}
Offsets count Unicode code points; the special tokens around a text have the
offsets [0,0] and the word null.

Examples:
  kvasir tokenize "The treaty was signed in Lund."
  kvasir tokenize --pair "It was signed in Lund." "Where was it signed?"
  kvasir tokenize --model M --jsonl < texts.jsonl > tokens.jsonl)";

struct TokenizeArguments {
  std::string model, text, pair;
  bool has_text = false, has_pair = false;
  bool jsonl = false;
  bool no_special_tokens = false;
};

// One line of input.
struct Item {
  std::string text, pair;
  bool has_pair = false;
};

// A line longer than this is a mistake; its output would be some ten times as long.
constexpr std::size_t kMaxLine = std::size_t{64} << 20;

// Lines of standard input. Before it waits for more, it hands on what was written so far: whoever is at the
// other end may be waiting for that.
class LineReader {
 public:
  explicit LineReader(Output& out) : out_(out) {}

  // The next line without its end; nullptr at the end of the input. Valid until the next call.
  const std::string_view* next() {
    while (true) {
      const std::string_view rest = std::string_view(buffer_).substr(begin_);
      const std::size_t newline = rest.find('\n', searched_);
      if (newline != std::string_view::npos) return take(rest.substr(0, newline), newline + 1);
      searched_ = rest.size();
      if (ended_) return rest.empty() ? nullptr : take(rest, rest.size());
      if (rest.size() > kMaxLine) {
        throw Error(ErrorCode::kResourceExhausted,
                    "standard input:" + std::to_string(line_ + 1) + ": line longer than " +
                        std::to_string(kMaxLine >> 20) + " MiB; split the text");
      }
      fill();
    }
  }
  std::size_t line() const noexcept { return line_; }  // number of the line that next() returned, from 1

 private:
  const std::string_view* take(std::string_view line, std::size_t bytes) {
    begin_ += bytes;
    searched_ = 0;
    ++line_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    current_ = line;
    return &current_;
  }

  void fill() {
    buffer_.erase(0, begin_);
    begin_ = 0;
    struct pollfd input {
      STDIN_FILENO, POLLIN, 0
    };
    if (!out_.empty() && ::poll(&input, 1, 0) == 0) out_.flush();
    const std::size_t filled = buffer_.size();
    buffer_.resize(filled + kRead);
    ssize_t got = 0;
    do {
      if (!wait_readable(STDIN_FILENO)) check_interrupt();
      got = ::read(STDIN_FILENO, buffer_.data() + filled, kRead);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
      throw Error(ErrorCode::kIo, std::string("standard input: cannot be read: ") + std::strerror(errno));
    }
    buffer_.resize(filled + static_cast<std::size_t>(got));
    ended_ = got == 0;
  }

  static constexpr std::size_t kRead = std::size_t{256} << 10;
  Output& out_;
  std::string buffer_;
  std::size_t begin_ = 0, searched_ = 0, line_ = 0;
  bool ended_ = false;
  std::string_view current_;
};

class LineParser {
 public:
  Item parse(std::string_view line, std::size_t number) {
    const std::string origin = "standard input:" + std::to_string(number);
    boost::system::error_code error;
    parser_.reset();
    parser_.write(line.data(), line.size(), error);
    if (error) fail(origin, error);
    const base::json::value value = parser_.release();
    Item item;
    if (value.is_string()) {
      item.text = value.get_string();
      return item;
    }
    if (!value.is_object()) {
      throw Error(ErrorCode::kFormat, origin + ": neither a string nor {\"text\":…,\"pair\":…}");
    }
    const base::JsonObject object(value, origin);
    item.text = object.string("text");
    item.has_pair = object.has("pair");
    if (item.has_pair) item.pair = object.string("pair");
    return item;
  }

 private:
  [[noreturn]] static void fail(const std::string& origin, const boost::system::error_code& error) {
    const bool surrogate = error == base::json::error::illegal_leading_surrogate ||
                           error == base::json::error::illegal_trailing_surrogate;
    throw Error(ErrorCode::kFormat,
                origin + ": not valid JSON: " + error.message() +
                    (surrogate ? " (a lone \\uD800 to \\uDFFF is half a character)" : ""));
  }

  base::json::parser parser_;
};

// Byte offsets of one text to code points. Offsets mostly rise, so it counts on from where it was; tokens
// that share a character step back a little.
class OffsetCounter {
 public:
  explicit OffsetCounter(std::string_view text) : text_(text) {}
  std::size_t code_points(std::size_t byte) {
    if (byte == 0) byte_ = points_ = 0;
    while (byte_ > byte) points_ -= begins_one(--byte_);
    while (byte_ < byte) points_ += begins_one(byte_++);
    return points_;
  }

 private:
  std::size_t begins_one(std::size_t byte) const noexcept {
    return (static_cast<std::uint8_t>(text_[byte]) & 0xC0) != 0x80 ? 1 : 0;
  }

  std::string_view text_;
  std::size_t byte_ = 0, points_ = 0;
};

// Writes digits and brackets into memory that is large enough. (std::to_chars into a buffer and from there
// into a string took as long as tokenising itself.)
class Cursor {
 public:
  explicit Cursor(char* at) : at_(at) {}
  void put(char c) { *at_++ = c; }
  void put(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void put(std::size_t number) {
    if (number < 10) {
      put(static_cast<char>('0' + number));
    } else {
      at_ = std::to_chars(at_, at_ + kDigits, number).ptr;
    }
  }
  char* end() const { return at_; }

  static constexpr std::size_t kDigits = 20;

 private:
  char* at_;
};

// Writes encodings as JSON lines. Tokens are escaped once each and kept.
class EncodingWriter {
 public:
  EncodingWriter(const text::Tokenizer& tokenizer, std::string& out) : tokenizer_(tokenizer), out_(out) {}

  void write(const text::Encoding& encoding, const Item& item) {
    const std::size_t begin = out_.size();
    out_.resize(begin + room(encoding));
    Cursor to(out_.data() + begin);
    to.put("{\"ids\":[");
    list(to, encoding, [&](std::size_t i) { to.put(static_cast<std::size_t>(encoding.ids[i])); });
    to.put("],\"offsets\":[");
    OffsetCounter first(item.text), second(item.pair);
    list(to, encoding, [&](std::size_t i) {
      OffsetCounter& counter = encoding.sequence_ids[i] == 1 ? second : first;
      to.put('[');
      to.put(counter.code_points(encoding.offsets[i].begin));
      to.put(',');
      to.put(counter.code_points(encoding.offsets[i].end));
      to.put(']');
    });
    to.put("],\"word_ids\":[");
    list(to, encoding, [&](std::size_t i) {
      if (encoding.word_ids[i] == text::Encoding::kNone) {
        to.put("null");
      } else {
        to.put(static_cast<std::size_t>(encoding.word_ids[i]));
      }
    });
    to.put("],\"tokens\":[");
    list(to, encoding, [&](std::size_t i) { to.put(escaped(encoding.ids[i])); });
    to.put("]}\n");
    out_.resize(static_cast<std::size_t>(to.end() - out_.data()));
  }

 private:
  // Bytes that the line takes at most.
  std::size_t room(const text::Encoding& encoding) {
    constexpr std::size_t kNumbers = 4 * Cursor::kDigits + 8;  // id, offsets, word and their punctuation
    std::size_t bytes = 64 + encoding.size() * kNumbers;
    for (const std::int32_t id : encoding.ids) bytes += escaped(id).size() + 1;
    return bytes;
  }

  template <class Put>
  static void list(Cursor& to, const text::Encoding& encoding, const Put& put) {
    for (std::size_t i = 0; i < encoding.size(); ++i) {
      if (i > 0) to.put(',');
      put(i);
    }
  }

  const std::string& escaped(std::int32_t id) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= escaped_.size()) escaped_.resize(std::max(index + 1, tokenizer_.vocab_size()));
    std::string& token = escaped_[index];
    if (token.empty()) append_json_string(token, tokenizer_.token(id));
    return token;
  }

  const text::Tokenizer& tokenizer_;
  std::string& out_;
  std::vector<std::string> escaped_;
};

text::Encoding encode(const text::Tokenizer& tokenizer, const Item& item, bool special) {
  const text::Tokenizer::EncodeOptions options{.add_special_tokens = special};
  return item.has_pair ? tokenizer.encode(item.text, item.pair, options)
                       : tokenizer.encode(item.text, options);
}

void run_jsonl(const text::Tokenizer& tokenizer, bool special, Output& out) {
  LineReader lines(out);
  LineParser parser;
  EncodingWriter writer(tokenizer, out.buffer());
  while (const std::string_view* line = lines.next()) {
    const Item item = parser.parse(*line, lines.line());
    writer.write(encode(tokenizer, item, special), item);
    out.flush_if_full();
  }
}

// One token a line: id, token, word, place in the text.
void show_tokens(const text::Tokenizer& tokenizer, const Item& item, bool special, Program& program) {
  use_utf8_locale();
  const Style style = make_style(use_color(program.color, STDOUT_FILENO));
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const text::Encoding encoding = encode(tokenizer, item, special);
  at_once.reset();
  std::size_t width = 5;
  for (const std::int32_t id : encoding.ids) {
    width = std::max(width, display_width(printable(tokenizer.token(id))));
  }
  width = std::min<std::size_t>(width, 30);
  OffsetCounter first(item.text), second(item.pair);
  std::string& out = program.out.buffer();
  out += std::string(style.bold) + "    id  token" + std::string(width - 5, ' ') +
         "  word  start    end  text" + std::string(style.reset) + '\n';
  for (std::size_t i = 0; i < encoding.size(); ++i) {
    program.out.flush_if_full();
    const std::string token = printable(tokenizer.token(encoding.ids[i]));
    const std::size_t columns = display_width(token);
    char number[32];
    std::snprintf(number, sizeof number, "%6d  ", encoding.ids[i]);
    out += number + token + std::string(columns < width ? width - columns : 0, ' ');
    const bool is_second = encoding.sequence_ids[i] == 1;
    if (encoding.sequence_ids[i] == text::Encoding::kNone) {
      out += std::string(style.dim) + "     -      -      -" + std::string(style.reset) + '\n';
      continue;
    }
    OffsetCounter& counter = is_second ? second : first;
    const text::ByteSpan span = encoding.offsets[i];
    const std::size_t begin = counter.code_points(span.begin);  // before the end: it counts forward
    const std::size_t end = counter.code_points(span.end);
    char numbers[64];
    std::snprintf(numbers, sizeof numbers, "%6d %6zu %6zu  ", encoding.word_ids[i], begin, end);
    out += numbers;
    out +=
        printable(
            std::string_view(is_second ? item.pair : item.text).substr(span.begin, span.end - span.begin)) +
        '\n';
  }
  out += std::to_string(encoding.size()) + " tokens\n";
}

text::Tokenizer load_tokenizer(const formats::ModelFolder& model) {
  if (model.gguf_path()) return generation::load_language(model).tokenizer;
  return text::Tokenizer::load(model);
}

void run_tokenize(const TokenizeArguments& arguments, Program& program) {
  if (arguments.jsonl && (arguments.has_text || arguments.has_pair)) {
    throw UsageError("--jsonl reads standard input; give no text beside it");
  }
  if (!arguments.jsonl && !arguments.has_text && ::isatty(STDIN_FILENO) == 1) {
    throw UsageError("no text; give one as argument, or on standard input");
  }
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const text::Tokenizer tokenizer = load_tokenizer(find_model(arguments.model));
  at_once.reset();
  const bool special = !arguments.no_special_tokens;
  if (arguments.jsonl) {
    run_jsonl(tokenizer, special, program.out);
    return;
  }
  Item item{.text = arguments.has_text ? arguments.text : read_plain_input().text,
            .pair = arguments.pair,
            .has_pair = arguments.has_pair};
  check_utf8(item.text, "the text");
  check_utf8(item.pair, "the text of --pair");
  show_tokens(tokenizer, item, special, program);
}

}  // namespace

void add_tokenize(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<TokenizeArguments>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  command->fallthrough();
  command->footer(kFooter);
  const auto add_text = [&](const char* name, std::string& text, bool& given, const char* description) {
    return command->add_option(
        name,
        [&text, &given](const CLI::results_t& words) {
          text = words.back();
          given = true;
          return true;
        },
        description);
  };
  add_text("TEXT", arguments->text, arguments->has_text, "Text to tokenize (default: standard input)")
      ->option_text("[TEXT]");
  add_text("--pair", arguments->pair, arguments->has_pair, "Second text of a pair")->option_text("TEXT");
  command->add_flag("--jsonl", arguments->jsonl, "Lines of JSON in, lines of JSON out");
  command->add_flag("--no-special-tokens", arguments->no_special_tokens,
                    "Leave out the tokens that the model's template adds");
  command
      ->add_option(
          "-m,--model", arguments->model,
          "Model folder or id; only its tokenizer is read (default: KVASIR_MODEL, else the model that ships)")
      ->option_text("MODEL");
  command->callback([arguments, &program] {
    program.command = "tokenize";
    program.action = [arguments, &program] { run_tokenize(*arguments, program); };
  });
}

}  // namespace kvasir::cli
