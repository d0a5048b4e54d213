#include "text/decoders/decoder.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <span>
#include <utility>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/byte_level.h"
#include "text/decoders/stages.h"
#include "text/pattern.h"

namespace kvasir::text {

namespace {

struct Replacement {
  std::string_view from, to;
};

// In this order: each sees what the ones before have left.
constexpr Replacement kPunctuation[] = {{" .", "."},  {" ?", "?"},     {" !", "!"},  {" ,", ","},
                                        {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}};
constexpr Replacement kDoNot[] = {{" do not", " don't"}};  // the decoder alone, not clean_up_spaces
constexpr Replacement kContractions[] = {{" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};

void replace_all(std::string& text, std::span<const Replacement> replacements) {
  for (const auto& [from, to] : replacements) {
    std::size_t at = text.find(from);
    if (at == std::string::npos) continue;
    std::string out;
    std::size_t copied = 0;
    for (; at != std::string::npos; at = text.find(from, copied)) {
      out.append(text, copied, at - copied).append(to);
      copied = at + from.size();
    }
    text = out.append(text, copied);
  }
}

void clean_up_token(std::string& token) {
  replace_all(token, kPunctuation);
  replace_all(token, kDoNot);
  replace_all(token, kContractions);
}

using Tokens = std::vector<std::string>;

// A decoder that makes something of each token by itself.
class EachDecoder : public Decoder {
 public:
  Tokens decode_chain(Tokens tokens) const final {
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = decode_one(std::move(tokens[i]), i);
    return tokens;
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const final {
    return make_each_stage(
        [this](std::string token, std::size_t index) { return decode_one(std::move(token), index); },
        std::move(next));
  }
  void decode_middle(MiddleToken& token) const final {
    token.bytes = decode_one(std::move(token.bytes), token.fused ? 0 : 1);
  }

 private:
  virtual std::string decode_one(std::string token, std::size_t index) const = 0;
};

class JoinDecoder : public EachDecoder {
  std::string decode_one(std::string token, std::size_t index) const override {
    if (index > 0) token.insert(0, 1, ' ');
    return token;
  }
};

class WordPieceDecoder : public EachDecoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}

 private:
  std::string decode_one(std::string token, std::size_t index) const override {
    if (index > 0 && token.starts_with(prefix_)) {
      token.erase(0, prefix_.size());
    } else if (index > 0) {
      token.insert(0, 1, ' ');
    }
    if (cleanup_) clean_up_token(token);  // by itself, as the reference: what spans two of them stays
    return token;
  }

  std::string prefix_;
  bool cleanup_;
};

// The end of a word is marked ("</w>") and becomes a space, but at the end of the text.
class BpeDecoder : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  Tokens decode_chain(Tokens tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const Replacement replacement{suffix_, i + 1 == tokens.size() ? "" : " "};
      replace_all(tokens[i], {&replacement, 1});
    }
    return tokens;
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const override {
    return make_word_suffix_stage(suffix_, std::move(next));
  }
  void decode_middle(MiddleToken& token) const override {
    const Replacement replacement{suffix_, " "};
    replace_all(token.bytes, {&replacement, 1});
  }

 private:
  std::string suffix_;
};

class ByteLevelDecoder : public Decoder {
 public:
  Tokens decode_chain(Tokens tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) bytes += bytes_of(token);
    return {base::replace_invalid_utf8(bytes)};
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const override {
    return make_bytes_stage(bytes_of, std::move(next));
  }
  void decode_middle(MiddleToken& token) const override { token = {bytes_of(token.bytes), true}; }

