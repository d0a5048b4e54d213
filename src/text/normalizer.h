// Normalisers: the part of tokenizer.json that rewrites a text before it is split into words.
#pragma once

#include <memory>
#include <optional>

#include "base/json.h"
#include "text/normalized_text.h"

namespace kvasir::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(NormalizedText& text) const = 0;
};

struct BertNormalizerOptions {
  bool clean_text = true;             // delete control characters, turn white space into spaces
  bool handle_chinese_chars = true;   // put spaces around CJK ideographs
  std::optional<bool> strip_accents;  // unset: as lowercase
  bool lowercase = true;

  bool strips_accents() const noexcept { return strip_accents.value_or(lowercase); }
  friend bool operator==(const BertNormalizerOptions&, const BertNormalizerOptions&) = default;
};

// A class of its own in the header because its options can be overridden by tokenizer_config.json, and
// because BertScanner does the same in one pass.
class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options) : options_(options) {}
  void normalize(NormalizedText& text) const override;
  const BertNormalizerOptions& options() const noexcept { return options_; }

 private:
  BertNormalizerOptions options_;
};

// Reads the "normalizer" of a tokenizer.json: BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Prepend,
// Replace (of a string), Sequence, Strip, StripAccents. Null gives nullptr. Throws kFormat, kUnsupported
// (another type).
std::unique_ptr<Normalizer> make_normalizer(const base::json::value& value, const std::string& origin);

}  // namespace kvasir::text
