// An encoder with a head, loaded from a folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "formats/model_folder.h"
#include "models/encoder.h"
#include "models/head.h"
#include "models/load_options.h"

namespace kvasir::models {

struct EncoderModel {
  std::unique_ptr<const Encoder> encoder;
  std::unique_ptr<const Head> head;

  const EncoderFacts& facts() const noexcept { return encoder->facts(); }
  std::size_t parameters() const { return count_parameters(*encoder) + count_parameters(*head); }
  double multiply_adds(std::size_t tokens) const noexcept {
    return encoder->multiply_adds(tokens) + head->multiply_adds(tokens);
  }

  std::size_t output_rows(const tensor::RaggedBatch& batch) const noexcept {
    return head->rows() == Head::Rows::kTokens ? batch.tokens() : batch.sequences();
  }
  // out: [output_rows, columns of the head]. If the head reads only first tokens, batch.wanted must be those.
  void run(const tensor::RaggedBatch& batch, ForwardContext& context, std::span<float> out) const {
    head->outputs(batch, encoder->hidden_states(batch, context), context, out);
  }
};

// The heads that config.json can name.
enum class Task { kQuestionAnswering, kSequenceClassification };

// Reads config.json, finds the family in the registry, loads its weights from the folder. Throws kNotFound,
// kFormat, kUnsupported ("model_type gpt2 is no encoder that is known here; known: bert, distilbert, …").
EncoderModel load_encoder_model(const formats::ModelFolder& folder, Task task, const LoadOptions& options);
// With the head of the folder's model, as models/model_kind.h determines it, sentence models included. A
// model that does not say counts as a reader.
EncoderModel load_encoder_model(const formats::ModelFolder& folder, const LoadOptions& options);
struct SentenceModules;
// encoder: modules.transformer, opened.
EncoderModel load_sentence_model(const SentenceModules& modules, const formats::ModelFolder& encoder,
                                 const LoadOptions& options);
// A reader whose weights will change: in fp32, and without what inference computes from weights once.
struct TrainableModel {
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<Head> head;
  bool head_is_new = false;  // the folder has none: its weights are to be filled
  std::string prefix;        // of the encoder's tensors in checkpoints, "bert."
  std::int32_t pad_token_id = 0;

  const EncoderFacts& facts() const noexcept { return encoder->facts(); }
};
TrainableModel load_trainable_reader(const formats::ModelFolder& folder, const LoadOptions& options);

// Without a head, for heads whose weights are in other folders (models/sentence_head.h).
std::unique_ptr<const Encoder> load_encoder(const formats::ModelFolder& folder, const LoadOptions& options);

}  // namespace kvasir::models
