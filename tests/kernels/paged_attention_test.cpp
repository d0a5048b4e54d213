// Attention over pages: the same as over rows of the same numbers, in every grouping of heads, and
// independent of what comes later in the sequence.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "kernel_data.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"
#include "tensor/dtype.h"
#include "test_isa.h"

namespace kvasir::kernels {
namespace {

using tests::Matrix;

const Fp32Kernels& isa() {
  return fp32_kernels_for(tests::test_isa());
}

struct Case {
  std::size_t queries, keys, dim, group;
  KvType type = KvType::kF32;

  std::string name() const {
    return std::to_string(queries) + " queries, " + std::to_string(keys) + " keys, head " +
           std::to_string(dim) + ", group " + std::to_string(group) +
           (type == KvType::kF32   ? ", float"
            : type == KvType::kF16 ? ", half"
                                   : ", bytes");
  }
};

// Two heads' parts a page, of which the second is used, so that offsets count.
struct Paged {
  explicit Paged(const Case& c)
      : layout{.head_dim = c.dim, .type = c.type},
        memory((c.keys + kPageTokens - 1) / kPageTokens * 2 * layout.bytes()) {
    for (std::byte& b : memory.span()) b = std::byte{0xFF};  // NaN, where nothing is stored
    for (std::size_t p = 0; p < memory.size() / (2 * layout.bytes()); ++p) {
      pages.push_back(memory.data() + p * 2 * layout.bytes());
    }
  }
  void store(const Fp32Kernels& kernels, std::size_t token, const float* k, const float* v) {
    std::byte* page = memory.data() + token / kPageTokens * 2 * layout.bytes();
    kernels.store_kv(
        {.k = k, .v = v, .part = page + layout.bytes(), .slot = token % kPageTokens, .layout = layout});
  }
  KvPages view() const { return {.pages = pages.data(), .offset = layout.bytes(), .type = layout.type}; }

  KvLayout layout;
  tensor::Buffer<std::byte> memory;
  std::vector<const std::byte*> pages;
};

struct Problem {
  explicit Problem(const Case& c)
      : shape(c),
        q({c.queries, c.group * c.dim, 7}, 1),
        k({c.keys, c.dim, 9}, 2),
        v({c.keys, c.dim, 9}, 3),
        paged(c) {
    for (std::size_t i = 0; i < c.keys; ++i) paged.store(isa(), i, k.row(i), v.row(i));
    for (Matrix* m : {&k, &v}) {
      for (std::size_t i = 0; i < c.keys; ++i) become_what_is_stored(m->row(i));
    }
  }

  AttentionCall call(const KvPages* pages, Matrix& out) const {
    return {.q = q.data(),
            .k = k.data(),
            .v = v.data(),
            .pages = pages,
            .out = out.data(),
            .q_stride = q.stride(),
            .kv_stride = k.stride(),
            .out_stride = out.stride(),
            .queries = shape.queries,
            .keys = shape.keys,
            .head_dim = shape.dim,
            .group = shape.group,
            .scale = 1 / std::sqrt(static_cast<float>(shape.dim)),
            .query_offset = shape.keys - shape.queries,
            .causal = true};
  }
  // A row of keys or values as the cache gives it back.
  void become_what_is_stored(float* row) const {
    for (std::size_t d = 0; d < shape.dim && shape.type == KvType::kF16; ++d) {
      row[d] = tensor::half_to_float(tensor::float_to_half(row[d]));
    }
    for (std::size_t d = 0; d < shape.dim && shape.type == KvType::kQ8_0; d += kKvBlock) {
      const std::span<float> block(row + d, std::min(kKvBlock, shape.dim - d));
      float largest = 0;
      for (const float x : block) largest = std::max(largest, std::abs(x));
      const float scale = tensor::bfloat16_to_float(kv_scale(largest));
      for (float& x : block) x = std::nearbyint(x / scale) * scale;
    }
  }
  Matrix blank() const { return Matrix({shape.queries, shape.group * shape.dim, 5}); }

  Case shape;
  Matrix q, k, v;
  Paged paged;
};

void attend(const Fp32Kernels& kernels, const AttentionCall& call) {
  tensor::Buffer<float> scratch(kernels.attention_scratch(call.rows(), call.keys, call.head_dim));
  for (float& x : scratch.span()) x = NAN;
  kernels.attention(call, scratch.data());
}

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = [] {
    std::vector<Case> all;
    for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
      for (const std::size_t dim : {2, 5, 10, 16, 20, 64, 80, 128}) {
        for (const std::size_t keys : {1, 15, 16, 17, 40, 513, 1100}) {
          for (const std::size_t group : {1, 3, 8})
            all.push_back({std::min<std::size_t>(keys, 19), keys, dim, group, type});
        }
      }
    }
    return all;
  }();
  return kCases;
}

TEST(PagedAttention, EqualsTheSameRowsBitByBit) {
  for (const Case& c : cases()) {
    const Problem problem(c);
    const KvPages pages = problem.paged.view();
    Matrix by_pages = problem.blank(), by_rows = problem.blank();
    attend(isa(), problem.call(&pages, by_pages));
    attend(isa(), problem.call(nullptr, by_rows));
    ASSERT_TRUE(by_pages.guards_intact()) << c.name();
    ASSERT_TRUE(by_pages.same_bits(by_rows)) << c.name();
  }
}

