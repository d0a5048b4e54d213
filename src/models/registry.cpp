#include "models/registry.h"

#include <algorithm>
#include <string>

#include "kvasir/error.h"

namespace kvasir::models {

namespace {

template <class Family>
struct Row {
  const char* model_type;
  const Family& family;
};
// clang-format off: a line for each
constexpr Row<EncoderFamily> kEncoders[] = {
    {"bert", kBert},
    {"distilbert", kDistilBert},
    {"roberta", kRoberta},
    {"xlm-roberta", kRoberta},
    {"electra", kElectra},
    {"albert", kAlbert},
    {"mpnet", kMPNet},
    {"mobilebert", kMobileBert},
    {"modernbert", kModernBert},
    {"deberta-v2", kDebertaV2},
};
constexpr Row<DecoderFamily> kDecoders[] = {
    {"llama", kLlama},
    {"falcon", kFalcon},
    {"RefinedWebModel", kFalcon},  // what the first checkpoints of Falcon call it
    {"RefinedWeb", kFalcon},
    {"bloom", kBloom},
    {"mpt", kMpt},
};
// clang-format on

template <class Rows>
const auto& find(const Rows& rows, const ConfigReader& config, const char* what) {
  const std::string type = config.json().string("model_type");
  std::string known;
  for (const auto& row : rows) {
    if (type == row.model_type) return row.family;
    known += (known.empty() ? "" : ", ") + std::string(row.model_type);
  }
  throw Error(ErrorCode::kUnsupported, config.json().origin() + ": model_type " + type + what + known);
}

}  // namespace

const EncoderFamily& encoder_family(const ConfigReader& config) {
  const std::string type = config.json().string("model_type");
  if (is_decoder_type(type)) {
    throw Error(ErrorCode::kUnsupported, config.json().origin() + ": model_type " + type +
                                             " is a language model; kvasir generate takes it");
  }
  return find(kEncoders, config, " is no encoder that is known here; known: ");
}

const DecoderFamily& decoder_family(const ConfigReader& config) {
  return find(kDecoders, config, " is no language model that is known here; known: ");
}

bool is_decoder_type(std::string_view model_type) noexcept {
  return std::ranges::any_of(kDecoders, [&](const auto& row) { return model_type == row.model_type; });
}

}  // namespace kvasir::models
