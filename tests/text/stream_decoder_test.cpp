// Streaming gives what decoding everything at once gives, for every tokenizer and every kind of decoder.
#include "text/stream_decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "small_tokenizer.h"
#include "token_case.h"

namespace kvasir::tests {
namespace {

namespace json = base::json;
using text::StopStrings;
using text::StreamDecoder;
using text::Tokenizer;

using Ids = std::vector<std::int32_t>;

std::string streamed(const Tokenizer& tokenizer, const Ids& ids, const Tokenizer::DecodeOptions& options) {
  StreamDecoder decoder(tokenizer, options);
  std::string out;
  for (const std::int32_t id : ids) {
    const std::string piece = decoder.push(id);
    EXPECT_EQ(base::find_invalid_utf8(piece), piece.size()) << "half a character: " << piece;
    out += piece;
  }
  return out + decoder.finish();
}

void expect_same_text(const Tokenizer& tokenizer, const Ids& ids) {
  for (const bool skip : {false, true}) {
    for (const bool clean : {false, true}) {
      const Tokenizer::DecodeOptions options{.skip_special_tokens = skip,
                                             .clean_up_tokenization_spaces = clean};
      EXPECT_EQ(streamed(tokenizer, ids, options), tokenizer.decode(ids, options))
          << ::testing::PrintToString(ids);
    }
  }
}

Tokenizer load(const std::string& name) {
  const auto folder = std::filesystem::path(KVASIR_TEST_DATA) / "tokenizers" / name;
  const auto expected = base::parse_json_file(folder / "expected.json");
  const auto* other = expected.as_object().if_contains("tokenizer_dir");
  return Tokenizer::load(other != nullptr ? folder / std::string(other->as_string()) : folder);
}

TEST(StreamDecoder, EqualsDecodingRecordedIds) {
  for (const std::string name : {"falcon", "mpt", "bloom", "llama", "llama-nonlegacy"}) {
    SCOPED_TRACE(name);
    const auto file = base::parse_json_file(std::filesystem::path(KVASIR_TEST_DATA) / "tokenizers" / name /
                                            "expected.json");
    const Tokenizer tokenizer = load(name);
    ASSERT_EQ(file.at("decode_ids").as_array().size(), 100u);
    for (const char* list : {"cases", "decode_ids"}) {
      for (const auto& one : file.at(list).as_array()) {
        expect_same_text(tokenizer, integers(one.at("ids")));
      }
    }
  }
}

TEST(StreamDecoder, EqualsDecodingRandomIds) {
  std::mt19937 random(7);
  for (const std::string name : {"falcon", "mpt", "bloom", "llama", "llama-nonlegacy", "bert-uncased",
                                 "albert", "roberta", "xlm-roberta", "deberta-v2"}) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = load(name);
    const auto size = static_cast<std::int32_t>(tokenizer.vocab_size());
    // Of all ids, and of the first ones: specials and bytes.
    for (const std::int32_t end : {size + 3, std::min(size, 270)}) {
      for (int i = 0; i < 300; ++i) {
        Ids ids(random() % 40);
        for (std::int32_t& id : ids)
          id = static_cast<std::int32_t>(random() % static_cast<unsigned>(end)) - 1;
        expect_same_text(tokenizer, ids);
      }
    }
  }
}

// Each token's text comes at once where nothing can change it.
TEST(StreamDecoder, HoldsNothingBackWithoutNeed) {
  for (const std::string name : {"falcon", "mpt", "bloom", "llama", "llama-nonlegacy"}) {
    SCOPED_TRACE(name);
    const Tokenizer tokenizer = load(name);
    const Ids ids = tokenizer.encode("The lighthouse was built of stone", {.add_special_tokens = false}).ids;
    StreamDecoder decoder(tokenizer, {});
    std::string out;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      out += decoder.push(ids[i]);
      EXPECT_EQ(out, tokenizer.decode(std::span(ids).first(i + 1), {}));
    }
    EXPECT_EQ(decoder.finish(), "");
  }
}

