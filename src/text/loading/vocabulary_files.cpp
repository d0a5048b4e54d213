#include "text/loading/vocabulary_files.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/loading/sentencepiece.h"
#include "text/loading/tokenizer_json_parser.h"
#include "text/models/unigram.h"
#include "text/models/wordpiece.h"
#include "text/normalizers/chars_map.h"

namespace kvasir::text {

namespace {

namespace fs = std::filesystem;
using base::json::object;

constexpr const char* kSpaceMark = "\u2581";  // "▁"

std::string read_utf8(const fs::path& path) {
  std::string text = base::read_file(path);
  if (const std::size_t bad = base::find_invalid_utf8(text); bad != text.size()) {
    throw Error(ErrorCode::kFormat, path.string() + ": is not UTF-8 (byte " + std::to_string(bad) + ")");
  }
  return text;
}

TokenizerParts load_vocab_txt(const fs::path& path, const TokenizerConfig& config) {
  const std::string text = read_utf8(path);
  VocabularyList list;
  std::int32_t id = 0;
  for (std::size_t at = 0; at < text.size(); ++id) {
    // Python's universal newlines: \n, \r\n, \r.
    const std::size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    if (id > kMaxTokenId) {
      throw Error(ErrorCode::kFormat,
                  path.string() + ": has more than " + std::to_string(kMaxTokenId) + " lines");
    }
    list.add(std::string_view(text).substr(at, end - at), id);
    at = end + (text.compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  WordPieceOptions options;
  if (const auto& unk = config.role(SpecialRole::kUnk)) options.unk_token = unk->token.content;
  TokenizerParts parts;
  parts.normalizer = std::make_unique<BertNormalizer>(*config.bert);
  parts.pre_tokenizer = make_pre_tokenizer({{"type", "BertPreTokenizer"}}, path.string());
  parts.decoder = make_decoder({{"type", "WordPiece"}, {"prefix", "##"}}, path.string());
  parts.model = std::make_unique<WordPiece>(
      Vocabulary(std::move(list), Vocabulary::Repeated::kLastWins, path.string()), options, path.string());
  return parts;
}

TokenizerParts load_byte_level(const VocabularyFiles& files, const TokenizerConfig& config) {
  const std::string origin = files.vocabulary.string();
  VocabularyList list = parse_vocabulary_document(base::read_file(files.vocabulary), origin);
  const MergeList merges = parse_merges(read_utf8(files.merges), files.merges.string());
  TokenizerParts parts;
  parts.pre_tokenizer = std::make_unique<ByteLevelPreTokenizer>(
      ByteLevelOptions{.add_prefix_space = config.add_prefix_space.value_or(false)});
  parts.decoder = make_decoder({{"type", "ByteLevel"}}, origin);
  parts.model = std::make_unique<Bpe>(Vocabulary(std::move(list), Vocabulary::Repeated::kError, origin),
                                      merges, BpeOptions{}, files.merges.string());
  return parts;
}

// The score by which ALBERT's conversion keeps "3," and the like from being one token.
bool ends_in_digit_and_comma(std::string_view piece) {
  if (piece.size() < 2 || piece.back() != ',') return false;
  std::size_t at = piece.size() - 2;
  while (at > 0 && (static_cast<std::uint8_t>(piece[at]) & 0xC0) == 0x80) --at;
  const auto c = static_cast<utf8proc_int32_t>(base::decode_utf8(piece, at).value);
  return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}

// Tokens and scores in the order of their ids.
struct Scored {
  VocabularyList list;
  std::vector<double> scores;
  void add(std::string_view token, double score) {
    list.add(token, static_cast<std::int32_t>(scores.size()));
    scores.push_back(score);
  }
};

// The pieces as the class numbers them.
Scored number_pieces(const SentencePieceModel& model, const TokenizerConfig& config) {
  Scored result;
  std::size_t first = 0;
  if (config.tokenizer_class == "XLMRobertaTokenizer") {
    for (const char* token : {"<s>", "<pad>", "</s>", "<unk>"}) result.add(token, 0);
    first = 3;
  } else if (config.tokenizer_class == "LlamaTokenizer") {
    for (; first < 3 && first < model.pieces.size(); ++first) result.add(model.pieces[first].text, 0);
  }
  const bool albert = config.tokenizer_class == "AlbertTokenizer";
  for (std::size_t i = first; i < model.pieces.size(); ++i) {
    const double score = model.pieces[i].score;
    result.add(model.pieces[i].text,
               albert && ends_in_digit_and_comma(model.pieces[i].text) ? score - 100 : score);
  }
  if (first == 3 && config.tokenizer_class == "XLMRobertaTokenizer") result.add("<mask>", 0);
  return result;
}

std::vector<std::unique_ptr<Normalizer>> normalizers_before(const TokenizerConfig& config,
                                                            const std::string& origin) {
  std::vector<std::unique_ptr<Normalizer>> list;
  const auto add = [&](const object& json) { list.push_back(make_normalizer(json, origin)); };
  if (config.tokenizer_class == "AlbertTokenizer") {
    for (const char* quotes : {"``", "''"}) {
      add({{"type", "Replace"}, {"pattern", {{"String", quotes}}}, {"content", "\""}});
    }
    if (!config.keep_accents.value_or(false)) {
      add({{"type", "NFKD"}});
      add({{"type", "StripAccents"}});
    }
    if (config.do_lower_case.value_or(true)) add({{"type", "Lowercase"}});
  } else if (config.tokenizer_class == "DebertaV2Tokenizer") {
    if (config.do_lower_case.value_or(false)) add({{"type", "Lowercase"}});
    add({{"type", "Strip"}});
  }
  return list;
}

std::unique_ptr<Normalizer> unigram_normalizer(const SentencePieceModel& model, const TokenizerConfig& config,
                                               const std::string& origin) {
  auto list = normalizers_before(config, origin);
  if (!model.precompiled_charsmap.empty()) {
    list.push_back(make_precompiled(CharsMap(model.precompiled_charsmap, origin)));
  }
  const bool xlm = config.tokenizer_class == "XLMRobertaTokenizer";
  if (xlm) list.push_back(make_normalizer({{"type", "Strip"}, {"strip_left", false}}, origin));
  list.push_back(make_normalizer(
      {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", xlm ? kSpaceMark : " "}}, origin));
  return make_normalizers(std::move(list));
}

std::size_t count_code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) != 0x80; }));
}

// The merges that lead to each piece by any two others, best score first, as the conversion has them.
MergeList find_merges(const SentencePieceModel& model, const Vocabulary& vocabulary,
                      const std::vector<double>& scores) {
  struct Candidate {
    std::string_view left, right;
    std::int32_t left_id, right_id;
    double score;
    std::size_t left_length, right_length;
  };
  std::vector<Candidate> merges;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const std::string_view piece = model.pieces[i].text;
    if (vocabulary.find(piece) != static_cast<std::int32_t>(i)) continue;  // listed again further on
    const std::size_t first = merges.size();
    for (std::size_t at = base::decode_utf8(piece, 0).length; at < piece.size();
         at += base::decode_utf8(piece, at).length) {
      const std::string_view left = piece.substr(0, at), right = piece.substr(at);
      const std::int32_t left_id = vocabulary.find(left), right_id = vocabulary.find(right);
      if (left_id == kNoToken || right_id == kNoToken) continue;
      merges.push_back(
          {left, right, left_id, right_id, scores[i], count_code_points(left), count_code_points(right)});
    }
    std::stable_sort(merges.begin() + static_cast<std::ptrdiff_t>(first), merges.end(),
                     [](const Candidate& a, const Candidate& b) {
                       return a.left_id != b.left_id ? a.left_id < b.left_id : a.right_id < b.right_id;
                     });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Candidate& a, const Candidate& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    return a.right_length > b.right_length;
  });
  MergeList list;
  for (const Candidate& merge : merges) list.add(merge.left, merge.right);
  return list;
}

