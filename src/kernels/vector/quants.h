// The part of products with quants that all instruction sets share: rounding rows, and turning the sums of
// integers into results. quant_types.h unpacks each type.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

#include "kernels/quants.h"
#include "kernels/vector/gemm.h"
#include "kernels/vector/lanes.h"
#include "kernels/vector/quant_types.h"

namespace kvasir::kernels {

template <class S>
struct QuantRounding {
  using Vec = typename S::Vec;
  static constexpr std::size_t kVectors = tensor::kQuantElements / S::kLanes;

  static void round_quant(const float* x, std::int8_t* q, RowQuant& out) noexcept {
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

  static void quantize(const QuantizeCall& call, const QuantRows& out) noexcept {
    assert(call.columns % tensor::kQuantElements == 0);
    for (std::size_t r = 0; r < call.rows; ++r) {
      const float* x = call.x + r * call.ldx;
      std::int8_t* q = out.data + r * out.stride;
      RowQuant* quants = out.quants + r * out.quant_stride;
      for (std::size_t j = 0; j < call.columns; j += tensor::kQuantElements) {
        round_quant(x + j, q + j, *quants++);
      }
    }
  }
};

// The factors of RowQuant::halves, as a pair in all lanes, that give -offset times the sum of the activations
// which the t-th scale of a type covers.
template <class B, class Type>
inline __attribute__((always_inline)) typename B::Ints offset_factors(std::size_t t) noexcept {
  constexpr std::uint32_t kFactor = static_cast<std::uint16_t>(-Type::kOffset);
  if constexpr (Type::kGroups == 8) return B::words(static_cast<int>(kFactor << 16 | kFactor));
  return B::words(static_cast<int>(t % 2 == 0 ? kFactor : kFactor << 16));
}

// The panels of a matrix, as QuantMatrix has them, with the layout as a constant. (Functions of QuantMatrix
// must not be called here: a copy that is compiled for one instruction set could be the one that is linked
// for all.)
template <class Type>
struct QuantPanels {
  static constexpr QuantLayout kLayout = Type::kLayout;
  const std::uint8_t* words;
  const std::uint16_t* halves;
  std::size_t quants, bytes, half_count;  // of a panel

  explicit QuantPanels(const QuantMatrix& b) noexcept
      : words(b.data.data()),
        halves(b.halves.data()),
        quants(b.k / kLayout.elements),
        bytes(quants * kLayout.words * kWordBytes),
        half_count(kLayout.has_half ? quants * kPanelColumns : 0) {}
  const std::uint8_t* panel(std::size_t p) const noexcept { return words + p * bytes; }
  const std::uint16_t* half_panel(std::size_t p) const noexcept { return halves + p * half_count; }
};

// Prefetches what a thread that goes through whole panels, P at a time, will read about a microsecond later.
// With the processor's own prefetching alone, decoding reaches half of the bandwidth, and a quarter with 8
// rows.
template <class Type, std::size_t P>
class Ahead {
 public:
  explicit Ahead(const QuantPanels<Type>& b) noexcept
      : last_(b.quants - (b.quants < kQuants ? b.quants : kQuants)),
        bytes_(kQuants * kQuantBytes),
        halves_(kQuants * kPanelColumns),
        bytes_to_next_((P - 1) * b.bytes),
        halves_to_next_((P - 1) * b.half_count) {}

  void fetch(std::size_t quant, std::size_t t, const std::uint8_t* const (&words)[P],
             const std::uint16_t* const (&halves)[P]) noexcept {
    // After the end of a panel comes the beginning of its next one, which lies behind the other P - 1 panels.
    if (quant == last_ && t == 0) {
      bytes_ += bytes_to_next_;
      halves_ += halves_to_next_;
    }
    // Loops and not unroll(), because GCC drops a lambda that does nothing but prefetch.
    for (std::size_t p = 0; p < P; ++p) {
      for (std::size_t line = 0; line < kLines; ++line)
        __builtin_prefetch(words[p] + bytes_ + (t * kLines + line) * kWordBytes);
      if (Type::kLayout.has_half && t == 0) __builtin_prefetch(halves[p] + halves_);
    }
  }

 private:
  static constexpr std::size_t kQuantBytes = Type::kLayout.words * kWordBytes;
  // The best of 1, 2, 4 and 8 KiB, with one row and with 8, for all types.
  static constexpr std::size_t kAheadBytes = 4096;
  static constexpr std::size_t kQuants = (kAheadBytes + kQuantBytes - 1) / kQuantBytes;
  static constexpr std::size_t kLines = (Type::kLayout.words + Type::kScales - 1) / Type::kScales;
  std::size_t last_, bytes_, halves_, bytes_to_next_, halves_to_next_;
};

// The heads of a quant: what is read once per quant, for each vector of columns.
template <class Type, std::size_t V>
struct QuantHeads {
  typename Type::Head of[V];

