// Weights as bytes: how they are rounded, and how they lie.
#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "kernels/int8.h"

namespace kvasir::kernels {

namespace {

// What the weights of each sign among a few add up to at most, in magnitude.
class SignedSums {
 public:
  // Without branches: the loops below become vectors.
  void add(int weight) noexcept {
    positive_ += std::max(weight, 0);
    negative_ += std::min(weight, 0);
  }
  int largest() const noexcept { return std::max(positive_, -negative_); }

 private:
  int positive_ = 0, negative_ = 0;
};

int largest_pair_sum(std::span<const std::int8_t> row) noexcept {
  int largest = row.empty() ? 0 : std::abs(int{row.back()});  // it has no neighbour if their number is odd
  for (std::size_t i = 0; i + 1 < row.size(); i += 2) {
    SignedSums pair;
    pair.add(row[i]);
    pair.add(row[i + 1]);
    largest = std::max(largest, pair.largest());
  }
  return largest;
}

// Of the lanes that hold two pairs of one row at once (see audit_panel), so many may be too much for 16 bits:
// a step of a panel has 32 of them, so at most one step in eight is wide. More would cost AVX2 its speed,
// none at all the weights of long rows a tenth of their accuracy.
constexpr std::size_t kLanesPerWide = 256;

// The factor by which the scale of a row has to grow for that: <= 1 if it need not.
float excess_of_lanes(std::span<const std::int8_t> row) noexcept {
  std::array<std::size_t, 4 * 127 + 1> lanes{};  // how many have each sum
  std::size_t allowed = row.size() / (kInt8Step / 2) / kLanesPerWide;
  for (std::size_t step = 0; step < row.size(); step += kInt8Step) {
    for (std::size_t pair = 0; pair < kInt8Group; pair += 2) {
      SignedSums lane;
      for (const std::size_t at : {pair, pair + 1, kInt8Group + pair, kInt8Group + pair + 1}) {
        if (step + at < row.size()) lane.add(row[step + at]);
      }
      ++lanes[static_cast<std::size_t>(lane.largest())];
    }
  }
  std::size_t sum = lanes.size() - 1;
  for (; sum > 0 && lanes[sum] <= allowed; --sum) allowed -= lanes[sum];
  return static_cast<float>(sum) / static_cast<float>(kMaxPairSum);
}

void round_to(std::span<const float> row, float scale, std::int8_t* q) noexcept {
  for (std::size_t i = 0; i < row.size(); ++i) {
    q[i] = static_cast<std::int8_t>(std::clamp(std::nearbyint(row[i] / scale), -127.0F, 127.0F));
  }
}

}  // namespace

float quantize_table_row(std::span<const float> row, std::int8_t* q) noexcept {
  float largest = 0;
  for (const float w : row) largest = std::max(largest, std::abs(w));
  const float scale = largest / 127;
  // Zeros, and what is too small for a scale that is a normal number.
  if (!(scale > 1e-37F)) {
    std::fill_n(q, row.size(), std::int8_t{0});
    return 0;
  }
  round_to(row, scale, q);
  return scale;
}

float quantize_weights(std::span<const float> row, std::int8_t* q) noexcept {
  float scale = quantize_table_row(row, q);
  if (scale == 0) return 0;
  while (true) {
    const float pair =
        static_cast<float>(largest_pair_sum({q, row.size()})) / static_cast<float>(kMaxPairSum);
    const float excess = std::max(pair, excess_of_lanes({q, row.size()}));
    if (excess <= 1) return scale;
    // At least a little more each time, since rounding may undo what a small factor does.
    scale *= std::max(1.001F, excess * 0.999F);
    round_to(row, scale, q);
  }
}

bool keeps_pair_rule(std::span<const std::int8_t> row) noexcept {
  return std::ranges::find(row, std::int8_t{-128}) == row.end() && largest_pair_sum(row) <= kMaxPairSum;
}

Int8Matrix allocate_int8(std::size_t n, std::size_t k) {
  assert(n > 0 && k > 0);
  Int8Matrix packed{.n = n, .k = k, .data = {}, .scales = {}, .sums = {}, .wide = {}};
  packed.data = tensor::Buffer<std::int8_t>(packed.panels() * packed.panel_bytes());
  packed.scales = tensor::Buffer<float>(packed.panels() * kPanelColumns);
  packed.sums = tensor::Buffer<float>(packed.panels() * kPanelColumns);
  packed.wide = tensor::Buffer<std::uint8_t>(packed.panels() * packed.steps());
  return packed;
}

namespace {

// One panel of up to 16 rows of bytes. Groups of four stay together, so they move as words.
void pack_panel(const std::int8_t* w, const float* scales, std::size_t panel, std::size_t columns,
                Int8Matrix& packed) noexcept {
  const std::size_t k = packed.k, groups = packed.steps() * 2;
  std::int8_t* out = packed.data.data() + panel * packed.panel_bytes();
  if (columns < kPanelColumns || k < groups * kInt8Group)
    std::fill_n(out, packed.panel_bytes(), std::int8_t{0});
  for (std::size_t j = 0; j < columns; ++j) {
    const std::int8_t* row = w + j * k;
    std::int8_t* column = out + j * kInt8Group;
    std::size_t i = 0;
    for (; i + kInt8Group <= k; i += kInt8Group) std::copy_n(row + i, kInt8Group, column + i * kPanelColumns);
    std::copy_n(row + i, k - i, column + i * kPanelColumns);
  }
  for (std::size_t j = 0; j < kPanelColumns; ++j) {
    const std::size_t at = panel * kPanelColumns + j;
    packed.scales.data()[at] = j < columns ? scales[j] : 0;
    std::int32_t sum = 0;
    for (std::size_t i = 0; j < columns && i < k; ++i) sum += w[j * k + i];
    packed.sums.data()[at] = static_cast<float>(sum);
  }
}

// Where the pairs of two neighbouring groups, which meet in a lane of 16 bits, could exceed it.
void audit_panel(std::size_t panel, Int8Matrix& packed) noexcept {
  std::uint8_t* wide = packed.wide.data() + panel * packed.steps();
  for (std::size_t step = 0; step < packed.steps(); ++step) {
    const std::int8_t* first = packed.panel(panel) + step * kInt8Step * kPanelColumns;
    const std::int8_t* second = first + kInt8Group * kPanelColumns;
    int largest = 0;
    for (std::size_t pair = 0; pair < kInt8Group * kPanelColumns; pair += 2) {
      SignedSums lane;
      for (const std::int8_t* group : {first, second}) lane.add(group[pair]), lane.add(group[pair + 1]);
      largest = std::max(largest, lane.largest());
    }
    wide[step] = largest > kMaxPairSum ? 1 : 0;
  }
}

}  // namespace

void pack_int8_rows(const std::int8_t* w, const float* scales, RowRange range, Int8Matrix& packed) noexcept {
  assert(range.begin % kPanelColumns == 0);
  assert(range.end == packed.n || (range.end < packed.n && range.end % kPanelColumns == 0));
  for (std::size_t row = range.begin; row < range.end; row += kPanelColumns) {
    const std::size_t columns = std::min(kPanelColumns, range.end - row);
    const std::size_t at = row - range.begin;
    pack_panel(w + at * packed.k, scales + at, row / kPanelColumns, columns, packed);
    audit_panel(row / kPanelColumns, packed);
  }
}

Int8Matrix pack_int8(const float* w, std::size_t n, std::size_t k) {
  Int8Matrix packed = allocate_int8(n, k);
  std::vector<std::int8_t> q(n * k);
  std::vector<float> scales(n);
  for (std::size_t j = 0; j < n; ++j) scales[j] = quantize_weights({w + j * k, k}, q.data() + j * k);
  pack_int8_rows(q.data(), scales.data(), {.begin = 0, .end = n}, packed);
  return packed;
}

Int8Rows int8_rows(std::byte* memory, std::size_t rows, std::size_t k) noexcept {
  const std::size_t stride = int8_stride(k);
  Int8Rows out{.data = reinterpret_cast<std::uint8_t*>(memory), .scales = {}, .zeros = {}, .stride = stride};
  out.scales = reinterpret_cast<float*>(memory + rows * stride);
  out.zeros = out.scales + rows;
  return out;
}

}  // namespace kvasir::kernels
