#include "text/decoder.h"

#include <span>
#include <utility>

#include "kvasir/error.h"

namespace kvasir::text {

namespace {

struct Replacement {
  std::string_view from, to;
};

// In this order: each sees what the ones before have left.
constexpr Replacement kPunctuation[] = {{" .", "."},  {" ?", "?"},     {" !", "!"},  {" ,", ","},
                                        {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}};
constexpr Replacement kDoNot[] = {{" do not", " don't"}};  // the decoder alone, not clean_up_spaces
constexpr Replacement kContractions[] = {{" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};

void replace_all(std::string& text, std::span<const Replacement> replacements) {
  for (const auto& [from, to] : replacements) {
    std::size_t at = text.find(from);
    if (at == std::string::npos) continue;
    std::string out;
    std::size_t copied = 0;
    for (; at != std::string::npos; at = text.find(from, copied)) {
      out.append(text, copied, at - copied).append(to);
      copied = at + from.size();
    }
    text = out.append(text, copied);
  }
}

class JoinDecoder : public Decoder {
 public:
  std::string decode(const std::vector<std::string_view>& tokens) const override {
    std::string text;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) text += ' ';
      text += tokens[i];
    }
    return text;
  }
};

class WordPieceDecoder : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  std::string decode(const std::vector<std::string_view>& tokens) const override {
    std::string text;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      std::string piece(tokens[i]);
      if (i > 0 && piece.starts_with(prefix_)) {
        piece.erase(0, prefix_.size());
      } else if (i > 0) {
        piece.insert(piece.begin(), ' ');
      }
      if (cleanup_) {  // token by token, as the reference: what spans two of them stays
        replace_all(piece, kPunctuation);
        replace_all(piece, kDoNot);
        replace_all(piece, kContractions);
      }
      text += piece;
    }
    return text;
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(const base::json::value& value, const std::string& origin) {
  if (value.is_null()) return std::make_unique<JoinDecoder>();
  const base::JsonObject json(value, origin);
  const std::string type = json.string("type");
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(json.string("prefix"), json.boolean_or("cleanup", true));
  }
  throw Error(ErrorCode::kUnsupported, origin + ": type " + type + " is not supported");
}

std::string clean_up_spaces(std::string text) {
  replace_all(text, kPunctuation);
  replace_all(text, kContractions);
  return text;
}

}  // namespace kvasir::text
