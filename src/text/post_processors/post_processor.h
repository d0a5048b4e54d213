// Post-processors: the part of tokenizer.json that puts special tokens around one text or a pair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/encoding.h"

namespace kvasir::text {

// All of TemplateProcessing, BertProcessing, RobertaProcessing and "none" are templates: a list of special
// tokens and of places for the texts.
struct TemplatePart {
  std::int32_t sequence = Encoding::kNone;  // 0 or 1: place of that text; kNone: the special tokens `ids`
  std::vector<std::int32_t> ids = {};
  std::int32_t type_id = 0;
};

// The settings of ByteLevel and RobertaProcessing for offsets; see OffsetTrimmer.
struct Trimming {
  bool trim_offsets = true, add_prefix_space = true;
};

class PostProcessor {
 public:
  PostProcessor();  // adds nothing

  // Throws kInvalidArgument for a template that uses a missing text, or not all texts.
  PostProcessor(std::vector<TemplatePart> single, std::vector<TemplatePart> pair);

  // A text, or a part of it.
  struct Input {
    const TokenizedText* text = nullptr;
    ContextSlice slice;
  };
  Encoding encode(const Input& text, bool add_special_tokens) const;
  Encoding encode(const Input& first, const Input& second, bool add_special_tokens) const;

  // Special tokens that the templates add: to one text, to a pair.
  std::size_t single_tokens() const noexcept { return single_tokens_; }
  std::size_t pair_tokens() const noexcept { return pair_tokens_; }

  // The settings of the post-processor, or of one within a Sequence (`nested`), which tokenizer_config.json
  // does not override.
  const std::optional<Trimming>& trimming() const noexcept { return trimming_; }
  bool trimming_is_nested() const noexcept { return nested_; }
  void set_trimming(const Trimming& trimming, bool nested) { trimming_ = trimming, nested_ = nested; }

 private:
  std::vector<TemplatePart> single_, pair_;
  std::size_t single_tokens_ = 0, pair_tokens_ = 0;
  std::optional<Trimming> trimming_;
  bool nested_ = false;
};

// Reads the "post_processor" of a tokenizer.json: BertProcessing, ByteLevel, RobertaProcessing, Sequence,
// TemplateProcessing; null gives one that adds nothing. Throws kFormat, kUnsupported (another type).
PostProcessor make_post_processor(const base::json::value& value, const std::string& origin);

}  // namespace kvasir::text
