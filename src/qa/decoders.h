// The decoders by name; span_decoder.cpp chooses among them.
#pragma once

#include <memory>
#include <span>

#include "qa/span_decoder.h"

namespace kvasir::qa {

struct PipelineOptions {
  std::size_t top_k = 1;
  std::size_t max_answer_len = 15;
  bool handle_impossible_answer = false;
  bool align_to_words = true;
};
std::unique_ptr<SpanDecoder> make_pipeline_decoder(std::span<const Context> contexts,
                                                   const PipelineOptions& options);

struct SquadOptions {
  std::size_t top_k = 1;
  std::size_t max_answer_len = 30;
  bool version_2 = false;
  std::size_t n_best_size = 20;
  double null_score_diff_threshold = 0;
};
std::unique_ptr<SpanDecoder> make_squad_decoder(const SquadOptions& options);

struct KvasirOptions {
  std::size_t top_k = 1;
  std::size_t max_answer_len = 30;
  bool handle_impossible_answer = false;
  bool align_to_words = true;
  Calibration calibration;
};
std::unique_ptr<SpanDecoder> make_kvasir_decoder(std::span<const Context> contexts,
                                                 const KvasirOptions& options);

}  // namespace kvasir::qa
