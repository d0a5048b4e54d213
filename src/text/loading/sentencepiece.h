// The model file of SentencePiece: what of its protocol buffer a tokenizer needs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir::text {

struct SentencePieceModel {
  enum PieceType { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {
    std::string_view text;  // in the file's bytes
    float score = 0;
    std::int32_t type = kNormal;
  };
  enum ModelType { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };

  std::vector<Piece> pieces;
  std::int32_t model_type = kUnigram;
  std::int32_t unk_id = 0;
  std::string_view unk_piece = "<unk>";
  std::string_view precompiled_charsmap;  // empty: none
};

// `bytes` must outlive the result. Throws kFormat for other bytes; `origin` names the file in errors.
SentencePieceModel parse_sentencepiece(std::string_view bytes, const std::string& origin);

}  // namespace kvasir::text
