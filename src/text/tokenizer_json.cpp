#include "text/tokenizer_json.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mapped_file.h"
#include "kvasir/error.h"
#include "text/tokenizer_json_parser.h"
#include "text/wordpiece.h"

namespace kvasir::text {

namespace {

// No sensible word is longer; a bound keeps a hostile file from making the word's cost quadratic.
constexpr std::int64_t kMaxWordChars = 100'000;

std::unique_ptr<Model> make_model(const base::JsonObject& root, VocabularyList vocabulary) {
  const base::JsonObject json = root.object("model");
  // Files of before 2020 have no type; of those models only WordPiece has a longest word.
  const std::string type =
      json.has("max_input_chars_per_word") ? json.string_or("type", "WordPiece") : json.string("type");
  if (type != "WordPiece") {
    throw Error(ErrorCode::kUnsupported, json.origin() + ": type " + type + " is not supported");
  }
  WordPieceOptions options;
  options.unk_token = json.string("unk_token");
  options.continuing_subword_prefix = json.string("continuing_subword_prefix");
  options.max_input_chars_per_word =
      static_cast<std::size_t>(json.integer("max_input_chars_per_word", 0, kMaxWordChars));
  if (json.at("vocab").if_object() == nullptr) json.fail("key vocab is not an object");
  const std::string origin = json.origin() + ": vocab";
  return std::make_unique<WordPiece>(Vocabulary(std::move(vocabulary), Vocabulary::Repeated::kError, origin),
                                     options, json.origin());
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
      base::log(base::LogLevel::kWarning, origin + ": \"" + token.content + "\" has id " +
                                              std::to_string(id) + " here and " + std::to_string(known) +
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
  parts.model = make_model(root, std::move(json.vocabulary));
  parts.post_processor =
      make_post_processor(value_or_null(root, "post_processor"), origin + ": post_processor");
  parts.decoder = make_decoder(value_or_null(root, "decoder"), origin + ": decoder");
  const Vocabulary& vocabulary = parts.model->vocabulary();
  parts.added_tokens.add(parse_added_tokens(root, vocabulary), vocabulary, parts.normalizer.get(), origin);
  parts.pad_left = parse_pad_left(root);
  return parts;
}

}  // namespace kvasir::text
