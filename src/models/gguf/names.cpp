#include "models/gguf/names.h"

#include <algorithm>
#include <iterator>

#include "kvasir/error.h"
#include "models/causal_attention.h"

namespace kvasir::models {

namespace {

// A name as a record has it: what stands for N, and what stands after the record's name.
struct Match {
  std::string_view layer, suffix;
};
std::optional<Match> match(std::string_view pattern, std::string_view name) {
  Match found;
  if (const std::size_t at = pattern.find(".N."); at != std::string_view::npos) {
    if (!name.starts_with(pattern.substr(0, at + 1))) return std::nullopt;
    name.remove_prefix(at + 1);
    found.layer = name.substr(0, name.find_first_not_of("0123456789"));
    if (found.layer.empty()) return std::nullopt;
    name.remove_prefix(found.layer.size());
    pattern.remove_prefix(at + 2);
  }
  if (!name.starts_with(pattern)) return std::nullopt;
  found.suffix = name.substr(pattern.size());
  if (found.suffix != ".weight" && found.suffix != ".bias") return std::nullopt;
  return found;
}

std::string fill(std::string_view pattern, const Match& match) {
  std::string name(pattern);
  if (const std::size_t at = name.find(".N."); at != std::string::npos) {
    name.replace(at + 1, 1, match.layer);
  }
  return name.append(match.suffix);
}

struct Line {
  const GgufName* name;
  Match match;
};
std::optional<Line> find_huggingface(const GgufLayout& layout, std::string_view name) {
  for (const GgufName& line : layout.names) {
    const std::string_view whole = line.huggingface;
    for (const std::string_view pattern : {whole, whole.substr(whole.find('.') + 1)}) {
      if (const std::optional<Match> found = match(pattern, name)) return Line{&line, *found};
    }
  }
  return std::nullopt;
}

RowOrder inverse(const RowOrder& order) {
  RowOrder result(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) result[order[i]] = static_cast<std::uint32_t>(i);
  return result;
}

RowOrder rotary_pairs(std::size_t heads, std::size_t head_dim) {
  RowOrder order;
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t i = 0; i < head_dim; ++i) {
      order.push_back(static_cast<std::uint32_t>(head * head_dim + i % 2 * (head_dim / 2) + i / 2));
    }
  }
  return order;
}

const GgufFamily& family_of(const base::JsonObject& config) {
  const std::string type = config.string("model_type");
  for (const GgufFamily* family : kGgufFamilies) {
    if (std::ranges::find(family->model_types, type) != family->model_types.end()) return *family;
  }
  throw Error(ErrorCode::kUnsupported, config.origin() + ": model_type " + type +
                                           " is not supported in GGUF; " + gguf_families() + " are");
}

std::size_t head_dim_of(const GgufLayout& layout, const base::JsonObject& config) {
  constexpr std::string_view kHeadDim = "attention.key_length";
  const auto setting = std::ranges::find(layout.family->settings, kHeadDim, &GgufSetting::gguf);
  if (setting != layout.family->settings.end() && config.has(setting->config)) {
    return config_size(*layout.family, config, kHeadDim);
  }
  const std::size_t width = config_size(*layout.family, config, "embedding_length");
  if (width % layout.heads != 0) {
    config.fail("a width of " + std::to_string(width) + " cannot be split into " +
                std::to_string(layout.heads) + " heads");
  }
  return width / layout.heads;
}

}  // namespace

std::string gguf_families() {
  std::string names;
  for (std::size_t i = 0; i < kGgufFamilies.size(); ++i) {
    const bool last = i + 1 == kGgufFamilies.size();
    names.append(i == 0 ? "" : last ? " and " : ", ").append(kGgufFamilies[i]->architecture);
  }
  return names;
}

GgufLayout gguf_layout(const base::JsonObject& config) {
  const GgufFamily& family = family_of(config);
  GgufLayout layout{.family = &family};
  std::ranges::copy_if(family.names, std::back_inserter(layout.names),
                       [&](const GgufName& name) { return name.applies == nullptr || name.applies(config); });
  layout.heads = config_size(family, config, "attention.head_count");
  layout.kv_heads = family.kv_heads == nullptr ? layout.heads : family.kv_heads(config, layout.heads);
  layout.head_dim = head_dim_of(layout, config);
  if (layout.heads % layout.kv_heads != 0) {
    config.fail(std::to_string(layout.heads) + " heads cannot share " + std::to_string(layout.kv_heads) +
                " heads of keys and values");
  }
  return layout;
}

std::optional<std::string> huggingface_name(const GgufLayout& layout, std::string_view gguf) {
  for (const GgufName& line : layout.names) {
    if (const std::optional<Match> found = match(line.gguf, gguf)) return fill(line.huggingface, *found);
  }
  return std::nullopt;
}

std::optional<std::string> gguf_name(const GgufLayout& layout, std::string_view huggingface) {
  const std::optional<Line> line = find_huggingface(layout, huggingface);
  if (!line) return std::nullopt;
  return fill(line->name->gguf, line->match);
}

RowOrder rows_to_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows) {
  const std::optional<Line> line = find_huggingface(layout, huggingface);
  if (!line || line->name->rows == GgufRows::kSame) return {};
  if (line->name->rows == GgufRows::kQueriesKeysValues) {
    const CausalAttention attention{
        .heads = layout.heads, .kv_heads = layout.kv_heads, .head_dim = layout.head_dim};
    return rows == attention.qkv_width() ? queries_keys_values(attention, layout.kv_heads) : RowOrder{};
  }
  const std::size_t heads = line->name->rows == GgufRows::kRotaryQueries ? layout.heads : layout.kv_heads;
  if (rows != heads * layout.head_dim || layout.head_dim % 2 != 0) return {};
  return rotary_pairs(heads, layout.head_dim);
}

RowOrder rows_from_gguf(const GgufLayout& layout, std::string_view huggingface, std::size_t rows) {
  return inverse(rows_to_gguf(layout, huggingface, rows));
}

}  // namespace kvasir::models