object metaspace(const char* scheme, bool split) {
  return {{"type", "Metaspace"}, {"replacement", kSpaceMark}, {"prepend_scheme", scheme}, {"split", split}};
}

// Llama's: BPE over the whole text, spaces as "▁", unknown characters as bytes.
void set_llama_parts(const SentencePieceModel& model, Scored pieces, const TokenizerConfig& config,
                     const std::string& origin, TokenizerParts& parts) {
  const bool prefix = config.add_prefix_space.value_or(!config.add_prefix_space_is_null);
  Vocabulary vocabulary(std::move(pieces.list), Vocabulary::Repeated::kLastFound, origin);
  const MergeList merges = find_merges(model, vocabulary, pieces.scores);
  BpeOptions options;
  options.unk_token = std::string(model.unk_piece);
  options.fuse_unk = options.byte_fallback = true;
  parts.model = std::make_unique<Bpe>(std::move(vocabulary), merges, options, origin);
  if (config.legacy) {
    base::json::array list;
    if (prefix) list.push_back({{"type", "Prepend"}, {"prepend", kSpaceMark}});
    list.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpaceMark}});
    parts.normalizer = make_normalizer({{"type", "Sequence"}, {"normalizers", list}}, origin);
  } else {
    parts.pre_tokenizer = make_pre_tokenizer(metaspace(prefix ? "first" : "never", false), origin);
  }
  base::json::array decoders{{{"type", "Replace"}, {"pattern", {{"String", kSpaceMark}}}, {"content", " "}},
                             {{"type", "ByteFallback"}},
                             {{"type", "Fuse"}}};
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  parts.decoder = make_decoder({{"type", "Sequence"}, {"decoders", decoders}}, origin);
}

