#include "generation/check_options.h"

#include "kvasir/error.h"

namespace kvasir::generation {

SamplingOptions sampling_options(const GenerateOptions& o) {
  return {.do_sample = o.temperature != 0,
          .temperature = o.temperature == 0 ? 1 : o.temperature,
          .top_k = o.top_k,
          .top_p = o.top_p,
          .min_p = o.min_p,
          .repetition_penalty = o.repetition_penalty,
          .presence_penalty = o.presence_penalty,
          .frequency_penalty = o.frequency_penalty,
          .logit_bias = o.logit_bias,
          .seed = o.seed};
}

EarlyStopping parse_early_stopping(const std::string& name) {
  if (name == "false") return EarlyStopping::kNo;
  if (name == "true") return EarlyStopping::kYes;
  if (name == "never") return EarlyStopping::kNever;
  throw Error(ErrorCode::kInvalidArgument, "early_stopping \"" + name + "\" is not false, true or never");
}

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

}  // namespace

void check_options(const GenerateOptions& o) {
  if (o.max_new_tokens == 0) refuse("max_new_tokens is 0; it should be at least 1");
  if (o.num_beams == 0 || o.num_return_sequences == 0)
    refuse("num_beams and num_return_sequences are at least 1");
  parse_early_stopping(o.early_stopping);
  if (o.context_keep && !o.context_shift && !o.truncate) {
    refuse("context_keep goes with context_shift or truncate: nothing else drops tokens");
  }
  if (!o.json_schema.empty()) {
    if (o.ignore_eos) refuse("json_schema goes without ignore_eos: the text ends where its JSON does");
    if (!o.stop.empty()) refuse("json_schema goes without stop: it would cut the JSON");
  }
  if (o.num_beams == 1) {
    if (o.num_return_sequences > 1 && o.temperature == 0) {
      refuse("num_return_sequences > 1 needs num_beams or a temperature: the most probable text is only one");
    }
    return;
  }
  if (o.temperature != 0) refuse("num_beams goes without temperature: beams are the most probable texts");
  if (o.num_return_sequences > o.num_beams) refuse("num_return_sequences is more than num_beams");
  if (o.prompt_lookup_num_tokens > 0) refuse("prompt_lookup_num_tokens goes without num_beams");
  if (o.on_text) refuse("beams cannot be streamed: which text is the best shows at the end");
}

}  // namespace kvasir::generation