TEST(StreamDecoder, HoldsHalfCharactersBack) {
  const Tokenizer tokenizer = load("bloom");
  const Ids ids = tokenizer.encode("\U0001F600!", {.add_special_tokens = false}).ids;
  ASSERT_GE(ids.size(), 3u) << "the character should take several tokens";
  StreamDecoder decoder(tokenizer, {});
  std::vector<std::string> pieces;
  for (const std::int32_t id : ids) pieces.push_back(decoder.push(id));
  EXPECT_EQ(pieces.front(), "");
  EXPECT_EQ(decoder.finish(), "");
  std::string all;
  for (const std::string& piece : pieces) all += piece;
  EXPECT_EQ(all, "\U0001F600!");
}

// A hundred thousand tokens take a hundred times as long as a thousand; decoding all of them each time would
// take ten thousand times as long.
TEST(StreamDecoder, CostsTheSameForEachToken) {
  const Tokenizer tokenizer = load("llama");
  const auto seconds = [&](int tokens) {
    StreamDecoder decoder(tokenizer, {.clean_up_tokenization_spaces = true});
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < tokens; ++i) decoder.push(260 + i % 300);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  seconds(1000);
  EXPECT_LT(seconds(100'000), 1000 * std::max(seconds(1000), 1e-4));
}

// Every decoder of tokenizer.json, alone and in sequences that no tokenizer has.
TEST(StreamDecoder, EveryKindOfDecoder) {
  const std::string kinds[] = {
      R"(null)",
      R"({"type": "BPEDecoder", "suffix": "</w>"})",
      R"({"type": "ByteFallback"})",
      R"({"type": "ByteLevel"})",
      R"({"type": "CTC", "pad_token": "_", "word_delimiter_token": "|", "cleanup": true})",
      R"({"type": "Fuse"})",
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"})",
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})",
      R"({"type": "Replace", "pattern": {"String": "▁"}, "content": " "})",
      R"({"type": "Replace", "pattern": {"Regex": "a+b?"}, "content": "x"})",
      R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})",
      R"({"type": "Strip", "content": "ab", "start": 2, "stop": 2})",
      R"({"type": "Strip", "content": "aa", "start": 0, "stop": 3})",
      R"({"type": "WordPiece", "prefix": "##", "cleanup": true})",
  };
  const std::string tokens[] = {"a",   "b",      "ab",     "aab",    "▁", "▁a", " ", "  ", "</w>", "a</w>",
                                "##b", "<0xE2>", "<0x82>", "<0xAC>", "_", "|",  ".", " .", "n't",  " n't",
                                "â",   "Ĥ",      "¬",      "é",      "€", "",   "'", " '", "aa",   "s"};
  std::mt19937 random(3);
  for (int trial = 0; trial < 4000; ++trial) {
    std::string decoders;
    const std::size_t count = 1 + random() % 4;
    for (std::size_t i = 0; i < count; ++i) {
      decoders += (i > 0 ? "," : "") + kinds[(count == 1 ? 0 : 1) + random() % (std::size(kinds) - 1)];
    }
    const std::string source =
        count == 1 ? decoders : R"({"type": "Sequence", "decoders": [)" + decoders + "]}";
    const auto decoder = text::make_decoder(base::parse_json(source, "decoder"), "decoder");
    std::vector<std::string> list(random() % 12);
    for (std::string& token : list) token = tokens[random() % std::size(tokens)];

    struct Collect : text::TokenStage {
      explicit Collect(std::string& text) : out(text) {}
      void push(std::string_view piece, bool) override { out += piece; }
      void finish() override { out += '$'; }
      std::string& out;
    };
    std::string out;
    const auto stage = decoder->stage(std::make_unique<Collect>(out));
    for (const std::string& token : list) stage->push(token, true);
    stage->finish();
    ASSERT_EQ(out, decoder->decode(list) + "$") << source << ::testing::PrintToString(list);
  }
}

