#include "text/post_processors/post_processor.h"

#include <array>
#include <span>
#include <utility>

#include "kvasir/error.h"
#include "text/vocabulary.h"

namespace kvasir::text {

namespace {

TemplatePart sequence_part(std::int32_t sequence, std::int32_t type_id) {
  return {sequence, {}, type_id};
}

TemplatePart token_part(std::int32_t id, std::int32_t type_id) {
  return {Encoding::kNone, {id}, type_id};
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from, ContextSlice slice) {
  to.insert(to.end(), from.begin() + static_cast<std::ptrdiff_t>(slice.begin),
            from.begin() + static_cast<std::ptrdiff_t>(slice.end));
}

Encoding apply(const std::vector<TemplatePart>& parts, std::span<const PostProcessor::Input> inputs,
               bool add_special_tokens) {
  Encoding out;
  for (const TemplatePart& part : parts) {
    if (part.sequence != Encoding::kNone) {
      const auto& [text, slice] = inputs[static_cast<std::size_t>(part.sequence)];
      append(out.ids, text->ids, slice);
      const std::size_t first = out.offsets.size();
      append(out.offsets, text->offsets, slice);
      if (!text->first_offsets.empty() && slice.begin < slice.end) {
        out.offsets[first] = text->first_offsets[slice.begin];
      }
      append(out.word_ids, text->word_ids, slice);
      out.sequence_ids.resize(out.ids.size(), part.sequence);
    } else if (add_special_tokens) {
      out.ids.insert(out.ids.end(), part.ids.begin(), part.ids.end());
      out.offsets.resize(out.ids.size());
      out.word_ids.resize(out.ids.size(), Encoding::kNone);
      out.sequence_ids.resize(out.ids.size(), Encoding::kNone);
    }
    out.type_ids.resize(out.ids.size(), part.type_id);
  }
  return out;
}

void check_template(const std::vector<TemplatePart>& parts, std::int32_t texts, const char* name) {
  std::array<bool, 2> used{};
  for (const TemplatePart& part : parts) {
    if (part.sequence >= texts) {
      throw Error(ErrorCode::kInvalidArgument,
                  std::string("the template \"") + name + "\" has a place for a text that is not there");
    }
    if (part.sequence != Encoding::kNone) used[static_cast<std::size_t>(part.sequence)] = true;
  }
  if (!used[0] || (texts == 2 && !used[1])) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string("the template \"") + name + "\" has no place for one of its texts");
  }
}

// The ids that a name in a template stands for.
std::vector<std::int32_t> special_ids(const base::JsonObject& tokens, const std::string& name) {
  const base::JsonObject token = tokens.object(name);
  const base::json::array* list = token.at("ids").if_array();
  if (list == nullptr) token.fail("key ids is not a list");
  std::vector<std::int32_t> ids;
  for (const base::json::value& value : *list) {
    const std::int64_t* id = value.if_int64();
    if (id == nullptr || *id < 0 || *id > kMaxTokenId) {
      token.fail("key ids holds " + base::json::serialize(value) + ", which is no token id");
    }
    ids.push_back(static_cast<std::int32_t>(*id));
  }
  return ids;
}

std::vector<TemplatePart> parse_template(const base::JsonObject& json, const char* key) {
  const base::json::array* list = json.at(key).if_array();
  if (list == nullptr) json.fail(std::string("key ") + key + " is not a list");
  std::vector<TemplatePart> parts;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string origin = json.origin() + ": " + key + "[" + std::to_string(i) + "]";
    const base::JsonObject part((*list)[i], origin);
    const bool is_token = part.has("SpecialToken");
    const base::JsonObject body = part.object(is_token ? "SpecialToken" : "Sequence");
    const std::string id = body.string("id");
    const auto type_id = static_cast<std::int32_t>(body.integer_or("type_id", 0, 0, kMaxTokenId));
    if (is_token) {
      parts.push_back({Encoding::kNone, special_ids(json.object("special_tokens"), id), type_id});
    } else if (id == "A" || id == "B") {
      parts.push_back(sequence_part(id == "A" ? 0 : 1, type_id));
    } else {
      body.fail("key id = \"" + id + "\" is neither A nor B");
    }
  }
  return parts;
}

