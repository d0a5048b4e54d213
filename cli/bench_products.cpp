// Matrix products on this machine, against the ceiling of its multiply-adds and of its memory.
#include <algorithm>
#include <array>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "bench.h"
#include "kernels/bf16.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"
#include "kernels/quants.h"
#include "tensor/round_to_quants.h"

namespace kvasir::cli {

namespace {

struct Shape {
  const char* name;
  std::size_t m, n, k;
};
// The matrix products of MiniLM (hidden size 384) and BERT-base (768), for one short and one full window.
constexpr std::array<Shape, 8> kShapes = {{
    {"MiniLM attention", 128, 384, 384},
    {"MiniLM FFN up", 128, 1536, 384},
    {"MiniLM FFN down", 128, 384, 1536},
    {"MiniLM FFN up", 384, 1536, 384},
    {"BERT-base attention", 128, 768, 768},
    {"BERT-base FFN up", 128, 3072, 768},
    {"BERT-base FFN down", 128, 768, 3072},
    {"BERT-base FFN up", 384, 3072, 768},
}};

std::vector<float> random_floats(std::size_t count) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

// One table of products; make(shape) makes the operands and returns what runs the product.
using MakeProduct = std::function<std::function<void()>(const Shape& shape)>;
void bench_table(Report& report, const std::string& section, double ceiling, const MakeProduct& make) {
  report.add({section, section.substr(section.rfind(' ') + 1) + " ceiling", "GMAC/s", ceiling / 1e9, {}});
  for (const Shape& shape : kShapes) {
    const double seconds = best_seconds(make(shape));
    const double rate =
        static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k) / seconds;
    report.add({section, std::string(shape.name) + ", " + std::to_string(shape.m) + " tokens", "GMAC/s",
                rate / 1e9, rate / ceiling});
  }
}

}  // namespace

void bench_products(Report& report, base::Isa isa, int threads, const Ceilings& ceilings) {
  base::ThreadPool pool(threads);
  const kernels::Fp32Kernels& fp32 = kernels::fp32_kernels_for(isa);
  std::vector<float> a, c;
  kernels::PackedMatrix floats;
  const auto prepare = [&](const Shape& shape) {
    a = random_floats(shape.m * shape.k);
    c.resize(shape.m * shape.n);
    return random_floats(shape.n * shape.k);
  };
  bench_table(report, "Matrix products, fp32", ceilings.fp32, [&](const Shape& shape) {
    floats = kernels::pack(fp32, prepare(shape).data(), shape.n, shape.k);
    return [&] {
      kernels::gemm(
          fp32, pool,
          {.a = a.data(), .lda = shape.k, .b = &floats, .c = c.data(), .ldc = shape.n, .m = shape.m});
    };
  });
  if (ceilings.bf16 > 0) {
    const kernels::Bf16Kernels& bf16 = *kernels::bf16_kernels_for(isa);
    kernels::Bf16Matrix halves;
    std::vector<std::uint16_t> rows;
    bench_table(report, "Matrix products, bf16", ceilings.bf16, [&](const Shape& shape) {
      halves = kernels::allocate_bf16(shape.n, shape.k);
      kernels::pack_bf16_rows(prepare(shape).data(), {.begin = 0, .end = shape.n}, halves);
      rows.resize(shape.m * kernels::bf16_stride(shape.k));
      bf16.convert({.x = a.data(), .ldx = shape.k, .y = rows.data(), .rows = shape.m, .columns = shape.k});
      return [&] {
        kernels::gemm(bf16, pool,
                      {.a = rows.data(),
                       .lda = kernels::bf16_stride(shape.k),
                       .b = &halves,
                       .c = c.data(),
                       .ldc = shape.n,
                       .m = shape.m});
      };
    });
  }
  const kernels::Int8Kernels& int8 = kernels::int8_kernels_for(isa);
  kernels::Int8Matrix bytes;
  tensor::Buffer<std::byte> memory;
  kernels::Int8Rows rows;
  bench_table(report, "Matrix products, int8", ceilings.int8, [&](const Shape& shape) {
    bytes = kernels::pack_int8(prepare(shape).data(), shape.n, shape.k);
    memory = tensor::Buffer<std::byte>(kernels::int8_rows_bytes(shape.m, shape.k));
    rows = kernels::int8_rows(memory.data(), shape.m, shape.k);
    int8.quantize({.x = a.data(), .ldx = shape.k, .rows = shape.m, .columns = shape.k}, rows);
    return [&] {
      kernels::gemm(int8, pool, {.a = rows, .b = &bytes, .c = c.data(), .ldc = shape.n, .m = shape.m});
    };
  });
}

