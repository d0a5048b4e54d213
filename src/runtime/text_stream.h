// Text out of token ids, one by one, that never takes back what it gave, and ends before a stop string.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace kvasir::runtime {

class TextStream {
 public:
  // The tokenizer must outlive it.
  TextStream(const text::Tokenizer& tokenizer, std::vector<std::string> stop)
      : tokenizer_(tokenizer), stop_(std::move(stop)) {}

  // The text that is certain now, beyond what was given before. Not: half characters, and what may become a
  // stop string.
  std::string push(std::int32_t id);
  // The rest.
  std::string finish();

  bool is_stopped() const noexcept { return stopped_; }        // a stop string came
  const std::string& text() const noexcept { return given_; }  // all that was given

 private:
  std::string give(std::string_view all, bool at_end);

  const text::Tokenizer& tokenizer_;
  std::vector<std::string> stop_;
  std::vector<std::int32_t> ids_;
  std::string given_;
  bool stopped_ = false;
};

}  // namespace kvasir::runtime
