#include "models/gguf/config.h"

#include <algorithm>
#include <string>

#include "kvasir/error.h"

namespace kvasir::models {

base::json::value config_from_gguf(const formats::GgufFile& file) {
  const std::string_view architecture = file.metadata().string("general.architecture");
  const auto* family = std::ranges::find(kGgufFamilies, architecture, &GgufFamily::architecture);
  if (family == kGgufFamilies.end()) {
    throw Error(ErrorCode::kUnsupported, file.origin() + ": architecture " + std::string(architecture) +
                                             " is not supported; " + gguf_families() + " are");
  }
  return GgufReader(file, **family).run();
}

std::vector<formats::GgufEntry> gguf_from_config(const base::JsonObject& config, const GgufLayout& layout) {
  return GgufWriter(config, layout).run();
}

std::vector<float> rotary_divisors(const base::JsonObject& config, const GgufLayout& layout) {
  return layout.family->rotary_divisors == nullptr ? std::vector<float>()
                                                   : layout.family->rotary_divisors(config, layout);
}

bool has_tied_head(const base::JsonObject& config, const GgufLayout& layout) {
  const GgufHead::Tied tied = layout.family->head.tied;
  return tied == GgufHead::Tied::kAlways ||
         config.boolean_or("tie_word_embeddings", tied == GgufHead::Tied::kUnlessSaid);
}

}  // namespace kvasir::models