void set_unigram_parts(const SentencePieceModel& model, Scored pieces, const TokenizerConfig& config,
                       const std::string& origin, TokenizerParts& parts) {
  UnigramOptions options;
  options.unk_id = config.tokenizer_class == "XLMRobertaTokenizer" ? 3 : model.unk_id;
  parts.model =
      std::make_unique<Unigram>(Vocabulary(std::move(pieces.list), Vocabulary::Repeated::kLastFound, origin),
                                std::move(pieces.scores), options, origin);
  parts.normalizer = unigram_normalizer(model, config, origin);
  base::json::array splitters;
  if (config.tokenizer_class == "DebertaV2Tokenizer" && config.split_by_punct.value_or(false)) {
    splitters.push_back({{"type", "Punctuation"}, {"behavior", "Isolated"}});
  }
  splitters.push_back(metaspace("always", true));
  parts.pre_tokenizer = make_pre_tokenizer({{"type", "Sequence"}, {"pretokenizers", splitters}}, origin);
  parts.decoder = make_decoder(metaspace("always", true), origin);
}

}  // namespace

std::optional<VocabularyFiles> find_vocabulary_files(const fs::path& folder, VocabularyKind kind) {
  std::error_code ignored;
  const auto exists = [&](const char* name) { return fs::exists(folder / name, ignored); };
  switch (kind) {
    case VocabularyKind::kWordPiece:
      if (exists("vocab.txt")) return VocabularyFiles{folder / "vocab.txt", {}};
      break;
    case VocabularyKind::kByteLevelBpe:
      if (exists("vocab.json") && exists("merges.txt")) {
        return VocabularyFiles{folder / "vocab.json", folder / "merges.txt"};
      }
      break;
    case VocabularyKind::kSentencePiece:
      for (const char* name : {"spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model"}) {
        if (exists(name)) return VocabularyFiles{folder / name, {}};
      }
      break;
    case VocabularyKind::kNone:
      break;
  }
  return std::nullopt;
}

TokenizerParts parse_sentencepiece_parts(std::string_view bytes, const TokenizerConfig& config,
                                         const std::string& origin) {
  const SentencePieceModel model = parse_sentencepiece(bytes, origin);
  const bool llama = config.tokenizer_class == "LlamaTokenizer";
  const std::int32_t due = llama ? SentencePieceModel::kBpe : SentencePieceModel::kUnigram;
  if (model.model_type != due) {
    throw Error(ErrorCode::kUnsupported, origin + ": model type " + std::to_string(model.model_type) +
                                             ", where class " + config.tokenizer_class + " has " +
                                             std::to_string(due) + " (1 unigram, 2 bpe)");
  }
  TokenizerParts parts;
  Scored pieces = number_pieces(model, config);
  if (llama) {
    set_llama_parts(model, std::move(pieces), config, origin, parts);
  } else {
    set_unigram_parts(model, std::move(pieces), config, origin, parts);
  }
  std::vector<AddedToken> tokens;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    const bool control = piece.type == SentencePieceModel::kControl;
    if (!control && piece.type != SentencePieceModel::kUserDefined) continue;
    tokens.push_back({.content = std::string(piece.text), .normalized = false, .special = control});
  }
  parts.added_tokens.add(tokens, parts.model->vocabulary(), parts.normalizer.get(), origin);
  return parts;
}

