#include "text/loading/tokenizer_json.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "text/loading/tokenizer_json_parser.h"
#include "text/models/bpe.h"
#include "text/models/unigram.h"
#include "text/models/wordpiece.h"

namespace kvasir::text {

namespace {

// No sensible word is longer; a bound keeps a hostile file from making the word's cost quadratic.
constexpr std::int64_t kMaxWordChars = 100'000;

std::unique_ptr<Model> make_word_piece(const base::JsonObject& json, Vocabulary vocabulary) {
  WordPieceOptions options;
  options.unk_token = json.string("unk_token");
  options.continuing_subword_prefix = json.string("continuing_subword_prefix");
  options.max_input_chars_per_word =
      static_cast<std::size_t>(json.integer("max_input_chars_per_word", 0, kMaxWordChars));
  return std::make_unique<WordPiece>(std::move(vocabulary), options, json.origin());
}

std::unique_ptr<Model> make_bpe(const base::JsonObject& json, Vocabulary vocabulary,
                                const MergeList& merges) {
  if (json.at("merges").if_array() == nullptr) json.fail("key merges is not a list");
  BpeOptions options;
  if (json.has("unk_token")) options.unk_token = json.string("unk_token");
  options.continuing_subword_prefix = json.string_or("continuing_subword_prefix", "");
  options.end_of_word_suffix = json.string_or("end_of_word_suffix", "");
  options.fuse_unk = json.boolean_or("fuse_unk", false);
  options.byte_fallback = json.boolean_or("byte_fallback", false);
  options.ignore_merges = json.boolean_or("ignore_merges", false);
  if (json.number_or("dropout", 0) != 0) {
    base::log(LogLevel::kWarning,
              json.origin() + ": dropout is for training; here no merge is ever left out");
  }
  return std::make_unique<Bpe>(std::move(vocabulary), merges, options, json.origin());
}

std::unique_ptr<Model> make_unigram(const base::JsonObject& json, TokenizerJson& file) {
  if (json.at("vocab").if_array() == nullptr) json.fail("key vocab is not a list");
  UnigramOptions options;
  if (json.has("unk_id")) {
    options.unk_id = static_cast<std::int32_t>(json.integer("unk_id", 0, kMaxTokenId));
  }
  options.byte_fallback = json.boolean_or("byte_fallback", false);
  return std::make_unique<Unigram>(
      Vocabulary(std::move(file.vocabulary), Vocabulary::Repeated::kLastFound, json.origin() + ": vocab"),
      std::move(file.scores), options, json.origin());
}

std::string model_type(const base::JsonObject& json) {
  if (json.has("type")) return json.string("type");
  // Files of before 2020 have no type.
  if (json.has("max_input_chars_per_word")) return "WordPiece";
  return json.has("merges") ? "BPE" : json.string("type");
}

std::unique_ptr<Model> make_model(const base::JsonObject& root, TokenizerJson& file) {
  const base::JsonObject json = root.object("model");
  const std::string type = model_type(json);
  if (type == "Unigram") return make_unigram(json, file);
  if (type != "WordPiece" && type != "BPE") {
    throw Error(ErrorCode::kUnsupported, json.origin() + ": type " + type + " is not supported");
  }
  if (json.at("vocab").if_object() == nullptr) json.fail("key vocab is not an object");
  Vocabulary vocabulary(std::move(file.vocabulary), Vocabulary::Repeated::kError, json.origin() + ": vocab");
  return type == "BPE" ? make_bpe(json, std::move(vocabulary), file.merges)
                       : make_word_piece(json, std::move(vocabulary));
}

std::vector<AddedToken> parse_added_tokens(const base::JsonObject& root, const Vocabulary& vocabulary) {
  std::vector<AddedToken> tokens;
  if (!root.has("added_tokens")) return tokens;
  const base::json::array* list = root.at("added_tokens").if_array();
  if (list == nullptr) root.fail("key added_tokens is not a list");
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string origin = root.origin() + ": added_tokens[" + std::to_string(i) + "]";
    const base::JsonObject json((*list)[i], origin);
    AddedToken token;
    token.content = json.string("content");
    token.single_word = json.boolean_or("single_word", false);
    token.lstrip = json.boolean_or("lstrip", false);
    token.rstrip = json.boolean_or("rstrip", false);
    token.normalized = json.boolean_or("normalized", true);
    token.special = json.boolean_or("special", false);
    const std::int64_t id = json.integer("id", 0, kMaxTokenId);
    // The reference goes by the vocabulary and only warns.
    if (const std::int32_t known = vocabulary.find(token.content); known != kNoToken && known != id) {
      base::log(LogLevel::kWarning, origin + ": \"" + token.content + "\" has id " + std::to_string(id) +
                                        " here and " + std::to_string(known) +
                                        " in the vocabulary, which counts");
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::optional<bool> parse_pad_left(const base::JsonObject& root) {
  if (!root.has("padding")) return std::nullopt;
  const base::JsonObject padding = root.object("padding");
  const std::string direction = padding.string("direction");
  if (direction != "Left" && direction != "Right") {
    padding.fail("key direction = \"" + direction + "\" is neither Left nor Right");
  }
  return direction == "Left";
}

const base::json::value& value_or_null(const base::JsonObject& root, std::string_view key) {
  static const base::json::value null;
  return root.has(key) ? root.at(key) : null;
}

}  // namespace

TokenizerParts load_tokenizer_json(const std::filesystem::path& path) {
  return parse_tokenizer_json(base::read_file(path), path.string());
}

TokenizerParts parse_tokenizer_json(std::string_view text, const std::string& origin) {
  TokenizerJson json = parse_tokenizer_document(text, origin);
  const base::JsonObject root(json.document, origin);
  const std::string version = root.string_or("version", "1.0");
  if (version != "1.0") root.fail("key version = \"" + version + "\" is not the known 1.0");

  TokenizerParts parts;
  parts.normalizer = make_normalizer(value_or_null(root, "normalizer"), origin + ": normalizer");
  parts.pre_tokenizer = make_pre_tokenizer(value_or_null(root, "pre_tokenizer"), origin + ": pre_tokenizer");
  parts.model = make_model(root, json);
  parts.post_processor =
      make_post_processor(value_or_null(root, "post_processor"), origin + ": post_processor");
  parts.decoder = make_decoder(value_or_null(root, "decoder"), origin + ": decoder");
  const Vocabulary& vocabulary = parts.model->vocabulary();
  parts.added_tokens.add(parse_added_tokens(root, vocabulary), vocabulary, parts.normalizer.get(), origin);
  parts.pad_left = parse_pad_left(root);
  return parts;
}

}  // namespace kvasir::text