TEST(PagedAttention, EqualsTheScalarTwin) {
  for (const Case& c : cases()) {
    const Problem problem(c);
    const KvPages pages = problem.paged.view();
    Matrix out = problem.blank(), twin = problem.blank();
    attend(isa(), problem.call(&pages, out));
    attend(fp32_kernels_for(base::Isa::kScalar), problem.call(&pages, twin));
    for (std::size_t i = 0; i < c.queries; ++i) {
      for (std::size_t d = 0; d < c.group * c.dim; ++d) {
        ASSERT_NEAR(out.at(i, d), twin.at(i, d), 8e-6F) << c.name() << " at " << i << ", " << d;
      }
    }
  }
}

// What is stored, to the last bit: also beside a number so large or so small that little is left of others.
TEST(PagedAttention, StoresWhatTheScalarTwinStores) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    for (const std::size_t dim : {1, 2, 5, 10, 16, 20, 31, 33, 64, 80, 128}) {
      for (const float size : {1e-42F, 1e-30F, 1.0F, 3e3F, 1e35F}) {
        const Case c{1, 40, dim, 1, type};
        Matrix k({c.keys, dim, 9}, 2, size), v({c.keys, dim, 9}, 3, size);
        for (std::size_t d = 0; d < dim; ++d) v.at(7, d) = 0;
        k.at(8, 0) = 100 * size;
        Paged paged(c), twin(c);
        for (std::size_t i = 0; i < c.keys; ++i) {
          paged.store(isa(), i, k.row(i), v.row(i));
          twin.store(fp32_kernels_for(base::Isa::kScalar), i, k.row(i), v.row(i));
        }
        ASSERT_TRUE(std::ranges::equal(paged.memory.span(), twin.memory.span()))
            << c.name() << " size " << size;
      }
    }
  }
}

// A number that came to be no number, or infinite, is not hidden by its scale.
TEST(PagedAttention, ShowsWhatIsNotFinite) {
  for (const float wrong :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const Fp32Kernels* kernels : {&isa(), &fp32_kernels_for(base::Isa::kScalar)}) {
      Problem problem({1, 20, 40, 1, KvType::kQ8_0});
      problem.v.at(18, 35) = wrong;
      problem.paged.store(*kernels, 18, problem.k.row(18), problem.v.row(18));
      const KvPages pages = problem.paged.view();
      Matrix out = problem.blank();
      attend(*kernels, problem.call(&pages, out));
      EXPECT_TRUE(std::isfinite(out.at(0, 31)));
      EXPECT_TRUE(std::isnan(out.at(0, 35)));
    }
  }
}

// How far bytes are from the numbers that they stand for: half a step of a 127th of the largest of 32, and
// what comes of it.
TEST(PagedAttention, BytesAreNearWhatTheyStandFor) {
  double squares = 0, errors = 0;
  for (const std::size_t dim : {64, 80, 128}) {
    const Case c{19, 300, dim, 4, KvType::kQ8_0};
    const Problem problem(c);
    const Matrix k({c.keys, c.dim, 9}, 2), v({c.keys, c.dim, 9}, 3);  // before they were stored
    const KvPages pages = problem.paged.view();
    Matrix out = problem.blank(), exact = problem.blank();
    attend(isa(), problem.call(&pages, out));
    AttentionCall call = problem.call(nullptr, exact);
    call.k = k.data();
    call.v = v.data();
    attend(isa(), call);
    for (std::size_t i = 0; i < c.queries; ++i) {
      for (std::size_t d = 0; d < c.group * c.dim; ++d) {
        const auto error = static_cast<double>(out.at(i, d) - exact.at(i, d));
        errors += error * error;
        squares += static_cast<double>(exact.at(i, d)) * static_cast<double>(exact.at(i, d));
      }
    }
  }
  EXPECT_GT(errors, 0);
  EXPECT_LT(std::sqrt(errors / squares), 0.01);
}

// Grouped heads are the heads one by one.
TEST(PagedAttention, AGroupIsItsHeads) {
  const Problem problem({9, 100, 24, 4});
  const KvPages pages = problem.paged.view();
  const Matrix bias({4, 128}, 5);
  Matrix together = problem.blank(), alone = problem.blank();
  AttentionCall call = problem.call(&pages, together);
  call.bias = bias.data() + 20;  // of distances: one place further left for each query
  call.bias_stride = -1;
  call.bias_head_stride = static_cast<std::ptrdiff_t>(bias.stride());
  attend(isa(), call);
  for (std::size_t h = 0; h < 4; ++h) {
    AttentionCall head = problem.call(&pages, alone);
    head.q += h * 24;
    head.out += h * 24;
    head.group = 1;
    head.bias = call.bias + h * bias.stride();
    head.bias_stride = -1;
    attend(isa(), head);
  }
  EXPECT_TRUE(together.same_bits(alone));
}

// What a token computes is the same in a prompt and alone, with the cache ending at it: decoding with a cache
// gives the logits of a whole pass.
TEST(PagedAttention, WhatComesLaterDoesNotCount) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    for (const std::size_t keys : {40, 530, 1100}) {
      const Problem problem({40, keys, 32, 2, type});
      const KvPages pages = problem.paged.view();
      Matrix whole = problem.blank(), single = problem.blank();
      attend(isa(), problem.call(&pages, whole));
      for (std::size_t i = 0; i < 40; ++i) {
        AttentionCall call = problem.call(&pages, single);
        call.q += i * call.q_stride;
        call.out += i * call.out_stride;
        call.query_offset += i;
        call.queries = 1;
        call.keys = call.query_offset + 1;
        attend(isa(), call);
      }
      ASSERT_TRUE(whole.same_bits(single)) << keys;
    }
  }
}

}  // namespace
}  // namespace kvasir::kernels
