#include "text/normalizers/normalizer.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/byte_level.h"
#include "text/normalizers/chars_map.h"
#include "text/pattern.h"
#include "unicode/normalization.h"
#include "unicode/tables.h"

namespace kvasir::text {

namespace {

using unicode::properties;

void lowercase(NormalizedText& text) {
  if (unicode::has_only_ascii(text.text())) {
    text.lowercase_ascii();
    return;
  }
  std::vector<Change> changes;
  for (const char32_t c : code_points(text.text())) {
    const unicode::Properties& p = properties(c);
    if ((p.flags & unicode::kLowerExpands) != 0) {  // U+0130 alone
      changes.push_back({U'i', 0});
      changes.push_back({U'\u0307', 1});
    } else {
      changes.push_back({c + static_cast<char32_t>(p.lower_delta), 0});
    }
  }
  text.transform(changes);
}

void normalize_form(NormalizedText& text, unicode::Form form) {
  text.transform(unicode::normalize(text.text(), form));
}

void set_chinese_apart(NormalizedText& text) {
  std::vector<Change> changes;
  for (const char32_t c : code_points(text.text())) {
    if ((properties(c).flags & unicode::kChinese) != 0) {
      // The space takes the character's place, and the character is inserted after it: same span for all
      // three.
      changes.insert(changes.end(), {{U' ', 0}, {c, 1}, {U' ', 1}});
    } else {
      changes.push_back({c, 0});
    }
  }
  text.transform(changes);
}

class Lowercase : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override { lowercase(text); }
  bool is_local() const noexcept override { return true; }
};

class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(unicode::Form form) : form_(form) {}
  void normalize(NormalizedText& text) const override {
    if (!leaves(text.text())) normalize_form(text, form_);
  }
  bool leaves(std::string_view text) const noexcept override {
    return form_ == unicode::Form::kNfc ? unicode::is_plain_nfc(text) : unicode::has_only_ascii(text);
  }
  bool is_local() const noexcept override { return true; }

 private:
  unicode::Form form_;
};

class StripAccents : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override {
    if (unicode::has_only_ascii(text.text())) return;
    text.filter([](char32_t c) { return (properties(c).flags & unicode::kMark) == 0; });
  }
  bool is_local() const noexcept override { return true; }
};

// SentencePiece's nmt rules, as the reference restates them: control characters go, other blanks become
// spaces.
class Nmt : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override {
    text.filter([](char32_t c) {
      return !((c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F ||
               c == 0x9F);
    });
    text.map([](char32_t c) {
      const bool blank = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                         c == 0xFEFF || c == 0xFFFD;
      return blank ? U' ' : c;
    });
  }
  bool is_local() const noexcept override { return true; }
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void normalize(NormalizedText& text) const override {
    text.strip(left_ && text.ends().first, right_ && text.ends().last);
  }
  bool is_local() const noexcept override { return true; }

