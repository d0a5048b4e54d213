#include "text/loading/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/models/bpe.h"
#include "text/models/wordpiece.h"
#include "text/pattern.h"

namespace kvasir::text {

namespace {

using base::json::array;
using base::json::object;
using base::json::value;

constexpr const char* kSpaceMark = "\u2581";  // "▁"

// How byte-level BPE splits a text into words, by tokenizer.ggml.pre: expressions that cut one after the
// other, what lies between two matches being a word too.
enum class Split {
  kDefault,  // runs of punctuation, GPT-2's words, numbers by three digits
  kGpt2,
  kMpt,     // GPT-2's, of the text in NFC
  kDigits,  // each digit, then GPT-2's
  kFalcon,  // runs of punctuation, GPT-2's, groups of three digits
  kBloom,
  kLlama3,
  kQwen2,  // as Llama 3, but for single digits
};
struct PreTokenizerName {
  std::string_view pre;
  Split split;
  bool ignore_merges = false, add_bos = false;
};
// clang-format off: a line for each kind
constexpr PreTokenizerName kPreTokenizers[] = {
    {"default", Split::kDefault},
    {"", Split::kDefault},
    {"gpt-2", Split::kGpt2},
    {"phi-2", Split::kGpt2},
    {"olmo", Split::kGpt2},
    {"jais", Split::kGpt2},
    {"mpt", Split::kMpt},
    {"smollm", Split::kDigits},
    {"starcoder", Split::kDigits},
    {"refact", Split::kDigits},
    {"command-r", Split::kDigits},
    {"codeshell", Split::kDigits},
    {"falcon", Split::kFalcon},
    {"bloom", Split::kBloom},
    {"poro-chat", Split::kBloom},
    {"gpt3-finnish", Split::kBloom},
    {"llama-bpe", Split::kLlama3, true, true},
    {"llama3", Split::kLlama3, true, true},
    {"llama-v3", Split::kLlama3, true, true},
    {"falcon3", Split::kLlama3, true, true},
    {"dbrx", Split::kLlama3},
    {"smaug-bpe", Split::kLlama3},
    {"qwen2", Split::kQwen2},
    {"stablelm2", Split::kQwen2},
    {"deepseek-r1-qwen", Split::kQwen2},
};
// clang-format on

// Llama 3's and Qwen 2's, up to how many digits a word has.
constexpr const char* kContractionsAndLetters =
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
constexpr const char* kSymbolsAndSpace = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

object regex(std::string_view expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}};
}
object byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", use_regex}};
}

value pre_tokenizer(Split split) {
  array list;
  switch (split) {
    case Split::kDefault:
      list = {regex("[\\p{P}\\$\\+<=>\\^~\\|]+"), regex(kGpt2Expression), regex("\\p{N}+"),
              regex("[0-9][0-9][0-9]"), byte_level(false)};
      break;
    case Split::kGpt2:
    case Split::kMpt:
      return byte_level(true);
    case Split::kDigits:
      list = {object{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)};
      break;
    case Split::kFalcon:  // in the words of Falcon's tokenizer.json
      list = {object{{"type", "Punctuation"}, {"behavior", "Contiguous"}}, byte_level(true),
              object{{"type", "Digits"}, {"individual_digits", false}}, regex("[0-9][0-9][0-9]")};
      break;
    case Split::kBloom:
      list = {regex(kBloomExpression), byte_level(false)};
      break;
    case Split::kLlama3:
      list = {regex(std::string(kContractionsAndLetters) + "\\p{N}{1,3}" + kSymbolsAndSpace),
              byte_level(false)};
      break;
    case Split::kQwen2:
      list = {regex(std::string(kContractionsAndLetters) + "\\p{N}" + kSymbolsAndSpace), byte_level(false)};
      break;
  }
  return object{{"type", "Sequence"}, {"pretokenizers", std::move(list)}};
}

// Without the keys that do not change what a pre-tokeniser does.
value without_defaults(const value& json) {
  if (const array* list = json.if_array()) {
    array result;
    for (const value& each : *list) result.push_back(without_defaults(each));
    return result;
  }
  if (!json.is_object()) return json;
  object result;
  for (const auto& [key, member] : json.as_object()) {
    if (key != "trim_offsets" && (key != "invert" || member != false)) result[key] = without_defaults(member);
  }
  return result;
}

