#include "text/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/wordpiece.h"

namespace kvasir::text {

namespace {

namespace fs = std::filesystem;

// Classes with BERT's vocabulary file, defaults and say over the normaliser.
struct BertKin {
  std::string_view name, model_type;
  bool token_type_ids;  // whether the class feeds them to its model
};
constexpr BertKin kBertKin[] = {
    {"BertTokenizer", "bert", true},          {"DistilBertTokenizer", "distilbert", false},
    {"ElectraTokenizer", "electra", true},    {"MobileBertTokenizer", "mobilebert", true},
    {"ConvBertTokenizer", "convbert", true},  {"SqueezeBertTokenizer", "squeezebert", true},
    {"LayoutLMTokenizer", "layoutlm", true},  {"LxmertTokenizer", "lxmert", true},
    {"BertTokenizer", "megatron-bert", true},
};

struct RoleName {
  const char* key;
  const char* bert_default;  // nullptr: none
};
// In the order of SpecialRole.
constexpr std::array<RoleName, kSpecialRoles> kRoles{{{"bos_token", nullptr},
                                                      {"eos_token", nullptr},
                                                      {"unk_token", "[UNK]"},
                                                      {"sep_token", "[SEP]"},
                                                      {"pad_token", "[PAD]"},
                                                      {"cls_token", "[CLS]"},
                                                      {"mask_token", "[MASK]"}}};

const BertKin* find_kin(std::string_view name) {
  const auto found = std::find_if(std::begin(kBertKin), std::end(kBertKin),
                                  [&](const BertKin& kin) { return kin.name == name; });
  return found == std::end(kBertKin) ? nullptr : found;
}

std::string without_fast(std::string name) {
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

// An object of the folder, or nothing if the file is not there.
struct ConfigFile {
  base::json::value value;
  std::optional<base::JsonObject> object;

  explicit ConfigFile(const fs::path& path) {
    std::error_code ignored;
    if (!fs::exists(path, ignored)) return;
    value = base::parse_json_file(path);
    object.emplace(value, path.string());
  }
  ConfigFile(const ConfigFile&) = delete;
};

// The class by tokenizer_config.json, else by config.json: its tokenizer_class, else its model_type.
std::string tokenizer_class(const std::optional<base::JsonObject>& config, const fs::path& folder,
                            const std::string& fallback) {
  if (config && config->has("tokenizer_class")) return without_fast(config->string("tokenizer_class"));
  const ConfigFile model(folder / "config.json");
  if (!model.object) return fallback;
  if (model.object->has("tokenizer_class")) return without_fast(model.object->string("tokenizer_class"));
  const std::string type = model.object->string_or("model_type", "");
  for (const BertKin& kin : kBertKin) {
    if (kin.model_type == type) return std::string(kin.name);
  }
  return fallback;
}

AddedToken parse_added_token(const base::JsonObject& json, bool special) {
  AddedToken token;
  token.content = json.string("content");
  token.special = json.boolean_or("special", special);
  token.single_word = json.boolean_or("single_word", false);
  token.lstrip = json.boolean_or("lstrip", false);
  token.rstrip = json.boolean_or("rstrip", false);
  token.normalized = json.boolean_or("normalized", !token.special);
  return token;
}

// "[CLS]", or {"content": "[CLS]", …}.
SpecialToken parse_special(const base::json::value& value, const std::string& origin) {
  if (const base::json::string* content = value.if_string()) {
    AddedToken token;
    token.content = std::string(*content);
    token.special = true;
    token.normalized = false;
    return {token, false};
  }
  return {parse_added_token(base::JsonObject(value, origin), true), true};
}

void read_special_tokens(const base::JsonObject& json, TokenizerConfig& config) {
  for (std::size_t i = 0; i < kSpecialRoles; ++i) {
    const char* key = kRoles[i].key;
    if (json.has(key)) {
      config.special[i] = parse_special(json.at(key), json.origin() + ": " + key);
    } else if (json.raw().contains(key)) {
      config.special[i].reset();  // null: no such token, whatever the class would have
    }
  }
  const auto add = [&](const base::json::value& value, const std::string& where) {
    SpecialToken special = parse_special(value, json.origin() + ": " + where);
    const auto same = [&](const SpecialToken& other) { return other.token.content == special.token.content; };
    if (std::none_of(config.additional_special.begin(), config.additional_special.end(), same)) {
      config.additional_special.push_back(std::move(special));
    }
  };
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (!json.has(key)) continue;
    const base::json::value& value = json.at(key);
    if (const auto* list = value.if_array()) {
      for (const base::json::value& item : *list) add(item, key);
    } else if (const auto* named = value.if_object()) {
      for (const auto& [name, item] : *named) add(item, std::string(key) + "." + std::string(name));
    } else {
      json.fail(std::string("key ") + key + " is neither a list nor an object");
    }
  }
}

// "added_tokens_decoder": {"100": {"content": "[UNK]", …}, …}
void read_added_tokens_decoder(const base::JsonObject& config_json, TokenizerConfig& config) {
  const base::JsonObject json = config_json.object("added_tokens_decoder");
  for (const auto& [key, value] : json.raw()) {
    std::int32_t id = kNoToken;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id > kMaxTokenId) {
      json.fail("key \"" + std::string(key) + "\" is no token id");
    }
    const std::string origin = json.origin() + ": " + std::string(key);
    config.added_tokens[id] = parse_added_token(base::JsonObject(value, origin), false);
  }
  config.legacy = false;
}

bool names(const TokenizerConfig& config, std::string_view content) {
  const auto is_it = [&](const SpecialToken& special) { return special.token.content == content; };
  return std::any_of(config.special.begin(), config.special.end(),
                     [&](const auto& special) { return special && is_it(*special); }) ||
         std::any_of(config.additional_special.begin(), config.additional_special.end(), is_it);
}

// added_tokens.json: {"<extra>": 30522, …}
void read_added_tokens_file(const base::JsonObject& json, TokenizerConfig& config) {
  for (const auto& [content, value] : json.raw()) {
    const std::string name(content);
    const auto id = static_cast<std::int32_t>(json.integer(name, 0, kMaxTokenId));
    const bool special = names(config, name);
    const AddedToken token{.content = name, .normalized = !special, .special = special};
    if (!config.added_tokens.emplace(id, token).second) {
      json.fail("key \"" + name + "\" has id " + std::to_string(id) + ", which another token has already");
    }
  }
}

std::size_t parse_max_length(const base::JsonObject& json) {
  const char* key = json.has("model_max_length") ? "model_max_length" : "max_len";
  if (!json.has(key)) return SIZE_MAX;
  const double length = json.number(key);
  if (length < 1) json.fail(std::string("key ") + key + " is less than 1");
  // transformers writes 1e30 where there is no limit.
  return length >= 1e15 ? SIZE_MAX : static_cast<std::size_t>(length);
}

void read_tokenizer_config(const base::JsonObject& json, TokenizerConfig& config) {
  config.model_max_length = parse_max_length(json);
  if (json.has("padding_side")) {
    const std::string side = json.string("padding_side");
    if (side != "left" && side != "right") {
      json.fail("key padding_side = \"" + side + "\" is neither left nor right");
    }
    config.pad_left = side == "left";
  }
  if (json.has("model_input_names")) {
    const base::json::array* list = json.at("model_input_names").if_array();
    if (list == nullptr) json.fail("key model_input_names is not a list");
    config.model_input_names.clear();
    for (const base::json::value& name : *list) {
      if (!name.is_string()) json.fail("key model_input_names holds something that is not a string");
      config.model_input_names.emplace_back(name.get_string());
    }
  }
  if (config.bert) {
    config.bert->lowercase = json.boolean_or("do_lower_case", config.bert->lowercase);
    config.bert->handle_chinese_chars =
        json.boolean_or("tokenize_chinese_chars", config.bert->handle_chinese_chars);
    if (json.has("strip_accents")) config.bert->strip_accents = json.boolean_or("strip_accents", false);
  }
  read_special_tokens(json, config);
}

}  // namespace