namespace {

// Weights of language models as they are stored, so many times over that no cache holds them.
class StoredWeights {
 public:
  StoredWeights(tensor::DType dtype, std::size_t n, std::size_t k)
      : n_(n), k_(k), is_half_(dtype == tensor::DType::kF16) {
    constexpr std::size_t kStreamed = std::size_t{1} << 29U;  // more than caches hold
    constexpr std::size_t kDistinct = 64;                     // rows: what they are does not change the time
    const std::size_t row_bytes = tensor::dtype_bytes(dtype, k);
    std::vector<std::byte> rows(n * row_bytes);
    const std::vector<float> values = random_floats(kDistinct * k);
    for (std::size_t row = 0; row < n; ++row) {
      std::byte* to = rows.data() + row * row_bytes;
      if (row >= kDistinct || is_half_) {
        std::copy_n(rows.data() + row % kDistinct * row_bytes, row_bytes, to);
      } else {
        tensor::round_to_quants(dtype, {values.data() + row * k, k}, to);
      }
    }
    for (std::size_t bytes = 0; bytes < kStreamed; bytes += n * row_bytes) {
      if (is_half_) {
        kernels::pack_half_rows(rows.data(), {0, n},
                                halves_.emplace_back(kernels::allocate_half(dtype, n, k)));
      } else {
        kernels::pack_quant_rows(rows.data(), {0, n},
                                 quants_.emplace_back(kernels::allocate_quants(dtype, n, k)));
      }
    }
  }

  std::size_t count() const { return is_half_ ? halves_.size() : quants_.size(); }
  double bytes() const {
    return static_cast<double>(count() * (is_half_ ? halves_[0].bytes() : quants_[0].bytes()));
  }

  // Seconds of the product of m tokens with `count` of them.
  double seconds(base::Isa isa, base::ThreadPool& pool, std::size_t m, std::size_t count) const {
    const std::vector<float> x = random_floats(m * k_);
    std::vector<float> y(m * n_);
    const kernels::QuantKernels& kernels = kernels::quant_kernels_for(isa);
    tensor::Buffer<std::byte> memory(kernels::quant_rows_bytes(m, k_));
    const kernels::QuantRows rows = kernels::quant_rows(memory.data(), m, k_);
    return best_seconds([&] {
      if (!is_half_) kernels.quantize({.x = x.data(), .ldx = k_, .rows = m, .columns = k_}, rows);
      for (std::size_t i = 0; i < count; ++i) {
        if (is_half_) {
          kernels::gemm(kernels::half_kernels_for(isa), pool,
                        {.a = x.data(), .lda = k_, .b = &halves_[i], .c = y.data(), .ldc = n_, .m = m});
        } else {
          kernels::gemm(kernels, pool, {.a = rows, .b = &quants_[i], .c = y.data(), .ldc = n_, .m = m});
        }
      }
    });
  }

 private:
  std::size_t n_, k_;
  bool is_half_;
  std::vector<kernels::QuantMatrix> quants_;
  std::vector<kernels::HalfMatrix> halves_;
};

// The matrices of language models: of 7 billion parameters (4096 and 11008), and of 135 million (576, 1536
// and the vocabulary).
struct StoredShape {
  tensor::DType dtype;
  std::size_t n, k;
  bool prefill;  // measured too
};
constexpr std::array<StoredShape, 9> kStoredShapes = {{{tensor::DType::kQ4_0, 4096, 4096, true},
                                                       {tensor::DType::kQ8_0, 4096, 4096, true},
                                                       {tensor::DType::kQ4_K, 4096, 4096, true},
                                                       {tensor::DType::kQ6_K, 4096, 4096, true},
                                                       {tensor::DType::kF16, 4096, 4096, true},
                                                       {tensor::DType::kQ4_0, 11008, 4096, false},
                                                       {tensor::DType::kQ4_0, 576, 576, false},
                                                       {tensor::DType::kQ4_0, 1536, 576, false},
                                                       {tensor::DType::kQ4_0, 49152, 576, false}}};

}  // namespace

void bench_stored_weights(Report& report, base::Isa isa, int threads, const Ceilings& ceilings) {
  constexpr std::size_t kBatch = 8, kPrompt = 512;
  base::ThreadPool pool(threads);
  const std::string decoding = "Decoding with weights as stored", prefill = "Prompts with weights as stored";
  std::vector<Figure> decodes, prompts;
  double best_bandwidth = 0;
  for (const StoredShape& shape : kStoredShapes) {
    const StoredWeights weights(shape.dtype, shape.n, shape.k);
    const std::string name = std::string(tensor::dtype_name(shape.dtype)) + ", " + std::to_string(shape.n) +
                             " x " + std::to_string(shape.k) + ", ";
    // Anew for each: what memory gives changes with what else runs on a machine, by a quarter and more.
    const double bandwidth = kernels::measure_bandwidth(threads);
    best_bandwidth = std::max(best_bandwidth, bandwidth);
    for (const std::size_t m : {std::size_t{1}, kBatch}) {
      const double rate = weights.bytes() / weights.seconds(isa, pool, m, weights.count());
      decodes.push_back({decoding, name + std::to_string(m) + (m == 1 ? " token" : " tokens"), "GB/s",
                         rate / 1e9, rate / bandwidth});
    }
    if (!shape.prefill) continue;
    const double work = static_cast<double>(kPrompt * shape.n * shape.k);
    const double rate = work / weights.seconds(isa, pool, kPrompt, 1);
    prompts.push_back({prefill, name + std::to_string(kPrompt) + " tokens", "GMAC/s", rate / 1e9,
                       rate / (shape.dtype == tensor::DType::kF16 ? ceilings.fp32 : ceilings.int8)});
  }
  report.add({decoding, "read bandwidth", "GB/s", best_bandwidth / 1e9, {}});
  for (const Figure& figure : decodes) report.add(figure);
  for (const Figure& figure : prompts) report.add(figure);
}

}  // namespace kvasir::cli
