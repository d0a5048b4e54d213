// The text of tokens that arrive one by one: each piece as soon as it is final.
//
//   text::StreamDecoder decoder(tokenizer, {.skip_special_tokens = true});
//   text::StopStrings stops({"\nUser"});
//   while (!stops.stopped()) show(stops.push(decoder.push(next_token())));
//   show(stops.push(decoder.finish()) + stops.finish());
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/decoders/decoder.h"
#include "text/tokenizer.h"

namespace kvasir::text {

// All pieces together equal Tokenizer::decode of all ids. A piece never ends within a character, and contains
// nothing that later tokens could change, such as bytes of an incomplete character, a run of Llama's byte
// tokens (which is decoded as a whole), or spaces that a clean-up may remove. The cost per token does not
// depend on the number of tokens before.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, const Tokenizer::DecodeOptions& options);

  std::string push(std::int32_t id);  // the text that has become final; often empty
  std::string finish();               // the rest; push nothing after it

 private:
  Tokenizer tokenizer_;
  Tokenizer::DecodeOptions options_;
  std::unique_ptr<std::string> text_;  // where the last stage writes
  std::unique_ptr<TokenStage> stage_;
};

// Ends a text before the first of several stop strings, and holds back text that may become one of them. The
// string that is complete first counts; of those that end together, the longest. The result does not depend
// on how the text is cut into pieces.
class StopStrings {
 public:
  // Throws kInvalidArgument for an empty string, one that is not UTF-8, and more than 64 KiB of them.
  explicit StopStrings(const std::vector<std::string>& strings);

  std::string push(std::string_view text);  // the text that no stop string can begin in; after one, nothing
  bool stopped() const noexcept { return stopped_; }
  const std::string& matched() const noexcept { return matched_; }  // the stop string, or empty
  std::string finish();  // what was held back, if no stop string came

 private:
  // An automaton of the prefixes of all strings (Aho and Corasick, 1975).
  struct Node {
    std::map<char, std::size_t> children;
    std::size_t fallback = 0;  // the longest prefix that this prefix ends with
    std::size_t length = 0;    // of this prefix
    std::size_t match = 0;     // length of the longest stop string that this ends with, 0: none
  };
  std::size_t follow(std::size_t node, char c) const;
  void link();

  std::vector<Node> nodes_;
  std::size_t node_ = 0;
  std::string held_;
  std::string matched_;
  bool stopped_ = false;
};

}  // namespace kvasir::text
