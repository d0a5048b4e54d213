// Attention against double precision, over head sizes, lengths, tails and strides; and that a row's result
// does not depend on which queries are computed with it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "kernel_data.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tests::Matrix;

const Fp32Kernels& isa() {
  return fp32_kernels_for(tests::test_isa());
}

struct Head {
  std::size_t queries, keys, dim;
  float size = 1;  // standard deviation of q and k

  std::string name() const {
    return std::to_string(queries) + " queries, " + std::to_string(keys) + " keys, head " +
           std::to_string(dim);
  }
};

struct Problem {
  explicit Problem(const Head& h)
      : head(h),
        q({h.queries, h.dim, 7}, 1, h.size),
        k({h.keys, h.dim, 9}, 2, h.size),
        v({h.keys, h.dim, 9}, 3) {}

  // Queries [first, first + count).
  void run(const Fp32Kernels& kernels, std::size_t first, std::size_t count, Matrix& out) const {
    const std::size_t floats = kernels.attention_scratch(count, head.keys, head.dim);
    tensor::Buffer<float> scratch(floats + 1);
    scratch.data()[floats] = tests::kGuard;
    for (float& x : scratch.span().first(floats)) x = NAN;  // nothing may be read before it is written
    kernels.attention(
        {.q = q.row(first),
         .k = k.data(),
         .v = v.data(),
         .out = out.row(first),
         .q_stride = q.stride(),
         .kv_stride = k.stride(),
         .out_stride = out.stride(),
         .queries = count,
         .keys = head.keys,
         .head_dim = head.dim,
         .scale = scale(),
         .bias = bias == nullptr ? nullptr : bias + static_cast<std::ptrdiff_t>(first) * bias_stride,
         .bias_stride = bias_stride,
         .window = window,
         .query_offset = query_offset + first},
        scratch.data());
    EXPECT_EQ(scratch.data()[floats], tests::kGuard);
  }
  Matrix run(const Fp32Kernels& kernels) const {
    Matrix out({head.queries, head.dim, 5});
    run(kernels, 0, head.queries, out);
    return out;
  }

  float scale() const { return 1 / std::sqrt(static_cast<float>(head.dim)); }

  std::vector<double> exact(std::size_t i) const {
    std::vector<double> p(head.keys, -HUGE_VAL);
    for (std::size_t j = 0; j < head.keys; ++j) {
      const std::size_t at = i + query_offset;
      if ((j > at ? j - at : at - j) > window) continue;
      p[j] = 0;
      for (std::size_t d = 0; d < head.dim; ++d)
        p[j] += static_cast<double>(q.at(i, d)) * static_cast<double>(k.at(j, d));
      p[j] *= static_cast<double>(scale());
      if (bias != nullptr) {
        p[j] += static_cast<double>(
            bias[static_cast<std::ptrdiff_t>(i) * bias_stride + static_cast<std::ptrdiff_t>(j)]);
      }
    }
    const double max = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& x : p) sum += x = std::exp(x - max);
    std::vector<double> out(head.dim);
    for (std::size_t j = 0; j < head.keys; ++j) {
      for (std::size_t d = 0; d < head.dim; ++d) out[d] += p[j] / sum * static_cast<double>(v.at(j, d));
    }
    return out;
  }

  Head head;
  Matrix q, k, v;
  const float* bias = nullptr;
  std::ptrdiff_t bias_stride = 0;
  std::size_t window = kNoWindow, query_offset = 0;
};

void expect_right(const Problem& problem, const Matrix& out, double tolerance) {
  ASSERT_TRUE(out.guards_intact()) << problem.head.name();
  for (std::size_t i = 0; i < problem.head.queries; ++i) {
    const std::vector<double> exact = problem.exact(i);
    for (std::size_t d = 0; d < problem.head.dim; ++d) {
      ASSERT_NEAR(static_cast<double>(out.at(i, d)), exact[d], tolerance)
          << problem.head.name() << " at " << i << ", " << d;
    }
  }
}

// Outputs are averages of values of size 1; scores of size 1 to 5 carry rounding errors of 1e-6 at most.
constexpr double kTolerance = 4e-6;

