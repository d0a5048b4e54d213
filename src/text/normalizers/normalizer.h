// Normalisers: the part of tokenizer.json that rewrites a text before it is split into words.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/normalized_text.h"
#include "text/normalizers/chars_map.h"

namespace kvasir::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void normalize(NormalizedText& text) const = 0;
  // Whether normalising "…x y…" (x, y ASCII letters or digits) gives the same as normalising "…x" and " y…"
  // as slices of a fragment, and keeps x, the space (or "▁" for it) and y.
  virtual bool is_local() const noexcept { return false; }
  // Whether a fragment that begins with this text is an exception to is_local().
  virtual bool is_global_from(std::string_view) const { return false; }
  // Whether a quick check shows that the text, any slice of a fragment, stays as it is.
  virtual bool leaves(std::string_view) const noexcept { return false; }
};

struct BertNormalizerOptions {
  bool clean_text = true;             // delete control characters, turn white space into spaces
  bool handle_chinese_chars = true;   // put spaces around CJK ideographs
  std::optional<bool> strip_accents;  // unset: as lowercase
  bool lowercase = true;

  bool strips_accents() const noexcept { return strip_accents.value_or(lowercase); }
  friend bool operator==(const BertNormalizerOptions&, const BertNormalizerOptions&) = default;
};

// This class is in the header because tokenizer_config.json can override its options, and because BertOnePass
// does the same in one pass.
class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const BertNormalizerOptions& options) : options_(options) {}
  void normalize(NormalizedText& text) const override;
  bool is_local() const noexcept override { return true; }
  const BertNormalizerOptions& options() const noexcept { return options_; }

 private:
  BertNormalizerOptions options_;
};

// Reads the "normalizer" of a tokenizer.json: BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD,
// Nmt, Precompiled, Prepend, Replace, Sequence, Strip, StripAccents. Null gives nullptr. Throws kFormat,
// kUnsupported (another type).
std::unique_ptr<Normalizer> make_normalizer(const base::json::value& value, const std::string& origin);

std::unique_ptr<Normalizer> make_precompiled(CharsMap map);
// Applies the list in order.
std::unique_ptr<Normalizer> make_normalizers(std::vector<std::unique_ptr<Normalizer>> list);

}  // namespace kvasir::text
