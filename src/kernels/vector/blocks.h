// What the instruction sets share of products of blocks: quantising rows, how each type is unpacked, and the
// order of a block of the product.
//
// B gives the vector of an instruction set (S of simd.h) what bytes need: see avx2/blocks.cpp. A vector of
// words is kLanes columns of a panel; pointers to a panel's words and halves are those of its first column.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "kernels/blocks.h"
#include "kernels/vector/gemm.h"
#include "kernels/vector/lanes.h"

namespace kvasir::kernels {

inline constexpr std::size_t kWordBytes = 4 * kPanelColumns;  // of one word of a panel

template <class S>
struct BlockRounding {
  using Vec = typename S::Vec;
  static constexpr std::size_t kVectors = tensor::kBlock / S::kLanes;

  static void quantize_block(const float* x, std::int8_t* q, RowBlock& out) noexcept {
    Vec v[kVectors];
    Vec magnitude = S::zero();
    unroll<kVectors>([&](auto i) {
      v[i] = S::load(x + i * S::kLanes);
      magnitude = S::max(S::abs(v[i]), magnitude);
    });
    const float largest = S::max(magnitude);
    const bool some = largest > kLeastMagnitude;
    const Vec inverse = S::set(some ? 127 / largest : 0);
    const float scale = some ? largest / 127 : 0;
    Vec sums[2] = {S::zero(), S::zero()};  // of integers, exact in any order
    unroll<kVectors>([&](auto i) {
      const Vec rounded = S::max(S::round(S::mul(v[i], inverse)), S::set(-127.0F));
      sums[i / (kVectors / 2)] = S::add(sums[i / (kVectors / 2)], rounded);
      S::store_signed_bytes(q + i * S::kLanes, S::to_ints(rounded));
    });
    const float first = S::sum(sums[0]), last = S::sum(sums[1]);
    out = {.scale = scale,
           .sum = scale * (first + last),
           .halves = {static_cast<std::int16_t>(first), static_cast<std::int16_t>(last)}};
  }

  static void quantize(const QuantizeCall& call, const BlockRows& out) noexcept {
    assert(call.columns % tensor::kBlock == 0);
    for (std::size_t r = 0; r < call.rows; ++r) {
      const float* x = call.x + r * call.ldx;
      std::int8_t* q = out.data + r * out.stride;
      RowBlock* blocks = out.blocks + r * out.block_stride;
      for (std::size_t j = 0; j < call.columns; j += tensor::kBlock) {
        quantize_block(x + j, q + j, *blocks++);
      }
    }
  }
};

// What a type says of its t-th scale in a block:
//   kGroups    groups of 4 elements that share it
//   kOffset    what the unsigned weights are too large by; they are at most kMost
//   group<G>   the G-th group, as unsigned bytes
//   scale      of each column; minimum, if kMinima
template <class B, tensor::DType kDType>
struct BlockType;

// 32 elements, one scale: what the simple types share.
struct SimpleType {
  static constexpr std::size_t kGroups = 8, kScales = 1;
  explicit SimpleType(std::size_t) noexcept {}
};

template <class B>
struct BlockType<B, tensor::DType::kQ4_0> : SimpleType {
  using SimpleType::SimpleType;
  static constexpr std::size_t kWords = 4;
  static constexpr bool kHalf = true;
  static constexpr int kOffset = 8, kMost = 15;
  static constexpr bool kMinima = false;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return B::template nibble<G / 4>(B::load_bytes(words + G % 4 * kWordBytes));
  }
  typename B::Vec scale(const std::uint8_t*, const std::uint16_t* halves) const noexcept {
    return B::load_half(halves);
  }
};

template <class B>
struct BlockType<B, tensor::DType::kQ4_1> : SimpleType {
  using SimpleType::SimpleType;
  static constexpr std::size_t kWords = 5;
  static constexpr bool kHalf = false;
  static constexpr int kOffset = 0, kMost = 15;
  static constexpr bool kMinima = true;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return B::template nibble<G / 4>(B::load_bytes(words + (1 + G % 4) * kWordBytes));
  }
  typename B::Vec scale(const std::uint8_t* words, const std::uint16_t*) const noexcept {
    return B::low_halves(B::load_bytes(words));
  }
  typename B::Vec minimum(const std::uint8_t* words) const noexcept {
    return B::high_halves(B::load_bytes(words));
  }
};

template <class B>
struct BlockType<B, tensor::DType::kQ8_0> : SimpleType {
  using SimpleType::SimpleType;
  static constexpr std::size_t kWords = 8;
  static constexpr bool kHalf = true;
  static constexpr int kOffset = 128, kMost = 255;
  static constexpr bool kMinima = false;
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return B::load_bytes(words + G * kWordBytes);
  }
  typename B::Vec scale(const std::uint8_t*, const std::uint16_t* halves) const noexcept {
    return B::load_half(halves);
  }
};