TEST(Attention, EqualsDoublePrecisionOverShapesAndTails) {
  for (const std::size_t dim : {1, 3, 8, 16, 20, 32, 64, 65, 80, 128}) {
    for (const std::size_t keys : {1, 2, 15, 16, 17, 31, 33, 100}) {
      for (const std::size_t queries : {1, 2, 5, 6, 7, 12, 13, 27}) {
        const Problem problem({queries, keys, dim});
        expect_right(problem, problem.run(isa()), kTolerance);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Attention, MoreKeysThanOneBlock) {
  for (const std::size_t keys : {511, 512, 513, 528, 1024, 1030, 10'000}) {
    for (const std::size_t dim : {8, 64}) {
      const Problem problem({15, keys, dim});
      expect_right(problem, problem.run(isa()), kTolerance);
      if (HasFatalFailure()) return;
    }
  }
}

// Scores of ±1000: their exponentials overflow unless the row's maximum is subtracted, and nearly all of the
// weight lies on one key, in the first block, the last or between.
TEST(Attention, LargeScores) {
  for (const std::size_t keys : {40, 2000}) {
    const Problem problem({25, keys, 16, 16.0F});
    // A score of 1000 is exact to 6e-5 or so.
    expect_right(problem, problem.run(isa()), 1e-3);
  }
}

TEST(Attention, RowsDoNotDependOnTheirNeighbors) {
  for (const Head& head : {Head{40, 70, 8}, Head{40, 513, 32}, Head{50, 1500, 64}, Head{50, 384, 64}}) {
    const Problem problem(head);
    const Matrix whole = problem.run(isa());
    for (const std::size_t step : {1U, 5U, 16U, 33U}) {
      Matrix parts({head.queries, head.dim, 5});
      for (std::size_t first = 0; first < head.queries; first += step) {
        problem.run(isa(), first, std::min(step, head.queries - first), parts);
      }
      ASSERT_TRUE(whole.same_bits(parts)) << head.name() << " by " << step;
    }
  }
}

TEST(Attention, AddsABias) {
  for (const std::size_t keys : {1, 7, 16, 33, 100, 1030}) {
    for (const std::size_t queries : {1, 6, 13}) {
      const Matrix bias({queries, keys, 3}, 4, 3.0F);
      Problem problem({queries, keys, 20});
      problem.bias = bias.data();
      problem.bias_stride = static_cast<std::ptrdiff_t>(bias.stride());
      expect_right(problem, problem.run(isa()), kTolerance);
      if (HasFatalFailure()) return;
    }
  }
}

// One array of distances, read one place further left for each query.
TEST(Attention, AddsABiasOfDistances) {
  constexpr std::size_t kLength = 70;
  const Matrix distances({1, 2 * kLength - 1}, 5, 3.0F);
  Problem problem({kLength, kLength, 16});
  problem.bias = distances.data() + kLength - 1;
  problem.bias_stride = -1;
  const Matrix whole = problem.run(isa());
  expect_right(problem, whole, kTolerance);
  Matrix parts({kLength, 16, 5});
  problem.run(isa(), 0, 30, parts);
  problem.run(isa(), 30, kLength - 30, parts);
  EXPECT_TRUE(whole.same_bits(parts));
}

// Windows that begin and end within a block of keys, at its edges, and beyond; rows that see nothing of a
// block.
TEST(Attention, Windows) {
  for (const std::size_t window : {0, 1, 5, 17, 64, 600}) {
    for (const std::size_t keys : {1, 15, 40, 150, 700, 1600}) {
      Problem problem({std::min<std::size_t>(keys, 90), keys, 24});
      problem.window = window;
      for (const std::size_t offset : {std::size_t{0}, keys / 2, keys - problem.head.queries}) {
        if (offset + problem.head.queries > keys + window) continue;  // the last would see no key
        problem.query_offset = offset;
        expect_right(problem, problem.run(isa()), kTolerance);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Attention, WindowsTogetherWithABias) {
  for (const std::size_t keys : {60, 1200}) {
    const Matrix bias({60, keys}, 6, 3.0F);
    Problem problem({60, keys, 16});
    problem.bias = bias.data();
    problem.bias_stride = static_cast<std::ptrdiff_t>(bias.stride());
    problem.window = 9;
    problem.query_offset = keys - 60;
    expect_right(problem, problem.run(isa()), kTolerance);
  }
}

// A row's result is the same whether the keys outside its window are there or not.
TEST(Attention, KeysOutsideAWindowDoNotCount) {
  Problem problem({20, 300, 16});
  problem.window = 30;
  problem.query_offset = 100;
  const Matrix all = problem.run(isa());
  for (std::size_t j = 0; j < 300; ++j) {
    if (j >= 70 && j < 150) continue;
    for (std::size_t d = 0; d < 16; ++d) problem.k.at(j, d) = problem.v.at(j, d) = 1e6F;
  }
  EXPECT_TRUE(all.same_bits(problem.run(isa())));
}

TEST(Attention, EqualsTheScalarTwin) {
  const Problem problem({30, 600, 40});
  const Matrix out = problem.run(isa());
  const Matrix twin = problem.run(fp32_kernels_for(base::Isa::kScalar));
  for (std::size_t i = 0; i < 30; ++i) {
    for (std::size_t d = 0; d < 40; ++d) ASSERT_NEAR(out.at(i, d), twin.at(i, d), 2 * kTolerance);
  }
}

}  // namespace
}  // namespace kvasir::kernels