 private:
  bool left_, right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void normalize(NormalizedText& text) const override {
    if (text.ends().first) text.prepend(prefix_);
  }
  bool is_local() const noexcept override { return true; }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  Replace(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void normalize(NormalizedText& text) const override { text.replace(*pattern_, content_); }
  bool is_local() const noexcept override { return pattern_->is_local() && !pattern_->cuts(); }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(CharsMap map) : map_(std::move(map)) {
    for (char c = ' '; c <= 'z' && is_local_; ++c) {
      if (c == ' ' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || c >= 'a') {
        const auto mapped = map_.find({&c, 1});
        is_local_ = !mapped || *mapped == std::string_view(&c, 1);
      }
    }
  }
  void normalize(NormalizedText& text) const override { map_.normalize(text); }
  bool is_local() const noexcept override { return is_local_; }
  // What the map deletes at the very beginning moves the spans of all that follows (see CharsMap). It may
  // come to stand there when other normalisers have done their part.
  bool is_global_from(std::string_view begin) const override {
    for (std::size_t at = 0; at < begin.size();) {
      const std::size_t length = base::decode_utf8(begin, at).length;
      if (length == 1 && begin[at] > ' ' && begin[at] < 0x7F) return false;
      if (const auto mapped = map_.find(begin.substr(at, length)); mapped && mapped->empty()) return true;
      at += length;
    }
    return false;
  }

 private:
  CharsMap map_;
  bool is_local_ = true;
};

// Every byte becomes a printable character.
class ByteLevel : public Normalizer {
 public:
  void normalize(NormalizedText& text) const override {
    NormalizedText out = NormalizedText::empty_like(text);
    for (std::size_t at = 0; at < text.text().size(); ++at) {
      out.append(byte_level::character(static_cast<std::uint8_t>(text.text()[at])), text.origin_of_byte(at));
    }
    text = std::move(out);
  }
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void normalize(NormalizedText& text) const override {
    for (const auto& part : parts_) part->normalize(text);
  }
  bool is_global_from(std::string_view begin) const override {
    return std::any_of(parts_.begin(), parts_.end(),
                       [&](const auto& part) { return part->is_global_from(begin); });
  }
  bool is_local() const noexcept override {
    return std::all_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->is_local(); });
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

std::unique_ptr<Normalizer> make_replace(const base::JsonObject& json) {
  return std::make_unique<Replace>(make_pattern(json.object("pattern")), json.string("content"));
}

std::unique_ptr<Normalizer> make_sequence(const base::JsonObject& json) {
  const base::json::array* list = json.at("normalizers").if_array();
  if (list == nullptr) json.fail("key normalizers is not a list");
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (std::size_t i = 0; i < list->size(); ++i) {
    parts.push_back(make_normalizer((*list)[i], json.origin() + ": normalizers[" + std::to_string(i) + "]"));
    if (parts.back() == nullptr) json.fail("normalizers[" + std::to_string(i) + "] is null");
  }
  return std::make_unique<Sequence>(std::move(parts));
}

std::unique_ptr<Normalizer> make_bert(const base::JsonObject& json) {
  BertNormalizerOptions options;
  options.clean_text = json.boolean_or("clean_text", options.clean_text);
  options.handle_chinese_chars = json.boolean_or("handle_chinese_chars", options.handle_chinese_chars);
  if (json.has("strip_accents")) options.strip_accents = json.boolean_or("strip_accents", false);
  options.lowercase = json.boolean_or("lowercase", options.lowercase);
  return std::make_unique<BertNormalizer>(options);
}

}  // namespace

void BertNormalizer::normalize(NormalizedText& text) const {
  if (options_.clean_text) {
    text.filter([](char32_t c) { return (properties(c).flags & unicode::kOther) == 0; });
    text.map([](char32_t c) { return unicode::is_white_space(c) ? U' ' : c; });
  }
  if (options_.handle_chinese_chars) set_chinese_apart(text);
  if (options_.strips_accents()) {
    normalize_form(text, unicode::Form::kNfd);
    text.filter([](char32_t c) { return (properties(c).flags & unicode::kNonspacingMark) == 0; });
  }
  if (options_.lowercase) lowercase(text);
}

std::unique_ptr<Normalizer> make_precompiled(CharsMap map) {
  return std::make_unique<Precompiled>(std::move(map));
}

std::unique_ptr<Normalizer> make_normalizers(std::vector<std::unique_ptr<Normalizer>> list) {
  return std::make_unique<Sequence>(std::move(list));
}

std::unique_ptr<Normalizer> make_normalizer(const base::json::value& value, const std::string& origin) {
  if (value.is_null()) return nullptr;
  const base::JsonObject json(value, origin);
  const std::string type = json.string("type");
  if (type == "BertNormalizer") return make_bert(json);
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "NFC") return std::make_unique<UnicodeForm>(unicode::Form::kNfc);
  if (type == "NFD") return std::make_unique<UnicodeForm>(unicode::Form::kNfd);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(unicode::Form::kNfkc);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(unicode::Form::kNfkd);
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "Precompiled") {
    return make_precompiled(
        CharsMap::from_base64(json.string("precompiled_charsmap"), json.origin() + ": precompiled_charsmap"));
  }
  if (type == "Prepend") return std::make_unique<Prepend>(json.string("prepend"));
  if (type == "Replace") return make_replace(json);
  if (type == "Sequence") return make_sequence(json);
  if (type == "Strip") {
    return std::make_unique<Strip>(json.boolean_or("strip_left", true), json.boolean_or("strip_right", true));
  }
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  throw Error(ErrorCode::kUnsupported, origin + ": type " + type + " is not supported");
}

}  // namespace kvasir::text