  QuantHeads(const std::uint8_t* const (&words)[V], const std::uint16_t* const (&halves)[V]) noexcept
      : QuantHeads(words, halves, std::make_index_sequence<V>{}) {}
  template <std::size_t... I>
  QuantHeads(const std::uint8_t* const (&words)[V], const std::uint16_t* const (&halves)[V],
             std::index_sequence<I...>) noexcept
      : of{typename Type::Head(words[I], halves[I])...} {}
};

// Adds the products of one scale, the integers `products` of each of V vectors, to sums in memory.
template <class B, class Type, std::size_t V>
struct QuantScales {
  typename B::Vec scale[V], minimum[V];

  QuantScales(const Type& type, const typename Type::Head* heads, const std::uint8_t* const* words) noexcept {
    unroll<V>([&](auto v) {
      scale[v] = type.scale(heads[v], words[v]);
      if constexpr (Type::kMinima) minimum[v] = type.minimum(heads[v], words[v]);
    });
  }
  void add(const typename B::Ints (&products)[V], const RowQuant& row, std::size_t t,
           float* sums) const noexcept {
    const typename B::Vec row_scale = B::set(row.scale);
    float row_sum = row.sum;  // of the elements of this scale
    if constexpr (Type::kMinima && Type::kGroups == 4)
      row_sum = row.scale * static_cast<float>(row.halves[t % 2]);
    unroll<V>([&](auto v) {
      float* sum = sums + v * B::kLanes;
      typename B::Vec x = B::fma(B::mul(scale[v], B::to_floats(products[v])), row_scale, B::load(sum));
      if constexpr (Type::kMinima) x = B::fma(minimum[v], B::set(row_sum), x);
      B::store(sum, x);
    });
  }
};

// The product of one type, as Gemm takes it; Tile<B, Type> computes the sums on an instruction set; the
// number of rows is a template argument if kRowsAreConstant, otherwise that of the call.
template <class B, tensor::DType kDType, template <class, class> class Tile>
struct QuantProduct {
  using Call = QuantGemmCall;
  using Sum = float;
  using Type = QuantType<B, kDType>;
  static constexpr std::size_t kTileRows = Tile<B, Type>::kTileRows;
  static constexpr std::size_t panels(std::size_t rows) noexcept { return Tile<B, Type>::panels(rows); }

  static std::size_t row_bytes(const Call& call) noexcept { return call.a.stride; }
  template <std::size_t Most, std::size_t P>
  static void sum_tile(const Call& call, const TilePlace& place, float* sums) noexcept {
    if constexpr (Most > 1 && Tile<B, Type>::kRowsAreConstant) {
      if (place.rows < Most) return sum_tile<Most - 1, P>(call, place, sums);
    }
    Tile<B, Type>::template sum<Most, P>(call, place, sums);
  }
  static auto values(const Call&, std::size_t) noexcept { return add_bias<B>; }
};

template <class B, template <class, class> class Tile>
void quant_gemm(const QuantGemmCall& call, const GemmBlock& block) noexcept {
  using tensor::DType;
  switch (call.b->dtype) {
    case DType::kQ4_0:
      return Gemm<B, QuantProduct<B, DType::kQ4_0, Tile>>::block(call, block);
    case DType::kQ4_1:
      return Gemm<B, QuantProduct<B, DType::kQ4_1, Tile>>::block(call, block);
    case DType::kQ5_0:
      return Gemm<B, QuantProduct<B, DType::kQ5_0, Tile>>::block(call, block);
    case DType::kQ5_1:
      return Gemm<B, QuantProduct<B, DType::kQ5_1, Tile>>::block(call, block);
    case DType::kQ8_0:
      return Gemm<B, QuantProduct<B, DType::kQ8_0, Tile>>::block(call, block);
    case DType::kIQ4_NL:
      return Gemm<B, QuantProduct<B, DType::kIQ4_NL, Tile>>::block(call, block);
    case DType::kQ2_K:
      return Gemm<B, QuantProduct<B, DType::kQ2_K, Tile>>::block(call, block);
    case DType::kQ3_K:
      return Gemm<B, QuantProduct<B, DType::kQ3_K, Tile>>::block(call, block);
    case DType::kQ4_K:
      return Gemm<B, QuantProduct<B, DType::kQ4_K, Tile>>::block(call, block);
    case DType::kQ5_K:
      return Gemm<B, QuantProduct<B, DType::kQ5_K, Tile>>::block(call, block);
    case DType::kQ6_K:
      return Gemm<B, QuantProduct<B, DType::kQ6_K, Tile>>::block(call, block);
    default:
      assert(!"gemm_block: not a type of quant products");
  }
}

}  // namespace kvasir::kernels