 private:
  static std::string bytes_of(const std::string& token) {
    return byte_level::bytes_of(token).value_or(
        token);  // an added token need not consist of bytes' characters
  }
};

// "<0xE2>" and so on become bytes; a run of them that is not UTF-8 one U+FFFD each.
class ByteFallbackDecoder : public Decoder {
 public:
  Tokens decode_chain(Tokens tokens) const override {
    Tokens out;
    std::string run;
    const auto finish_run = [&] {
      if (run.empty()) return;
      if (base::find_invalid_utf8(run) == run.size()) {
        out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), "\uFFFD");
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of(token)) {
        run += *byte;
      } else {
        finish_run();
        out.push_back(std::move(token));
      }
    }
    finish_run();
    return out;
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const override {
    return make_byte_runs_stage(byte_of, std::move(next));
  }
  void decode_middle(MiddleToken& token) const override {
    if (const auto byte = byte_of(token.bytes)) token.bytes.assign(1, *byte);
  }

 private:
  static std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
    unsigned byte = 0;
    const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
    if (error != std::errc() || end != token.data() + 5) return std::nullopt;
    return static_cast<char>(byte);
  }
};

class FuseDecoder : public Decoder {
 public:
  Tokens decode_chain(Tokens tokens) const override {
    std::string text;
    for (const std::string& token : tokens) text += token;
    return {std::move(text)};
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const override {
    return make_fuse_stage(std::move(next));
  }
  void decode_middle(MiddleToken& token) const override { token.fused = true; }
};

// "▁" becomes a space, but none in the first token if one was put before the text.
class MetaspaceDecoder : public EachDecoder {
 public:
  MetaspaceDecoder(std::string replacement, bool prepends)
      : replacement_(std::move(replacement)), prepends_(prepends) {}

 private:
  std::string decode_one(std::string token, std::size_t index) const override {
    const Replacement replacement{replacement_, index == 0 && prepends_ ? "" : " "};
    replace_all(token, {&replacement, 1});
    return token;
  }