class Builder {
 public:
  Builder(const GgufVocabulary& vocabulary, const std::string& origin) : v_(vocabulary), origin_(origin) {}

  TokenizerParts build() {
    check();
    if (v_.model == "llama") {
      sentencepiece();
    } else if (v_.model == "gpt2") {
      byte_level_bpe();
    } else if (v_.model == "bert") {
      wordpiece();
    } else {
      unsupported("tokenizer.ggml.model", v_.model, "llama, gpt2 and bert are known");
    }
    add_special_tokens();
    return std::move(parts_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, origin_ + ": " + message);
  }
  [[noreturn]] void unsupported(const char* key, std::string_view name, const char* known) const {
    throw Error(ErrorCode::kUnsupported, origin_ + ": metadata key " + key + " is " + std::string(name) +
                                             ", which is not supported; " + known);
  }
  void check_size(const char* key, std::size_t size) const {
    if (size != v_.tokens.size()) {
      fail("metadata key " + std::string(key) + " has " + std::to_string(size) + " elements, and there are " +
           std::to_string(v_.tokens.size()) + " tokens");
    }
  }

  void check() const {
    if (v_.tokens.empty() || v_.tokens.size() > static_cast<std::size_t>(kMaxTokenId)) {
      fail("metadata key tokenizer.ggml.tokens has " + std::to_string(v_.tokens.size()) + " tokens");
    }
    for (std::size_t i = 0; i < v_.tokens.size(); ++i) {
      if (base::find_invalid_utf8(v_.tokens[i]) != v_.tokens[i].size()) {
        fail("metadata key tokenizer.ggml.tokens: token " + std::to_string(i) + " is not UTF-8");
      }
    }
    if (!v_.types.empty()) check_size("tokenizer.ggml.token_type", v_.types.size());
    for (const auto& [key, id] : {std::pair{"bos", v_.bos},
                                  {"eos", v_.eos},
                                  {"unknown", v_.unk},
                                  {"seperator", v_.sep},
                                  {"padding", v_.pad},
                                  {"cls", v_.cls},
                                  {"mask", v_.mask}}) {
      if (id && (*id < 0 || static_cast<std::size_t>(*id) >= v_.tokens.size())) {
        fail("metadata key tokenizer.ggml." + std::string(key) + "_token_id is " + std::to_string(*id) +
             ", and there are " + std::to_string(v_.tokens.size()) + " tokens");
      }
    }
  }

  std::int32_t type(std::size_t id) const noexcept {
    return v_.types.empty() ? GgufVocabulary::kNormal : v_.types[id];
  }

  // Rows of the model's table beyond its vocabulary, which converters call "[PAD50280]", and empty tokens are
  // none.
  bool is_token(std::size_t id) const noexcept {
    const bool padding = type(id) == GgufVocabulary::kUnused && v_.tokens[id].starts_with("[PAD");
    return !v_.tokens[id].empty() && !padding;
  }

  VocabularyList list() const {
    VocabularyList result;
    for (std::size_t id = 0; id < v_.tokens.size(); ++id) {
      if (is_token(id)) result.add(v_.tokens[id], static_cast<std::int32_t>(id));
    }
    return result;
  }