// Scales and minima of Q4_K and Q5_K: word 0 has d and dmin, words 1 to 3 eight of each with 6 bits
// (tensor::scale_and_minimum).
template <class B>
struct SixBitScales {
  using Ints = typename B::Ints;
  using Vec = typename B::Vec;
  static constexpr std::size_t kGroups = 8, kScales = 8;
  static constexpr int kOffset = 0;
  static constexpr bool kMinima = true;
  std::size_t t;

  // `Bits` of byte t % 4 of a word, from bit `First` on.
  template <int kFirst, int kBits>
  Ints field(const std::uint8_t* words, std::size_t word) const noexcept {
    const Ints shifted =
        B::shift_words(B::load_bytes(words + word * kWordBytes), static_cast<int>(t % 4 * 8) + kFirst);
    return B::both(shifted, B::words((1 << kBits) - 1));
  }
  // The lower four bits of the last four lie in word 3, their upper two above one of the first four.
  template <int kFirst>
  Ints six_bits(const std::uint8_t* words, std::size_t word) const noexcept {
    if (t < 4) return field<0, 6>(words, word);
    return B::either(field<kFirst, 4>(words, 3), B::template shift_words_left<4>(field<6, 2>(words, word)));
  }
  Vec scale(const std::uint8_t* words, const std::uint16_t*) const noexcept {
    return B::mul(B::low_halves(B::load_bytes(words)), B::to_floats(six_bits<0>(words, 1)));
  }
  Vec minimum(const std::uint8_t* words) const noexcept {
    const Vec product = B::mul(B::high_halves(B::load_bytes(words)), B::to_floats(six_bits<4>(words, 2)));
    return B::sub(B::zero(), product);
  }
};

template <class B>
struct BlockType<B, tensor::DType::kQ4_K> : SixBitScales<B> {
  static constexpr std::size_t kWords = 36;
  static constexpr bool kHalf = false;
  static constexpr int kMost = 15;
  typename B::Count high;
  std::size_t at;
  explicit BlockType(std::size_t scale) noexcept
      : SixBitScales<B>{scale}, high(B::count(scale % 2 * 4)), at((4 + scale / 2 * 8) * kWordBytes) {}
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    return B::low_bits(B::shift(B::load_bytes(words + at + G * kWordBytes), high), 15);
  }
};

template <class B>
struct BlockType<B, tensor::DType::kQ5_K> : SixBitScales<B> {
  static constexpr std::size_t kWords = 44;
  static constexpr bool kHalf = false;
  static constexpr int kMost = 31;
  typename B::Count high, bit;
  std::size_t at;
  explicit BlockType(std::size_t scale) noexcept
      : SixBitScales<B>{scale},
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

template <class B>
struct BlockType<B, tensor::DType::kQ6_K> {
  static constexpr std::size_t kWords = 52;
  static constexpr bool kHalf = true;
  static constexpr std::size_t kGroups = 4, kScales = 16;
  static constexpr int kOffset = 32, kMost = 63;
  static constexpr bool kMinima = false;
  std::size_t s;
  typename B::Count nibble, pair;
  std::size_t low_at, high_at;
  explicit BlockType(std::size_t scale) noexcept : s(scale) {
    const std::size_t half = s / 8, quarter = s % 8 / 2, words = s % 2 * 4;
    nibble = B::count(quarter / 2 * 4);
    pair = B::count(quarter * 2);
    low_at = (16 * half + 8 * (quarter % 2) + words) * kWordBytes;
    high_at = (32 + 8 * half + words) * kWordBytes;
  }
  template <std::size_t G>
  typename B::Ints group(const std::uint8_t* words) const noexcept {
    const auto low = B::low_bits(B::shift(B::load_bytes(words + low_at + G * kWordBytes), nibble), 15);
    const auto high = B::low_bits(B::shift(B::load_bytes(words + high_at + G * kWordBytes), pair), 3);
    return B::either(low, B::template shift_words_left<4>(high));
  }
  typename B::Vec scale(const std::uint8_t* words, const std::uint16_t* halves) const noexcept {
    const auto word = B::load_bytes(words + (48 + s / 4) * kWordBytes);
    return B::mul(B::load_half(halves), B::to_floats(B::signed_byte(word, s % 4)));
  }
};

// -offset times the sum of what elements a scale of a type covers in the t-th place: a pair of factors for
// RowBlock::halves, in all lanes.
template <class B, class Type>
inline __attribute__((always_inline)) typename B::Ints offset_factors(std::size_t t) noexcept {
  constexpr std::uint32_t kFactor = static_cast<std::uint16_t>(-Type::kOffset);
  if constexpr (Type::kGroups == 8) return B::words(static_cast<int>(kFactor << 16 | kFactor));
  return B::words(static_cast<int>(t % 2 == 0 ? kFactor : kFactor << 16));
}

// Fetches what a thread that goes through whole panels, P at a time, reads about a microsecond later. Left to
// the processor's own prefetching, decoding reaches half of the bandwidth, and a quarter with 8 rows.
template <class Type, std::size_t P>
class Ahead {
 public:
  explicit Ahead(const BlockMatrix& b) noexcept
      : last_(b.blocks() - (b.blocks() < kBlocks ? b.blocks() : kBlocks)),
        bytes_(kBlocks * kBlockBytes),
        halves_(kBlocks * kPanelColumns),
        bytes_to_next_((P - 1) * b.panel_bytes()),
        halves_to_next_((P - 1) * b.panel_halves()) {}

