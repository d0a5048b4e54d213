#include "text/loading/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <utility>

#include "base/json.h"
#include "base/mapped_file.h"
#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/models/wordpiece.h"

namespace kvasir::text {

namespace {

namespace fs = std::filesystem;

}  // namespace

// How a class makes a token of a special token that is only named.
enum class Naming {
  kPlain,
  kMaskTakesSpace,            // the mask takes the space before it along
  kNormalizedMaskTakesSpace,  // and is sought in the normalised text
  kAllNormalized,             // that, and the others are sought there too
  kNormalizedUnknown          // only the unknown token is
};

struct TokenizerClass {
  std::string_view name, model_type;
  std::array<const char*, kSpecialRoles> special;  // in the order of SpecialRole; nullptr: none
  VocabularyKind vocabulary;
  Naming naming = Naming::kPlain;        // beside a tokenizer.json: the class that ends in Fast
  Naming files_naming = Naming::kPlain;  // with vocabulary files alone, which the slow class reads
  bool token_type_ids = true;            // whether the class feeds them to its model
  bool bert_normalizer = false;          // overridden by the configuration
  bool trims_offsets = false;            // RoBERTa: the configuration overrides the post-processor
  bool bos_template = false;             // the template is made of bos and eos
  bool pad_left = false;
};

namespace {

using Names = std::array<const char*, kSpecialRoles>;
constexpr const char* kNone = nullptr;
//                           bos      eos       unk      sep       pad      cls      mask
constexpr Names kBertNames{kNone, kNone, "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};
constexpr Names kRobertaNames{"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"};
constexpr Names kMpnetNames{"<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"};
constexpr Names kAlbertNames{"[CLS]", "[SEP]", "<unk>", "[SEP]", "<pad>", "[CLS]", "[MASK]"};
constexpr Names kDebertaNames{"[CLS]", "[SEP]", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};
constexpr Names kLlamaNames{"<s>", "</s>", "<unk>", kNone, kNone, kNone, kNone};
constexpr Names kBloomNames{"<s>", "</s>", "<unk>", kNone, "<pad>", kNone, kNone};
constexpr Names kGpt2Names{"<|endoftext|>", "<|endoftext|>", "<|endoftext|>", kNone, kNone, kNone, kNone};
constexpr Names kNoNames{};

constexpr TokenizerClass bert_kin(std::string_view name, std::string_view model_type, bool token_type_ids) {
  return {.name = name,
          .model_type = model_type,
          .special = kBertNames,
          .vocabulary = VocabularyKind::kWordPiece,
          .token_type_ids = token_type_ids,
          .bert_normalizer = true};
}
constexpr TokenizerClass roberta_kin(std::string_view name, std::string_view model_type) {
  return {.name = name,
          .model_type = model_type,
          .special = kRobertaNames,
          .vocabulary = VocabularyKind::kByteLevelBpe,
          .naming = Naming::kMaskTakesSpace,
          .files_naming = Naming::kMaskTakesSpace,
          .token_type_ids = false,
          .trims_offsets = true};
}

constexpr TokenizerClass kClasses[] = {
    bert_kin("BertTokenizer", "bert", true),
    bert_kin("DistilBertTokenizer", "distilbert", false),
    bert_kin("ElectraTokenizer", "electra", true),
    bert_kin("MobileBertTokenizer", "mobilebert", true),
    bert_kin("ConvBertTokenizer", "convbert", true),
    bert_kin("SqueezeBertTokenizer", "squeezebert", true),
    bert_kin("LayoutLMTokenizer", "layoutlm", true),
    bert_kin("LxmertTokenizer", "lxmert", true),
    bert_kin("BertTokenizer", "megatron-bert", true),
    {.name = "MPNetTokenizer",
     .model_type = "mpnet",
     .special = kMpnetNames,
     .vocabulary = VocabularyKind::kWordPiece,
     .naming = Naming::kAllNormalized,
     .files_naming = Naming::kMaskTakesSpace,
     .token_type_ids = false,
     .bert_normalizer = true},
    roberta_kin("RobertaTokenizer", "roberta"),
    roberta_kin("LongformerTokenizer", "longformer"),
    roberta_kin("BartTokenizer", "bart"),
    {.name = "XLMRobertaTokenizer",
     .model_type = "xlm-roberta",
     .special = kRobertaNames,
     .vocabulary = VocabularyKind::kSentencePiece,
     .naming = Naming::kNormalizedMaskTakesSpace,
     .files_naming = Naming::kMaskTakesSpace,
     .token_type_ids = false},
    {.name = "AlbertTokenizer",
     .model_type = "albert",
     .special = kAlbertNames,
     .vocabulary = VocabularyKind::kSentencePiece,
     .naming = Naming::kMaskTakesSpace,
     .files_naming = Naming::kMaskTakesSpace},
    {.name = "DebertaV2Tokenizer",
     .model_type = "deberta-v2",
     .special = kDebertaNames,
     .vocabulary = VocabularyKind::kSentencePiece,
     .files_naming = Naming::kNormalizedUnknown},
    {.name = "LlamaTokenizer",
     .model_type = "llama",
     .special = kLlamaNames,
     .vocabulary = VocabularyKind::kSentencePiece,
     .token_type_ids = false,
     .bos_template = true,
     .pad_left = true},
    {.name = "GPT2Tokenizer",
     .model_type = "gpt2",
     .special = kGpt2Names,
     .vocabulary = VocabularyKind::kByteLevelBpe,
     .token_type_ids = false},
    {.name = "GPTNeoXTokenizer",
     .model_type = "gpt_neox",
     .special = kGpt2Names,
     .vocabulary = VocabularyKind::kNone,
     .token_type_ids = false,
     .bos_template = true},
    {.name = "GPTNeoXTokenizer",
     .model_type = "mpt",
     .special = kGpt2Names,
     .vocabulary = VocabularyKind::kNone,
     .token_type_ids = false,
     .bos_template = true},
    {.name = "BloomTokenizer",
     .model_type = "bloom",
     .special = kBloomNames,
     .vocabulary = VocabularyKind::kNone,
     .token_type_ids = false},
    {.name = "PreTrainedTokenizer",
     .model_type = "modernbert",
     .special = kNoNames,
     .vocabulary = VocabularyKind::kNone},
    {.name = "PreTrainedTokenizer",
     .model_type = "falcon",
     .special = kNoNames,
     .vocabulary = VocabularyKind::kNone},
};

constexpr std::array<const char*, kSpecialRoles> kRoleKeys{"bos_token", "eos_token", "unk_token", "sep_token",
                                                           "pad_token", "cls_token", "mask_token"};

const TokenizerClass* find_class(std::string_view name) {
  const auto found = std::find_if(std::begin(kClasses), std::end(kClasses),
                                  [&](const TokenizerClass& known) { return known.name == name; });
  return found == std::end(kClasses) ? nullptr : found;
}

std::string without_fast(std::string name) {
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

// The class by tokenizer_config.json, else by config.json: its tokenizer_class, else its model_type.
std::string tokenizer_class(const std::optional<base::JsonObject>& config, const formats::ModelFolder& folder,
                            const std::string& fallback) {
  if (config && config->has("tokenizer_class")) return without_fast(config->string("tokenizer_class"));
  const std::optional<base::JsonObject> model = folder.json("config.json");
  if (!model) return fallback;
  if (model->has("tokenizer_class")) return without_fast(model->string("tokenizer_class"));
  const std::string type = model->string_or("model_type", "");
  for (const TokenizerClass& known : kClasses) {
    if (known.model_type == type) return std::string(known.name);
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

void apply_naming(TokenizerConfig& config, SpecialRole role) {
  if (config.known_class == nullptr) return;
  const Naming naming =
      config.has_tokenizer_json ? config.known_class->naming : config.known_class->files_naming;
  SpecialToken& special = *config.special[static_cast<std::size_t>(role)];
  const bool is_mask = role == SpecialRole::kMask;
  const bool concerned = naming == Naming::kNormalizedUnknown ? role == SpecialRole::kUnk
                                                              : is_mask || naming == Naming::kAllNormalized;
  if (naming == Naming::kPlain || !concerned) return;
  special.has_flags = true;
  special.token.lstrip = is_mask;
  special.token.normalized = naming != Naming::kMaskTakesSpace;
}

void read_special_tokens(const base::JsonObject& json, TokenizerConfig& config) {
  for (std::size_t i = 0; i < kSpecialRoles; ++i) {
    const char* key = kRoleKeys[i];
    if (json.has(key)) {
      config.special[i] = parse_special(json.at(key), json.origin() + ": " + key);
      if (!config.special[i]->has_flags) apply_naming(config, static_cast<SpecialRole>(i));
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
  config.legacy_tokens = false;
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
  const auto read = [&](const char* key, std::optional<bool>& value) {
    if (json.has(key)) value = json.boolean_or(key, false);
  };
  read("add_prefix_space", config.add_prefix_space);
  const auto* prefix = json.raw().if_contains("add_prefix_space");
  config.add_prefix_space_is_null = prefix != nullptr && prefix->is_null();
  read("add_bos_token", config.add_bos_token);
  read("add_eos_token", config.add_eos_token);
  read("keep_accents", config.keep_accents);
  read("do_lower_case", config.do_lower_case);
  read("split_by_punct", config.split_by_punct);
  config.trim_offsets = json.boolean_or("trim_offsets", true);
  config.legacy = json.boolean_or("legacy", true);
  config.clean_up_tokenization_spaces = json.boolean_or("clean_up_tokenization_spaces", false);
  read_special_tokens(json, config);
}

// PreTrainedTokenizerFast lets the configuration, which is silent for "no", override a ByteLevel that is the
// whole pre-tokeniser; RoBERTa's class also what trims offsets, and BLOOM's every ByteLevel, but only for
// yes.
void override_prefix_space(const TokenizerConfig& config, TokenizerParts& parts) {
  const bool wanted = config.add_prefix_space.value_or(false);
  const auto override_one = [&](std::unique_ptr<PreTokenizer>& part) {
    const auto* byte_level = dynamic_cast<const ByteLevelPreTokenizer*>(part.get());
    if (byte_level == nullptr || byte_level->options().add_prefix_space == wanted) return;
    part = std::make_unique<ByteLevelPreTokenizer>(
        ByteLevelOptions{.add_prefix_space = wanted, .use_regex = byte_level->options().use_regex});
  };
  // Without a configuration there is no class either: the file says all.
  if (!config.tokenizer_class.empty()) override_one(parts.pre_tokenizer);
  auto* sequence = dynamic_cast<SequencePreTokenizer*>(parts.pre_tokenizer.get());
  if (config.tokenizer_class == "BloomTokenizer" && wanted && sequence != nullptr) {
    for (auto& part : sequence->parts()) override_one(part);
  }
  PostProcessor& post = parts.post_processor;
  if (config.known_class != nullptr && config.known_class->trims_offsets && post.trimming() &&
      !post.trimming_is_nested()) {
    post.set_trimming({.trim_offsets = config.trim_offsets, .add_prefix_space = wanted}, false);
  }
}

// "<s> $A <s> $B", each <s> and the </s> after each text only if the configuration wants it.
PostProcessor bos_template(const TokenizerConfig& config, const TokenizerParts& parts,
                           const std::string& origin) {
  const bool is_llama = config.tokenizer_class == "LlamaTokenizer";
  const auto part_of = [&](bool wanted, SpecialRole role, std::int32_t type_id) {
    std::vector<TemplatePart> result;
    if (!wanted) return result;
    const auto& special = config.role(role);
    std::optional<std::int32_t> id;
    if (special) id = parts.added_tokens.id(special->token.content);
    if (!id) {
      throw Error(ErrorCode::kFormat,
                  origin + ": " + kRoleKeys[static_cast<std::size_t>(role)] +
                      " is missing, which add_bos_token or add_eos_token puts around a text");
    }
    result.push_back({.ids = {*id}, .type_id = type_id});
    return result;
  };
  std::vector<TemplatePart> single, pair;
  for (const std::int32_t sequence : {0, 1}) {
    const auto bos = part_of(config.add_bos_token.value_or(is_llama), SpecialRole::kBos, sequence);
    const auto eos = part_of(config.add_eos_token.value_or(false), SpecialRole::kEos, sequence);
    pair.insert(pair.end(), bos.begin(), bos.end());
    pair.push_back({.sequence = sequence, .type_id = sequence});
    pair.insert(pair.end(), eos.begin(), eos.end());
    if (sequence == 0) single = pair;
  }
  return {std::move(single), std::move(pair)};
}

}  // namespace

TokenizerConfig load_tokenizer_config(const formats::ModelFolder& folder, const std::string& default_class) {
  const std::optional<base::JsonObject> file = folder.json("tokenizer_config.json");
  TokenizerConfig config;
  config.has_tokenizer_json = folder.has("tokenizer.json");
  config.model_max_length = SIZE_MAX;
  config.tokenizer_class = tokenizer_class(file, folder, default_class);
  config.model_input_names = {"input_ids", "token_type_ids", "attention_mask"};
  config.known_class = find_class(config.tokenizer_class);
  if (const TokenizerClass* known = config.known_class) {
    if (known->bert_normalizer) config.bert.emplace();
    config.overrides_chinese_chars = known->naming != Naming::kAllNormalized;
    if (!known->token_type_ids) config.model_input_names = {"input_ids", "attention_mask"};
    if (known->pad_left) config.pad_left = true;
    for (std::size_t i = 0; i < kSpecialRoles; ++i) {
      if (known->special[i] == nullptr) continue;
      config.special[i] = parse_special(known->special[i], {});
      config.special[i]->from_class = true;
      apply_naming(config, static_cast<SpecialRole>(i));
    }
  }
  if (file) read_tokenizer_config(*file, config);
  if (file && file->has("added_tokens_decoder")) {
    read_added_tokens_decoder(*file, config);
    return config;
  }
  // Folders of before transformers 4.34 have these instead.
  if (const auto special_tokens = folder.json("special_tokens_map.json")) {
    read_special_tokens(*special_tokens, config);
  }
  if (const auto added_tokens = folder.json("added_tokens.json")) {
    read_added_tokens_file(*added_tokens, config);
  }
  return config;
}

void apply_tokenizer_config(const TokenizerConfig& config, PartsFrom from, TokenizerParts& parts,
                            const std::string& origin) {
  std::vector<AddedToken> to_add;
  for (const auto& [id, token] : config.added_tokens) {
    const AddedToken* present = parts.added_tokens.token(id);
    if (present != nullptr && (config.legacy_tokens || *present == token)) continue;
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
    if (!config.legacy_tokens && listed != config.added_tokens.end()) {
      add_special({listed->second, true});
    } else if (!config.legacy_tokens || special->from_class || from == PartsFrom::kVocabularyFiles ||
               !parts.added_tokens.id(content)) {
      // (Without token lists, tokenizer.json's flags count for what a file names.)
      add_special(*special);
    }
  }
  for (const SpecialToken& special : config.additional_special) add_special(special);
  parts.added_tokens.add(to_add, parts.model->vocabulary(), parts.normalizer.get(), origin);

  if (const auto* bert = dynamic_cast<const BertNormalizer*>(parts.normalizer.get()); config.bert && bert) {
    BertNormalizerOptions options = *config.bert;
    options.clean_text = bert->options().clean_text;
    if (!config.overrides_chinese_chars) options.handle_chinese_chars = bert->options().handle_chinese_chars;
    parts.normalizer = std::make_unique<BertNormalizer>(options);
  }
  override_prefix_space(config, parts);
  if (config.known_class != nullptr && config.known_class->bos_template) {
    parts.post_processor = bos_template(config, parts, origin);
  }
  if (config.pad_left) parts.pad_left = config.pad_left;
}

VocabularyKind vocabulary_kind(const TokenizerConfig& config) noexcept {
  return config.known_class == nullptr ? VocabularyKind::kNone : config.known_class->vocabulary;
}

}  // namespace kvasir::text
