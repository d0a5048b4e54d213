// The objects behind the handles of kvasir/reader.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/utf8.h"
#include "kvasir/reader.h"
#include "qa/answer_cache.h"
#include "qa/span_decoder.h"
#include "runtime/engine.h"
#include "text/tokenizer.h"

namespace kvasir {

namespace qa {

// A document: text that has been tokenised once. Immutable after Reader::prepare.
struct PreparedText {
  std::string text;
  std::string name;
  text::TokenizedText tokens;
  base::OffsetMap offsets;      // of text
  std::uint64_t hash = 0;       // of text
  std::uint64_t reader_id = 0;  // the reader whose tokenizer made the tokens

  PreparedText() = default;
  PreparedText(const PreparedText&) = delete;  // offsets points into text
  PreparedText& operator=(const PreparedText&) = delete;
};

// A loaded model with everything that reading needs. Immutable except for the cache, which has a lock of its
// own.
struct LoadedReader {
  std::filesystem::path folder;
  std::uint64_t id;  // unique within this process
  text::Tokenizer tokenizer;
  runtime::Engine engine;
  Calibration calibration;
  std::unique_ptr<AnswerCache> cache;
};

}  // namespace qa

struct Document::Impl : qa::PreparedText {};
struct Reader::Impl : qa::LoadedReader {};

}  // namespace kvasir