  void fetch(std::size_t block, std::size_t t, const std::uint8_t* const (&words)[P],
             const std::uint16_t* const (&halves)[P]) noexcept {
    // The ends of the panels are followed by the beginnings of the next ones, behind the other P - 1.
    if (block == last_ && t == 0) {
      bytes_ += bytes_to_next_;
      halves_ += halves_to_next_;
    }
    // Loops, because GCC takes a lambda that only fetches for one that does nothing.
    for (std::size_t p = 0; p < P; ++p) {
      for (std::size_t line = 0; line < kLines; ++line)
        __builtin_prefetch(words[p] + bytes_ + (t * kLines + line) * kWordBytes);
      if (Type::kHalf && t == 0) __builtin_prefetch(halves[p] + halves_);
    }
  }

 private:
  static constexpr std::size_t kBlockBytes = Type::kWords * kWordBytes;
  // Of 1, 2, 4 and 8 KiB what is best here, with one row as with 8, for all types.
  static constexpr std::size_t kAheadBytes = 4096;
  static constexpr std::size_t kBlocks = (kAheadBytes + kBlockBytes - 1) / kBlockBytes;
  static constexpr std::size_t kLines = (Type::kWords + Type::kScales - 1) / Type::kScales;
  std::size_t last_, bytes_, halves_, bytes_to_next_, halves_to_next_;
};

// Adds the products of one scale, the integers `products` of each vector, to sums in memory.
template <class B, class Type, std::size_t V>
struct BlockScales {
  typename B::Vec scale[V], minimum[V];

  BlockScales(const Type& type, const std::uint8_t* const (&words)[V],
              const std::uint16_t* const (&halves)[V]) noexcept {
    unroll<V>([&](auto v) {
      scale[v] = type.scale(words[v], halves[v]);
      if constexpr (Type::kMinima) minimum[v] = type.minimum(words[v]);
    });
  }
  void add(const typename B::Ints (&products)[V], const RowBlock& row, float* sums) const noexcept {
    const typename B::Vec row_scale = B::set(row.scale);
    unroll<V>([&](auto v) {
      float* sum = sums + v * B::kLanes;
      typename B::Vec x = B::fma(B::mul(scale[v], B::to_floats(products[v])), row_scale, B::load(sum));
      if constexpr (Type::kMinima) x = B::fma(minimum[v], B::set(row.sum), x);
      B::store(sum, x);
    });
  }
};

// The product of one type, as Gemm takes it; Tile<B, Type> is how an instruction set makes its sums.
template <class B, tensor::DType kDType, template <class, class> class Tile>
struct BlockProduct {
  using Call = BlockGemmCall;
  using Sum = float;
  using Type = BlockType<B, kDType>;
  static constexpr std::size_t kTileRows = Tile<B, Type>::kTileRows;
  static constexpr std::size_t panels(std::size_t rows) noexcept { return Tile<B, Type>::panels(rows); }

  static std::size_t row_bytes(const Call& call) noexcept { return call.a.stride; }
  template <std::size_t Most, std::size_t P>
  static void sum_tile(const Call& call, const TilePlace& place, float* sums) noexcept {
    if constexpr (Most > 1) {
      if (place.rows < Most) return sum_tile<Most - 1, P>(call, place, sums);
    }
    Tile<B, Type>::template sum<Most, P>(call, place, block_layout(kDType), sums);
  }
  static auto values(const Call&, std::size_t) noexcept {
    return [](std::size_t, const float* sums, typename B::Vec bias) { return B::add(B::load(sums), bias); };
  }
};

template <class B, template <class, class> class Tile>
void block_gemm(const BlockGemmCall& call, const GemmBlock& block) noexcept {
  using tensor::DType;
  switch (call.b->dtype) {
    case DType::kQ4_0:
      return Gemm<B, BlockProduct<B, DType::kQ4_0, Tile>>::block(call, block);
    case DType::kQ4_1:
      return Gemm<B, BlockProduct<B, DType::kQ4_1, Tile>>::block(call, block);
    case DType::kQ8_0:
      return Gemm<B, BlockProduct<B, DType::kQ8_0, Tile>>::block(call, block);
    case DType::kQ4_K:
      return Gemm<B, BlockProduct<B, DType::kQ4_K, Tile>>::block(call, block);
    case DType::kQ5_K:
      return Gemm<B, BlockProduct<B, DType::kQ5_K, Tile>>::block(call, block);
    case DType::kQ6_K:
      return Gemm<B, BlockProduct<B, DType::kQ6_K, Tile>>::block(call, block);
    default:
      assert(!"gemm_block: not a type of block products");
  }
}

}  // namespace kvasir::kernels