  std::string replacement_;
  bool prepends_;
};

class ReplaceDecoder : public EachDecoder {
 public:
  ReplaceDecoder(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

 private:
  std::string decode_one(std::string token, std::size_t) const override {
    std::vector<Part> parts;
    pattern_->find(token, {0, token.size()}, parts);
    std::string out;
    for (const auto& [piece, match] : parts) {
      out += match ? content_ : token.substr(piece.begin, piece.end - piece.begin);
    }
    return out;
  }

  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

class SequenceDecoder : public Decoder {
 public:
  explicit SequenceDecoder(std::vector<std::unique_ptr<Decoder>> parts) : parts_(std::move(parts)) {}
  Tokens decode_chain(Tokens tokens) const override {
    for (const auto& part : parts_) tokens = part->decode_chain(std::move(tokens));
    return tokens;
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const override {
    for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) next = (*part)->stage(std::move(next));
    return next;
  }
  void decode_middle(MiddleToken& token) const override {
    for (const auto& part : parts_) part->decode_middle(token);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

// Takes a character away from the ends of each token, so many times at most.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, std::size_t start, std::size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  Tokens decode_chain(Tokens tokens) const override {
    for (std::string& token : tokens) token = stripped(token);
    return tokens;
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const override {
    return make_strip_stage({.content = content_, .start = start_, .stop = stop_}, std::move(next));
  }
  void decode_middle(MiddleToken& token) const override {
    if (!token.fused) token.bytes = stripped(token.bytes);
  }

 private:
  std::string stripped(const std::string& token) const {
    std::size_t begin = 0, end = token.size();
    for (std::size_t i = 0; i < start_ && token.compare(begin, content_.size(), content_) == 0; ++i) {
      begin += content_.size();
    }
    for (std::size_t i = 0;
         i < stop_ && std::string_view(token).substr(begin, end - begin).ends_with(content_); ++i) {
      end -= content_.size();
    }
    return token.substr(begin, end - begin);
  }

  std::string content_;
  std::size_t start_, stop_;
};

// Repeated tokens are one, padding is none, and a delimiter parts the words.
class CtcDecoder : public Decoder {
 public:
  CtcDecoder(std::string pad, std::string delimiter, bool cleanup)
      : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  Tokens decode_chain(Tokens tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    Tokens out;
    for (std::string& token : tokens) {
      if (auto text = decode_one(std::move(token))) out.push_back(std::move(*text));
    }
    return out;
  }
  std::unique_ptr<TokenStage> stage(NextStage next) const override {
    return make_each_stage(
        [this, last = std::optional<std::string>()](std::string token, std::size_t) mutable {
          if (token == last) return std::optional<std::string>();
          last = token;
          return decode_one(std::move(token));
        },
        std::move(next));
  }
  void decode_middle(MiddleToken& token) const override {
    token.bytes = decode_one(std::move(token.bytes)).value_or("");
  }

 private:
  std::optional<std::string> decode_one(std::string token) const {
    const Replacement pad{pad_, ""}, delimiter{delimiter_, " "};
    replace_all(token, {&pad, 1});
    if (cleanup_) {
      clean_up_token(token);
      replace_all(token, {&delimiter, 1});
    }
    return token.empty() ? std::nullopt : std::optional(std::move(token));
  }

  std::string pad_, delimiter_;
  bool cleanup_;
};

// A string that something is replaced by; an empty one would match everywhere.
std::string not_empty(const base::JsonObject& json, const char* key) {
  std::string text = json.string(key);
  if (text.empty()) json.fail(std::string("key ") + key + " is empty");
  return text;
}

std::unique_ptr<Decoder> make_sequence(const base::JsonObject& json) {
  const base::json::array* list = json.at("decoders").if_array();
  if (list == nullptr) json.fail("key decoders is not a list");
  std::vector<std::unique_ptr<Decoder>> parts;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string name = "decoders[" + std::to_string(i) + "]";
    if ((*list)[i].is_null()) json.fail(name + " is null");
    parts.push_back(make_decoder((*list)[i], json.origin() + ": " + name));
  }
  return std::make_unique<SequenceDecoder>(std::move(parts));
}

std::unique_ptr<Decoder> make_strip(const base::JsonObject& json) {
  constexpr std::int64_t kMaxCount = 1'000'000'000;
  return std::make_unique<StripDecoder>(not_empty(json, "content"),
                                        static_cast<std::size_t>(json.integer("start", 0, kMaxCount)),
                                        static_cast<std::size_t>(json.integer("stop", 0, kMaxCount)));
}

}  // namespace

std::string Decoder::decode(std::vector<std::string> tokens) const {
  std::string text;
  for (const std::string& token : decode_chain(std::move(tokens))) text += token;
  return text;
}

std::unique_ptr<Decoder> make_decoder(const base::json::value& value, const std::string& origin) {
  if (value.is_null()) return std::make_unique<JoinDecoder>();
  const base::JsonObject json(value, origin);
  const std::string type = json.string("type");
  if (type == "BPEDecoder") return std::make_unique<BpeDecoder>(not_empty(json, "suffix"));
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "CTC") {
    return std::make_unique<CtcDecoder>(not_empty(json, "pad_token"), not_empty(json, "word_delimiter_token"),
                                        json.boolean_or("cleanup", true));
  }
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Metaspace") {
    const bool prepends =
        json.string_or("prepend_scheme", "always") != "never" && json.boolean_or("add_prefix_space", true);
    return std::make_unique<MetaspaceDecoder>(not_empty(json, "replacement"), prepends);
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceDecoder>(make_pattern(json.object("pattern")), json.string("content"));
  }
  if (type == "Sequence") return make_sequence(json);
  if (type == "Strip") return make_strip(json);
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(json.string("prefix"), json.boolean_or("cleanup", true));
  }
  throw Error(ErrorCode::kUnsupported, origin + ": type " + type + " is not supported");
}

std::string clean_up_spaces(std::string text) {
  replace_all(text, kPunctuation);
  replace_all(text, kContractions);
  return text;
}

std::unique_ptr<TokenStage> make_clean_up_stage(std::unique_ptr<TokenStage> next) {
  const auto add = [&](std::span<const Replacement> replacements) {
    for (auto one = replacements.rbegin(); one != replacements.rend(); ++one) {
      next = make_replace_stage(std::string(one->from), std::string(one->to), std::move(next));
    }
  };
  add(kContractions);
  add(kPunctuation);
  return next;
}

}  // namespace kvasir::text
