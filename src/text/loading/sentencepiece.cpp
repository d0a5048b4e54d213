#include "text/loading/sentencepiece.h"

#include <bit>

#include "base/utf8.h"
#include "kvasir/error.h"
#include "text/vocabulary.h"

namespace kvasir::text {

namespace {

// Reads a message of a protocol buffer field by field.
class MessageReader {
 public:
  MessageReader(std::string_view bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  // The next field; false at the end of the message.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const std::uint64_t tag = varint();
    field_ = tag >> 3;
    switch (tag & 7) {
      case 0:
        number_ = varint();
        break;
      case 1:
        number_ = fixed(8);
        break;
      case 2: {
        const std::uint64_t length = varint();
        if (length > bytes_.size() - at_) fail("a field reaches beyond the end");
        text_ = bytes_.substr(at_, length);
        at_ += length;
        break;
      }
      case 5:
        number_ = fixed(4);
        break;
      default:
        fail("a field has the unknown wire type " + std::to_string(tag & 7));
    }
    if (field_ == 0) fail("a field has number 0");
    type_ = tag & 7;
    return true;
  }

  std::uint64_t field() const noexcept { return field_; }
  std::int32_t integer() const {
    expect(0);
    return static_cast<std::int32_t>(number_);
  }
  float real() const {
    expect(5);
    return std::bit_cast<float>(static_cast<std::uint32_t>(number_));
  }
  std::string_view text() const {
    expect(2);
    return text_;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kFormat, origin_ + ": is no SentencePiece model: " + what);
  }
  void expect(std::uint64_t type) const {
    if (type_ != type) {
      fail("field " + std::to_string(field_) + " has wire type " + std::to_string(type_) + ", not " +
           std::to_string(type));
    }
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) fail("it ends in the middle of a field");
      const auto byte = static_cast<std::uint8_t>(bytes_[at_++]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("a number has more than ten bytes");
  }
  std::uint64_t fixed(std::size_t size) {
    if (size > bytes_.size() - at_) fail("it ends in the middle of a field");
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(bytes_[at_ + i])) << 8 * i;
    }
    at_ += size;
    return value;
  }

  std::string_view bytes_;
  const std::string& origin_;
  std::size_t at_ = 0;
  std::uint64_t field_ = 0, type_ = 0, number_ = 0;
  std::string_view text_;
};

SentencePieceModel::Piece parse_piece(std::string_view bytes, const std::string& origin) {
  SentencePieceModel::Piece piece;
  for (MessageReader reader(bytes, origin); reader.next();) {
    if (reader.field() == 1) piece.text = reader.text();
    if (reader.field() == 2) piece.score = reader.real();
    if (reader.field() == 3) piece.type = reader.integer();
  }
  return piece;
}

void parse_trainer_spec(std::string_view bytes, const std::string& origin, SentencePieceModel& model) {
  for (MessageReader reader(bytes, origin); reader.next();) {
    if (reader.field() == 3) model.model_type = reader.integer();
    if (reader.field() == 40) model.unk_id = reader.integer();
    if (reader.field() == 45) model.unk_piece = reader.text();
  }
}

}  // namespace

SentencePieceModel parse_sentencepiece(std::string_view bytes, const std::string& origin) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::kFormat, origin + ": is no SentencePiece model: " + what);
  };
  SentencePieceModel model;
  for (MessageReader reader(bytes, origin); reader.next();) {
    if (reader.field() == 1) {
      model.pieces.push_back(parse_piece(reader.text(), origin));
      const std::string_view text = model.pieces.back().text;
      const std::string number = std::to_string(model.pieces.size() - 1);
      if (base::find_invalid_utf8(text) != text.size()) fail("piece " + number + " is not UTF-8");
      if (text.empty()) fail("piece " + number + " is empty");
      if (model.pieces.size() > static_cast<std::size_t>(kMaxTokenId)) fail("it has too many pieces");
    } else if (reader.field() == 2) {
      parse_trainer_spec(reader.text(), origin, model);
    } else if (reader.field() == 3) {
      for (MessageReader spec(reader.text(), origin); spec.next();) {
        if (spec.field() == 2) model.precompiled_charsmap = spec.text();
      }
    }
  }
  if (model.pieces.empty()) fail("it has no pieces");
  if (base::find_invalid_utf8(model.unk_piece) != model.unk_piece.size()) {
    fail("the unknown piece is not UTF-8");
  }
  return model;
}

}  // namespace kvasir::text