// ["[SEP]", 102]
std::int32_t named_id(const base::JsonObject& json, const char* key) {
  const base::json::array* pair = json.at(key).if_array();
  const std::int64_t* id = pair != nullptr && pair->size() == 2 ? (*pair)[1].if_int64() : nullptr;
  if (id == nullptr || *id < 0 || *id > kMaxTokenId) {
    json.fail(std::string("key ") + key + " is not a pair of a token and its id");
  }
  return static_cast<std::int32_t>(*id);
}

// Each but one of the processors only trims offsets, and each but one only adds tokens.
PostProcessor make_sequence(const base::JsonObject& json) {
  const base::json::array* list = json.at("processors").if_array();
  if (list == nullptr) json.fail("key processors is not a list");
  PostProcessor result;
  std::optional<Trimming> trimming;
  bool has_template = false;
  for (std::size_t i = 0; i < list->size(); ++i) {
    const std::string origin = json.origin() + ": processors[" + std::to_string(i) + "]";
    PostProcessor part = make_post_processor((*list)[i], origin);
    if (part.trimming() && !trimming) trimming = part.trimming();
    if (base::JsonObject((*list)[i], origin).string("type") == "ByteLevel") continue;
    if (has_template) {
      throw Error(ErrorCode::kUnsupported, origin + ": a second processor that adds tokens is not supported");
    }
    has_template = true;
    result = std::move(part);
  }
  if (trimming) result.set_trimming(*trimming, true);
  return result;
}

}  // namespace

PostProcessor::PostProcessor()
    : single_{sequence_part(0, 0)}, pair_{sequence_part(0, 0), sequence_part(1, 1)} {}

PostProcessor::PostProcessor(std::vector<TemplatePart> single, std::vector<TemplatePart> pair)
    : single_(std::move(single)), pair_(std::move(pair)) {
  check_template(single_, 1, "single");
  check_template(pair_, 2, "pair");
  for (const TemplatePart& part : single_) single_tokens_ += part.ids.size();
  for (const TemplatePart& part : pair_) pair_tokens_ += part.ids.size();
}

Encoding PostProcessor::encode(const Input& text, bool add_special_tokens) const {
  return apply(single_, std::array{text}, add_special_tokens);
}

Encoding PostProcessor::encode(const Input& first, const Input& second, bool add_special_tokens) const {
  return apply(pair_, std::array{first, second}, add_special_tokens);
}

PostProcessor make_post_processor(const base::json::value& value, const std::string& origin) {
  if (value.is_null()) return {};
  const base::JsonObject json(value, origin);
  const std::string type = json.string("type");
  const Trimming trimming{.trim_offsets = json.boolean_or("trim_offsets", true),
                          .add_prefix_space = json.boolean_or("add_prefix_space", true)};
  if (type == "Sequence") return make_sequence(json);
  if (type == "ByteLevel") {
    PostProcessor result;
    result.set_trimming(trimming, false);
    return result;
  }
  std::vector<TemplatePart> single, pair;
  if (type == "TemplateProcessing") {
    single = parse_template(json, "single");
    pair = parse_template(json, "pair");
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    const std::int32_t cls = named_id(json, "cls"), sep = named_id(json, "sep");
    const bool roberta = type == "RobertaProcessing";  // two separators, one type
    single = {token_part(cls, 0), sequence_part(0, 0), token_part(sep, 0)};
    pair = single;
    if (roberta) pair.push_back(token_part(sep, 0));
    pair.push_back(sequence_part(1, roberta ? 0 : 1));
    pair.push_back(token_part(sep, roberta ? 0 : 1));
  } else {
    throw Error(ErrorCode::kUnsupported, origin + ": type " + type + " is not supported");
  }
  try {
    PostProcessor result(std::move(single), std::move(pair));
    if (type == "RobertaProcessing") result.set_trimming(trimming, false);
    return result;
  } catch (const Error& error) {
    json.fail(error.what());
  }
}

}  // namespace kvasir::text