TokenizerConfig load_tokenizer_config(const fs::path& folder, const std::string& default_class) {
  const ConfigFile file(folder / "tokenizer_config.json");
  TokenizerConfig config;
  config.model_max_length = SIZE_MAX;
  config.tokenizer_class = tokenizer_class(file.object, folder, default_class);
  config.model_input_names = {"input_ids", "token_type_ids", "attention_mask"};
  if (const BertKin* kin = find_kin(config.tokenizer_class)) {
    config.bert.emplace();
    if (!kin->token_type_ids) config.model_input_names = {"input_ids", "attention_mask"};
    for (std::size_t i = 0; i < kSpecialRoles; ++i) {
      if (kRoles[i].bert_default != nullptr) config.special[i] = parse_special(kRoles[i].bert_default, {});
    }
  }
  if (file.object) read_tokenizer_config(*file.object, config);
  if (file.object && file.object->has("added_tokens_decoder")) {
    read_added_tokens_decoder(*file.object, config);
    return config;
  }
  // Folders of before transformers 4.34 have these instead.
  const ConfigFile special_tokens(folder / "special_tokens_map.json");
  if (special_tokens.object) read_special_tokens(*special_tokens.object, config);
  const ConfigFile added_tokens(folder / "added_tokens.json");
  if (added_tokens.object) read_added_tokens_file(*added_tokens.object, config);
  return config;
}