  // The metadata say by which score a token comes about, not of which two others: of any two that are tokens.
  // Of equal scores the leftmost pair comes first, hence the same rank.
  MergeList merges_by_score(const Vocabulary& tokens) const {
    std::vector<std::int32_t> order;
    for (std::size_t id = 0; id < v_.tokens.size(); ++id) {
      // A token listed again counts where it was last.
      if (tokens.find(v_.tokens[id]) == static_cast<std::int32_t>(id))
        order.push_back(static_cast<std::int32_t>(id));
    }
    const auto score = [&](std::int32_t id) { return v_.scores[static_cast<std::size_t>(id)]; };
    std::ranges::stable_sort(order, std::greater<>(), score);
    MergeList merges;
    std::uint32_t rank = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i > 0 && score(order[i]) != score(order[i - 1])) rank = static_cast<std::uint32_t>(i);
      const std::string_view token = v_.tokens[static_cast<std::size_t>(order[i])];
      for (std::size_t at = base::decode_utf8(token, 0).length; at < token.size();
           at += base::decode_utf8(token, at).length) {
        const std::string_view left = token.substr(0, at), right = token.substr(at);
        if (tokens.find(left) != kNoToken && tokens.find(right) != kNoToken) merges.add(left, right, rank);
      }
    }
    return merges;
  }

  void sentencepiece() {
    check_size("tokenizer.ggml.scores", v_.scores.size());
    if (std::ranges::any_of(v_.scores, [](float score) { return std::isnan(score); })) {
      fail("metadata key tokenizer.ggml.scores holds a NaN");
    }
    Vocabulary tokens(list(), Vocabulary::Repeated::kLastFound, origin_);
    const MergeList merges = merges_by_score(tokens);
    BpeOptions options;
    options.fuse_unk = options.byte_fallback = true;
    if (const auto unknown = unknown_token()) options.unk_token = std::string(*unknown);
    parts_.model = std::make_unique<Bpe>(std::move(tokens), merges, options, origin_);

    array normalizers;
    if (v_.add_space_prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kSpaceMark}});
    normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}});
    parts_.normalizer = make_normalizer(object{{"type", "Sequence"}, {"normalizers", normalizers}}, origin_);
    array decoders{{{"type", "Replace"}, {"pattern", {{"String", kSpaceMark}}}, {"content", " "}},
                   {{"type", "ByteFallback"}},
                   {{"type", "Fuse"}}};
    if (v_.add_space_prefix) {
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    }
    parts_.decoder = make_decoder(object{{"type", "Sequence"}, {"decoders", decoders}}, origin_);
    set_bos_and_eos(v_.add_bos.value_or(true));
  }

  std::optional<std::string_view> unknown_token() const {
    if (v_.unk) return v_.tokens[static_cast<std::size_t>(*v_.unk)];
    for (std::size_t id = 0; id < v_.tokens.size(); ++id) {
      if (type(id) == GgufVocabulary::kUnknown) return v_.tokens[id];
    }
    return std::nullopt;
  }

  void byte_level_bpe() {
    const auto* name = std::ranges::find(kPreTokenizers, v_.pre, &PreTokenizerName::pre);
    if (name == std::end(kPreTokenizers)) {
      unsupported("tokenizer.ggml.pre", v_.pre, "take the model as a Hugging Face folder");
    }
    MergeList merges;
    for (std::size_t i = 0; i < v_.merges.size(); ++i) {
      const std::string_view merge = v_.merges[i];
      // A token may begin with a space, so the first byte does not count.
      const std::size_t space = merge.empty() ? std::string_view::npos : merge.find(' ', 1);
      if (space == std::string_view::npos || space + 1 == merge.size()) {
        fail("metadata key tokenizer.ggml.merges: \"" + std::string(merge) + "\" is not two tokens");
      }
      merges.add(merge.substr(0, space), merge.substr(space + 1));
    }
    BpeOptions options;
    options.ignore_merges = name->ignore_merges;
    parts_.model = std::make_unique<Bpe>(Vocabulary(list(), Vocabulary::Repeated::kLastWins, origin_), merges,
                                         options, origin_);
    parts_.pre_tokenizer = make_pre_tokenizer(pre_tokenizer(name->split), origin_);
    // llama.cpp leaves this out; MPT was trained with it, and has it in its tokenizer.json.
    if (name->split == Split::kMpt) parts_.normalizer = make_normalizer(object{{"type", "NFC"}}, origin_);
    parts_.decoder = make_decoder(object{{"type", "ByteLevel"}}, origin_);
    set_bos_and_eos(v_.add_bos.value_or(name->add_bos));
  }

  // GGUF marks tokens that begin a word, BERT those that do not. Neither marks "[SEP]" and its like.
  VocabularyList wordpieces(bool& has_capitals) const {
    VocabularyList result;
    for (std::size_t id = 0; id < v_.tokens.size(); ++id) {
      const std::string_view token = v_.tokens[id];
      if (!is_token(id)) continue;
      const auto number = static_cast<std::int32_t>(id);
      if (token.starts_with(kSpaceMark)) {
        const std::string_view word = token.substr(std::string_view(kSpaceMark).size());
        result.add(word, number);
        has_capitals = has_capitals || std::ranges::any_of(word, [](char c) { return c >= 'A' && c <= 'Z'; });
      } else if (type(id) == GgufVocabulary::kNormal && !(token.starts_with('[') && token.ends_with(']'))) {
        result.add("##" + std::string(token), number);
      } else {
        result.add(token, number);
      }
    }
    return result;
  }

  void wordpiece() {
    const auto cls = v_.cls ? v_.cls : v_.bos, sep = v_.sep ? v_.sep : v_.eos;
    const auto unknown = unknown_token();
    if (!cls || !sep || !unknown) {
      fail("metadata keys tokenizer.ggml.cls_token_id, seperator_token_id and unknown_token_id are needed");
    }
    bool has_capitals = false;
    VocabularyList tokens = wordpieces(has_capitals);
    WordPieceOptions options;
    options.unk_token = std::string(*unknown);
    // Without capitals in the vocabulary, capitals of a text would all be unknown.
    parts_.normalizer = std::make_unique<BertNormalizer>(
        BertNormalizerOptions{.strip_accents = {}, .lowercase = !has_capitals});
    parts_.pre_tokenizer = make_pre_tokenizer(object{{"type", "BertPreTokenizer"}}, origin_);
    parts_.decoder = make_decoder(object{{"type", "WordPiece"}, {"prefix", "##"}}, origin_);
    parts_.model = std::make_unique<WordPiece>(
        Vocabulary(std::move(tokens), Vocabulary::Repeated::kLastWins, origin_), options, origin_);
    const TemplatePart begin{.ids = {*cls}}, end{.ids = {*sep}}, last{.ids = {*sep}, .type_id = 1};
    const TemplatePart first{.sequence = 0}, second{.sequence = 1, .type_id = 1};
    parts_.post_processor = PostProcessor({begin, first, end}, {begin, first, end, second, last});
  }

  // "<s> $A </s>", as far as they are wanted, and the same for a second text.
  void set_bos_and_eos(bool add_bos) {
    std::vector<TemplatePart> single, pair;
    for (const std::int32_t sequence : {0, 1}) {
      if (add_bos && v_.bos) pair.push_back({.ids = {*v_.bos}, .type_id = sequence});
      pair.push_back({.sequence = sequence, .type_id = sequence});
      if (v_.add_eos.value_or(false) && v_.eos) pair.push_back({.ids = {*v_.eos}, .type_id = sequence});
      if (sequence == 0) single = pair;
    }
    parts_.post_processor = PostProcessor(std::move(single), std::move(pair));
  }

  // Those of the types, and those with a role, which some files have as normal tokens.
  void add_special_tokens() {
    std::vector<AddedToken> tokens;
    const auto has_role = [&](std::size_t id) {
      const auto number = static_cast<std::int32_t>(id);
      return v_.bos == number || v_.eos == number || v_.unk == number || v_.sep == number ||
             v_.pad == number || v_.cls == number || v_.mask == number;
    };
    for (std::size_t id = 0; id < v_.tokens.size(); ++id) {
      const std::int32_t kind = type(id);
      const bool special =
          kind == GgufVocabulary::kControl || kind == GgufVocabulary::kUnknown || has_role(id);
      if (!is_token(id) || (!special && kind != GgufVocabulary::kUserDefined)) continue;
      std::string_view content = v_.tokens[id];
      if (v_.model == "bert" && content.starts_with(kSpaceMark)) {
        content.remove_prefix(std::string_view(kSpaceMark).size());
      }
      tokens.push_back({.content = std::string(content), .normalized = false, .special = special});
    }
    parts_.added_tokens.add(tokens, parts_.model->vocabulary(), parts_.normalizer.get(), origin_);
  }

  const GgufVocabulary& v_;
  const std::string& origin_;
  TokenizerParts parts_;
};

}  // namespace

std::optional<std::string_view> gguf_pre_tokenizer(const ByteLevelKind& kind) {
  const value plain = without_defaults(kind.pre_tokenizer);
  for (const PreTokenizerName& name : kPreTokenizers) {
    if (name.ignore_merges != kind.ignore_merges || (name.split == Split::kMpt) != kind.nfc) continue;
    if (without_defaults(pre_tokenizer(name.split)) == plain) return name.pre;
  }
  return std::nullopt;
}

TokenizerParts make_gguf_parts(const GgufVocabulary& vocabulary, const std::string& origin) {
  return Builder(vocabulary, origin).build();
}

}  // namespace kvasir::text
