// The record of a family in the registry. A new family is one file under encoder/ or decoder/, its line here
// and its line in registry.cpp.
#pragma once

#include <memory>
#include <string_view>

#include "models/causal_lm.h"
#include "models/config.h"
#include "models/encoder.h"
#include "models/head.h"
#include "models/weight_source.h"

namespace kvasir::models {

struct EncoderFamily {
  const char* prefix;  // optional prefix of its tensors' names in checkpoints
  std::unique_ptr<Encoder> (*encoder)(const ConfigReader& config);
  using MakeHead = std::unique_ptr<Head> (*)(const ConfigReader& config, const EncoderFacts& facts);
  MakeHead span_head;
  MakeHead classifier;
  std::int32_t pad_token_id = 0;  // if config.json does not say
};

extern const EncoderFamily kBert;
extern const EncoderFamily kDistilBert;
extern const EncoderFamily kRoberta;  // and XLM-RoBERTa
extern const EncoderFamily kElectra;
extern const EncoderFamily kAlbert;
extern const EncoderFamily kMPNet;
extern const EncoderFamily kMobileBert;
extern const EncoderFamily kModernBert;
extern const EncoderFamily kDebertaV2;

// The family that config.json's model_type names. Throws kUnsupported if it is not a known encoder.
const EncoderFamily& encoder_family(const ConfigReader& config);

struct DecoderFamily {
  const char* prefix;
  // source: for facts that config.json does not state.
  std::unique_ptr<CausalLm> (*model)(const ConfigReader& config, WeightSource& source);
};

extern const DecoderFamily kLlama;
extern const DecoderFamily kFalcon;
extern const DecoderFamily kBloom;
extern const DecoderFamily kMpt;

// The same of language models.
const DecoderFamily& decoder_family(const ConfigReader& config);
bool is_decoder_type(std::string_view model_type) noexcept;

}  // namespace kvasir::models