void apply_tokenizer_config(const TokenizerConfig& config, TokenizerParts& parts, const std::string& origin) {
  std::vector<AddedToken> to_add;
  for (const auto& [id, token] : config.added_tokens) {
    const AddedToken* present = parts.added_tokens.token(id);
    if (present != nullptr && (config.legacy || *present == token)) continue;
    to_add.push_back(token);
    to_add.back().special = token.special || names(config, token.content);
  }
  const std::size_t listed_count = to_add.size();
  const auto is_known = [&](const std::string& content) {
    return parts.added_tokens.id(content).has_value() ||
           std::any_of(to_add.begin(), to_add.begin() + static_cast<std::ptrdiff_t>(listed_count),
                       [&](const AddedToken& token) { return token.content == content; });
  };
  // A special token that is only named adds nothing to one that is there; one with flags replaces it.
  const auto add_special = [&](const SpecialToken& special) {
    if (!special.has_flags && is_known(special.token.content)) return;
    to_add.push_back(special.token);
    to_add.back().special = true;
  };
  for (const auto& special : config.special) {
    if (!special) continue;
    const std::string& content = special->token.content;
    // The seven roles take the flags of the token lists, where those have the token.
    const auto listed = std::find_if(config.added_tokens.begin(), config.added_tokens.end(),
                                     [&](const auto& entry) { return entry.second.content == content; });
    if (!config.legacy && listed != config.added_tokens.end()) {
      add_special({listed->second, true});
    } else if (!config.legacy || !parts.added_tokens.id(content)) {
      add_special(*special);
    }
  }
  for (const SpecialToken& special : config.additional_special) add_special(special);
  parts.added_tokens.add(to_add, parts.model->vocabulary(), parts.normalizer.get(), origin);

  if (const auto* bert = dynamic_cast<const BertNormalizer*>(parts.normalizer.get()); config.bert && bert) {
    BertNormalizerOptions options = *config.bert;
    options.clean_text = bert->options().clean_text;
    parts.normalizer = std::make_unique<BertNormalizer>(options);
  }
  if (config.pad_left) parts.pad_left = config.pad_left;
}

TokenizerParts load_vocab_txt(const fs::path& path, const TokenizerConfig& config) {
  if (!config.bert) {
    throw Error(ErrorCode::kUnsupported,
                path.string() + ": class " + config.tokenizer_class +
                    " cannot be built from vocab.txt; the folder needs a tokenizer.json");
  }
  std::string text = base::read_file(path);
  if (const std::size_t bad = base::find_invalid_utf8(text); bad != text.size()) {
    throw Error(ErrorCode::kFormat, path.string() + ": is not UTF-8 (byte " + std::to_string(bad) + ")");
  }
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

}  // namespace kvasir::text
