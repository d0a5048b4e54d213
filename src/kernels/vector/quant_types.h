// Unpacks each type of quant, for the instruction set whose vectors of bytes B describes (see
// avx2/quants.cpp). A vector of words holds kLanes columns of a panel; pointers to a panel's words and halves
// point to the first of these columns.
//
// QuantType<B, dtype>(t) is the t-th scale of a quant, of kScales:
//   kGroups    groups of 4 elements that share it: 8 or 4
//   kOffset    what the unsigned weights are too large by; they are at most kMost
//   group<G>   the G-th group, as unsigned bytes
//   Head       what a quant says once, of each column
//   scale      of each column, and minimum, if kMinima
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/quants.h"

namespace kvasir::kernels {

inline constexpr std::size_t kWordBytes = 4 * kPanelColumns;  // of one word of a panel

template <class B, tensor::DType kDType>
struct QuantType;

// The binary16 scale of a quant.
template <class B>
struct HalfScale {
  typename B::Vec d;
  HalfScale(const std::uint8_t*, const std::uint16_t* halves) noexcept : d(B::load_half(halves)) {}
};

// Types with 32 elements and one scale, which is the half of the quant …
template <class B, tensor::DType kDType, int kOffsetOf, int kMostOf>
struct PlainQuant {
  static constexpr QuantLayout kLayout = quant_layout(kDType);
  static constexpr std::size_t kGroups = 8, kScales = 1;
  static constexpr int kOffset = kOffsetOf, kMost = kMostOf;
  static constexpr bool kMinima = false;
  struct Head {  // read only where it is needed, which saves a register until then
    const std::uint16_t* halves;
    Head(const std::uint8_t*, const std::uint16_t* of) noexcept : halves(of) {}
  };
  explicit PlainQuant(std::size_t) noexcept {}
  typename B::Vec scale(const Head& head, const std::uint8_t*) const noexcept {
    return B::load_half(head.halves);
  }
};
// … or the lower half of word 0, whose upper half is the minimum.
template <class B, tensor::DType kDType, int kMostOf>
struct MinimumQuant {
  static constexpr QuantLayout kLayout = quant_layout(kDType);
  static constexpr std::size_t kGroups = 8, kScales = 1;
  static constexpr int kOffset = 0, kMost = kMostOf;
  static constexpr bool kMinima = true;
  struct Head {
    Head(const std::uint8_t*, const std::uint16_t*) noexcept {}
  };
  explicit MinimumQuant(std::size_t) noexcept {}
  typename B::Vec scale(const Head&, const std::uint8_t* words) const noexcept {
    return B::low_halves(B::load_bytes(words));
  }
  typename B::Vec minimum(const Head&, const std::uint8_t* words) const noexcept {
    return B::high_halves(B::load_bytes(words));
  }
};

// Group G of 32 elements of 4 bits: the lower or upper halves of word G % 4.
template <class B, std::size_t G>
inline typename B::Ints four_bits(const std::uint8_t* words) noexcept {
  return B::template nibble<G / 4>(B::load_bytes(words + G % 4 * kWordBytes));
}
// The same with a fifth bit: bit G of each byte of word 0 (see QuantMatrix).
template <class B, std::size_t G>
inline typename B::Ints five_bits(const std::uint8_t* words) noexcept {
  const auto fifth = B::template shift_bit<static_cast<int>(G), 4>(B::load_bytes(words));
  return B::either(four_bits<B, G>(words + kWordBytes), fifth);
}

template <class B>
struct QuantType<B, tensor::DType::kQ4_0> : PlainQuant<B, tensor::DType::kQ4_0, 8, 15> {
  using PlainQuant<B, tensor::DType::kQ4_0, 8, 15>::PlainQuant;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return four_bits<B, G>(words);
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ4_1> : MinimumQuant<B, tensor::DType::kQ4_1, 15> {
  using MinimumQuant<B, tensor::DType::kQ4_1, 15>::MinimumQuant;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return four_bits<B, G>(words + kWordBytes);
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ5_0> : PlainQuant<B, tensor::DType::kQ5_0, 16, 31> {
  using PlainQuant<B, tensor::DType::kQ5_0, 16, 31>::PlainQuant;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return five_bits<B, G>(words);
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ5_1> : MinimumQuant<B, tensor::DType::kQ5_1, 31> {
  using MinimumQuant<B, tensor::DType::kQ5_1, 31>::MinimumQuant;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return five_bits<B, G>(words + kWordBytes);
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ8_0> : PlainQuant<B, tensor::DType::kQ8_0, 128, 255> {
  using PlainQuant<B, tensor::DType::kQ8_0, 128, 255>::PlainQuant;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return B::load_bytes(words + G * kWordBytes);
  }
};

template <class B>
struct QuantType<B, tensor::DType::kIQ4_NL> : PlainQuant<B, tensor::DType::kIQ4_NL, 128, 241> {
  using PlainQuant<B, tensor::DType::kIQ4_NL, 128, 241>::PlainQuant;
  // tensor::kIq4Values + 128
  static constexpr std::uint8_t kValues[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                               129, 141, 153, 166, 181, 197, 217, 241};
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return B::lookup(four_bits<B, G>(words), kValues);
  }
};

// The scales of the scales and of the minima, side by side in a word; those of the minima are negated.
template <class B, std::size_t kWord>
struct ScaleAndMinimum {
  typename B::Vec d, minus_dmin;
  ScaleAndMinimum(const std::uint8_t* words, const std::uint16_t*) noexcept
      : d(B::low_halves(B::load_bytes(words + kWord * kWordBytes))),
        minus_dmin(B::sub(B::zero(), B::high_halves(B::load_bytes(words + kWord * kWordBytes)))) {}
};

// Bit fields of the words that hold scales.
template <class B>
struct ScaleFields {
  const std::uint8_t* words;

  // `bits` bits of a word, from bit `first` on.
  typename B::Ints field(std::size_t word, std::size_t first, std::size_t bits) const noexcept {
    return B::both(B::shift_words(B::load_bytes(words + word * kWordBytes), first),
                   B::words((1 << bits) - 1));
  }
};

// Scales and minima of Q4_K and Q5_K: word 0 has d and dmin, words 1 to 3 eight of each with 6 bits
// (tensor::scale_and_minimum).
template <class B, tensor::DType kDType>
struct SixBitScales {
  using Ints = typename B::Ints;
  using Vec = typename B::Vec;
  static constexpr QuantLayout kLayout = quant_layout(kDType);
  static constexpr std::size_t kGroups = 8, kScales = 8;
  static constexpr int kOffset = 0;
  static constexpr bool kMinima = true;
  std::size_t t;

  // The last four have their lower four bits in word 3, from bit `low` on, and their upper two above one of
  // the first four.
  Ints six_bits(const std::uint8_t* words, std::size_t word, std::size_t low) const noexcept {
    const ScaleFields<B> fields{words};
    const std::size_t byte = t % 4 * 8;
    if (t < 4) return fields.field(word, byte, 6);
    return B::either(fields.field(3, byte + low, 4),
                     B::template shift_words_left<4>(fields.field(word, byte + 6, 2)));
  }
  using Head = ScaleAndMinimum<B, 0>;
  Vec scale(const Head& head, const std::uint8_t* words) const noexcept {
    return B::mul(head.d, B::to_floats(six_bits(words, 1, 0)));
  }
  Vec minimum(const Head& head, const std::uint8_t* words) const noexcept {
    return B::mul(head.minus_dmin, B::to_floats(six_bits(words, 2, 4)));
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ4_K> : SixBitScales<B, tensor::DType::kQ4_K> {
  static constexpr int kMost = 15;
  typename B::Count high;
  std::size_t at;
  explicit QuantType(std::size_t scale) noexcept
      : SixBitScales<B, tensor::DType::kQ4_K>{scale},
        high(B::count(scale % 2 * 4)),
        at((4 + scale / 2 * 8) * kWordBytes) {}
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return B::low_bits(B::shift(B::load_bytes(words + at + G * kWordBytes), high), 15);
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ5_K> : SixBitScales<B, tensor::DType::kQ5_K> {
  static constexpr int kMost = 31;
  typename B::Count high, bit;
  std::size_t at;
  explicit QuantType(std::size_t scale) noexcept
      : SixBitScales<B, tensor::DType::kQ5_K>{scale},
        high(B::count(scale % 2 * 4)),
        bit(B::count(scale)),
        at((12 + scale / 2 * 8) * kWordBytes) {}
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    const auto low = B::low_bits(B::shift(B::load_bytes(words + at + G * kWordBytes), high), 15);
    const auto fifth = B::low_bits(B::shift(B::load_bytes(words + (4 + G) * kWordBytes), bit), 1);
    return B::either(low, B::template shift_words_left<4>(fifth));
  }
};

// Types with a scale for each 16 elements. The elements of scale s are in words W to W + 3 of quarter s % 8 /
// 2 of half s / 8; the pairs of bits of the four quarters lie side by side.
template <class B, tensor::DType kDType, int kOffsetOf, int kMostOf>
struct SixteenQuant {
  static constexpr QuantLayout kLayout = quant_layout(kDType);
  static constexpr std::size_t kGroups = 4, kScales = 16;
  static constexpr int kOffset = kOffsetOf, kMost = kMostOf;
  std::size_t s, half, quarter, word;
  typename B::Count pair_count;
  explicit SixteenQuant(std::size_t scale) noexcept
      : s(scale),
        half(scale / 8),
        quarter(scale % 8 / 2),
        word(scale % 2 * 4),
        pair_count(B::count(scale % 8 / 2 * 2)) {}

  // Two bits each of group G, of a field that begins at word `first`.
  template <std::size_t G>
  typename B::Ints pairs(const std::uint8_t* words, std::size_t first) const noexcept {
    const std::size_t at = first + 8 * half + word + G;
    return B::low_bits(B::shift(B::load_bytes(words + at * kWordBytes), pair_count), 3);
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ2_K> : SixteenQuant<B, tensor::DType::kQ2_K, 0, 3> {
  using SixteenQuant<B, tensor::DType::kQ2_K, 0, 3>::SixteenQuant;
  static constexpr bool kMinima = true;
  using Head = ScaleAndMinimum<B, 20>;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return this->template pairs<G>(words, 4);
  }
  typename B::Ints field(const std::uint8_t* words, std::size_t first) const noexcept {
    return ScaleFields<B>{words}.field(this->s / 4, this->s % 4 * 8 + first, 4);
  }
  typename B::Vec scale(const Head& head, const std::uint8_t* words) const noexcept {
    return B::mul(head.d, B::to_floats(field(words, 0)));
  }
  typename B::Vec minimum(const Head& head, const std::uint8_t* words) const noexcept {
    return B::mul(head.minus_dmin, B::to_floats(field(words, 4)));
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ3_K> : SixteenQuant<B, tensor::DType::kQ3_K, 4, 7> {
  using Base = SixteenQuant<B, tensor::DType::kQ3_K, 4, 7>;
  using Head = HalfScale<B>;
  static constexpr bool kMinima = false;
  typename B::Count third;
  explicit QuantType(std::size_t scale) noexcept : Base(scale), third(B::count(scale / 2)) {}
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    const auto high = B::shift(B::load_bytes(words + (this->word + G) * kWordBytes), third);
    return B::either(this->template pairs<G>(words, 8),
                     B::template shift_words_left<2>(B::low_bits(high, 1)));
  }
  // Words 24 and 25 have the lower four bits, word 26 the upper two.
  typename B::Vec scale(const Head& head, const std::uint8_t* words) const noexcept {
    const ScaleFields<B> fields{words};
    const std::size_t byte = this->s % 4 * 8;
    const auto low = fields.field(24 + this->s % 8 / 4, byte + this->s / 8 * 4, 4);
    const auto high = fields.field(26, byte + this->s / 4 * 2, 2);
    const auto bits = B::either(low, B::template shift_words_left<4>(high));
    return B::mul(head.d, B::to_floats(B::add_words(bits, -32)));
  }
};

template <class B>
struct QuantType<B, tensor::DType::kQ6_K> : SixteenQuant<B, tensor::DType::kQ6_K, 32, 63> {
  using Base = SixteenQuant<B, tensor::DType::kQ6_K, 32, 63>;
  using Head = HalfScale<B>;
  static constexpr bool kMinima = false;
  typename B::Count nibble;
  std::size_t low_at;
  explicit QuantType(std::size_t scale) noexcept
      : Base(scale),
        nibble(B::count(this->quarter / 2 * 4)),
        low_at((16 * this->half + 8 * (this->quarter % 2) + this->word) * kWordBytes) {}
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    const auto low = B::low_bits(B::shift(B::load_bytes(words + low_at + G * kWordBytes), nibble), 15);
    return B::either(low, B::template shift_words_left<4>(this->template pairs<G>(words, 32)));
  }
  typename B::Vec scale(const Head& head, const std::uint8_t* words) const noexcept {
    const auto four = B::load_bytes(words + (48 + this->s / 4) * kWordBytes);
    return B::mul(head.d, B::to_floats(B::signed_byte(four, this->s % 4)));
  }
};

}  // namespace kvasir::kernels