// What tokens add, put together, is the text (but for the space that Llama's begins with).
TEST(TokenBytes, MakeTheText) {
  const std::string text = "Caf\u00E9 \u65E5\u672C \U0001F600 1810\n\t\"x\" don't .";
  for (const std::string name : {"falcon", "mpt", "bloom", "llama", "llama-nonlegacy"}) {
    const Tokenizer tokenizer = load(name);
    std::string bytes;
    for (const std::int32_t id : tokenizer.encode(text, {}).ids) bytes += tokenizer.token_bytes(id);
    if (bytes.starts_with(' ')) bytes.erase(0, 1);
    EXPECT_EQ(bytes, text) << name;
    EXPECT_EQ(tokenizer.token_bytes(-1), "");
  }
}

// ---- stop strings ----

struct Stopped {
  std::string text, matched;
};

// The text in pieces of so many bytes.
Stopped stop(const std::vector<std::string>& strings, std::string_view text, std::size_t piece) {
  StopStrings stops(strings);
  std::string out;
  for (std::size_t at = 0; at < text.size() && !stops.stopped(); at += piece)
    out += stops.push(text.substr(at, piece));
  out += stops.finish();
  return {out, stops.matched()};
}

// The plain definition: the first to be complete; of those that end together, the longest.
Stopped expected_stop(const std::vector<std::string>& strings, const std::string& text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::string longest;
    for (const std::string& one : strings) {
      if (text.substr(0, end).ends_with(one) && one.size() > longest.size()) longest = one;
    }
    if (!longest.empty()) return {text.substr(0, end - longest.size()), longest};
  }
  return {text, ""};
}

TEST(StopStrings, CutsAtTheFirst) {
  EXPECT_EQ(stop({"\nUser"}, "Paris.\nUser: next", 3).text, "Paris.");
  EXPECT_EQ(stop({"\nUser"}, "Paris.\nUse", 3).text, "Paris.\nUse");
  EXPECT_EQ(stop({}, "Paris.", 2).text, "Paris.");
  EXPECT_EQ(stop({"\u20AC"}, "a\u20ACb", 1).text, "a");
}

TEST(StopStrings, HoldsBackOnlyWhatMayBecomeOne) {
  StopStrings stops({"</s>", "<|end|>"});
  EXPECT_EQ(stops.push("a <"), "a ");
  EXPECT_EQ(stops.push("b"), "<b");
  EXPECT_EQ(stops.push("<|en"), "");
  EXPECT_EQ(stops.push("<"), "<|en");
  EXPECT_EQ(stops.push("/s>tail"), "");
  EXPECT_TRUE(stops.stopped());
  EXPECT_EQ(stops.matched(), "</s>");
  EXPECT_EQ(stops.push("more"), "");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, EqualsThePlainDefinitionHoweverTheTextIsCut) {
  std::mt19937 random(11);
  const auto word = [&](std::size_t most) {
    std::string out;
    for (std::size_t n = 1 + random() % most; n > 0; --n) out += static_cast<char>('a' + random() % 2);
    return out;
  };
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<std::string> strings(1 + random() % 4);
    for (std::string& one : strings) one = word(6);
    const std::string text = word(30);
    const Stopped expected = expected_stop(strings, text);
    for (const std::size_t piece : {1u, 2u, 5u, 100u}) {
      const Stopped found = stop(strings, text, piece);
      ASSERT_EQ(found.text, expected.text) << text << ::testing::PrintToString(strings);
      ASSERT_EQ(found.matched, expected.matched);
    }
  }
}

TEST(StopStrings, RefusesWhatCannotBeMeant) {
  EXPECT_THROW(StopStrings({"a", ""}), Error);
  EXPECT_THROW(StopStrings({"\xFF"}), Error);
  EXPECT_THROW(StopStrings({std::string(70'000, 'x')}), Error);
}

}  // namespace
}  // namespace kvasir::tests