MergeList parse_merges(std::string_view text, const std::string& origin) {
  // As the slow tokenizers: the first line and what follows the last line end do not count.
  MergeList merges;
  std::size_t line = 1, at = text.find('\n');
  constexpr std::string_view kBlank = " \t\r\f\v";
  while (at != std::string_view::npos) {
    const std::size_t begin = at + 1;
    at = text.find('\n', begin);
    ++line;
    if (at == std::string_view::npos) break;
    const std::string_view content = text.substr(begin, at - begin);
    const std::size_t left = content.find_first_not_of(kBlank);
    const std::size_t left_end = std::min(content.find_first_of(kBlank, left), content.size());
    const std::size_t right = content.find_first_not_of(kBlank, left_end);
    const std::size_t right_end = std::min(content.find_first_of(kBlank, right), content.size());
    if (right == std::string_view::npos ||
        content.find_first_not_of(kBlank, right_end) != std::string_view::npos) {
      throw Error(ErrorCode::kFormat, origin + ":" + std::to_string(line) + ": is not two tokens");
    }
    merges.add(content.substr(left, left_end - left), content.substr(right, right_end - right));
  }
  return merges;
}

PostProcessor make_class_template(const TokenizerConfig& config, const TokenizerParts& parts,
                                  const std::string& origin) {
  if (config.tokenizer_class == "LlamaTokenizer") return parts.post_processor;  // made of bos and eos
  if (config.tokenizer_class == "GPT2Tokenizer") {
    PostProcessor result;
    result.set_trimming({.trim_offsets = false}, false);
    return result;
  }
  const auto id_of = [&](SpecialRole role) {
    const auto& special = config.role(role);
    std::optional<std::int32_t> id;
    if (special) {
      id = parts.added_tokens.id(special->token.content);
      if (const std::int32_t known = parts.model->vocabulary().find(special->token.content);
          !id && known >= 0) {
        id = known;
      }
    }
    if (!id) {
      throw Error(ErrorCode::kFormat, origin + ": cls_token and sep_token are needed for the template");
    }
    return *id;
  };
  const bool roberta = vocabulary_kind(config) == VocabularyKind::kByteLevelBpe;
  const bool doubled = roberta || config.tokenizer_class == "XLMRobertaTokenizer" ||
                       config.tokenizer_class == "MPNetTokenizer";
  const std::int32_t second_type = doubled && config.tokenizer_class != "MPNetTokenizer" ? 0 : 1;
  const TemplatePart cls{.ids = {id_of(SpecialRole::kCls)}}, sep{.ids = {id_of(SpecialRole::kSep)}};
  TemplatePart end = sep;
  end.type_id = second_type;
  const TemplatePart first{.sequence = 0}, second{.sequence = 1, .type_id = second_type};
  std::vector<TemplatePart> single{cls, first, sep}, pair = single;
  if (doubled) pair.push_back(sep);
  pair.push_back(second);
  pair.push_back(end);
  PostProcessor result(std::move(single), std::move(pair));
  if (roberta) {
    result.set_trimming(
        {.trim_offsets = config.trim_offsets, .add_prefix_space = config.add_prefix_space.value_or(false)},
        false);
  }
  return result;
}

TokenizerParts load_vocabulary_files(const VocabularyFiles& files, VocabularyKind kind,
                                     const TokenizerConfig& config) {
  if (kind == VocabularyKind::kWordPiece) return load_vocab_txt(files.vocabulary, config);
  if (kind == VocabularyKind::kByteLevelBpe) return load_byte_level(files, config);
  return parse_sentencepiece_parts(base::read_file(files.vocabulary), config, files.vocabulary.string());
}

}  // namespace kvasir::text
