// kvasir_gate: whether the hot kernels are as fast as they should be, as shares of what the same machine did
// in the same second. For .ci/run; exits with 1 if one is not.
//
// No figure is a number of milliseconds that somebody once measured. A kernel is compared with a reference: a
// loop of the same instructions on registers alone (the ceiling), its scalar twin, or the slower path to the
// same result. The two take turns on one thread, each figure is the best of many short runs, which fit
// between the interruptions of a busy machine, and the median of the rounds' ratios counts. What falls short
// is tried again a little later, and fails the third time. Thresholds lie far below what an idle machine
// shows: they catch a kernel that lost its registers, its inlining or its instruction set, not a few percent.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "kernels/bf16.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"
#include "kernels/quants.h"
#include "tensor/buffer.h"
#include "tensor/round_to_quants.h"
#include "text/loading/tokenizer_json.h"
#include "text/models/wordpiece.h"
#include "text/one_pass/bert_one_pass.h"
#include "text/pipeline.h"

namespace {

using namespace kvasir;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 7;
constexpr int kAttempts = 3;
constexpr auto kPause = std::chrono::seconds(3);  // before another attempt: a compiler next door may be done
constexpr double kWindow = 0.03;                  // seconds that one figure of a round is sought in
constexpr double kRun =
    3e-4;  // seconds of one run at least: well above a clock's step, well below a time slice
constexpr int kMinRuns = 5;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

using Rate = std::function<double()>;  // measures anew at each call

// `work` per second, in the fastest run of a window.
Rate rate_of(double work, std::function<void()> body) {
  return [work, body = std::move(body)] {
    body();
    int repeats = 1;
    double best = 0;
    const auto begin = Clock::now();
    for (int run = 0; run < kMinRuns || seconds_since(begin) < kWindow; ++run) {
      const auto start = Clock::now();
      for (int i = 0; i < repeats; ++i) body();
      const double seconds = seconds_since(start);
      best = std::max(best, work * repeats / seconds);
      if (seconds < kRun) repeats *= 2;
    }
    return best;
  };
}

struct Check {
  std::string name;
  Rate subject, reference;
  double least;      // subject / reference
  const char* unit;  // what that is a share of
};

constexpr const char* kCeiling = "of the ceiling";
constexpr const char* kTwin = "times the scalar twin";

std::vector<float> random_floats(std::size_t count, float scale = 1) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(random);
  return values;
}

// BERT-base's attention projections for a short window.
constexpr std::size_t kRows = 128, kWide = 768;
constexpr std::size_t kSoftmaxKeys = 384, kNormRows = 8, kInner = 3072;

Rate fp32_product(base::Isa isa) {
  const kernels::Fp32Kernels& table = kernels::fp32_kernels_for(isa);
  const std::vector<float> w = random_floats(kWide * kWide);
  struct Data {
    base::ThreadPool pool{1};
    kernels::PackedMatrix b;
    std::vector<float> a = random_floats(kRows * kWide), c = std::vector<float>(kRows * kWide);
  };
  const auto data = std::make_shared<Data>();
  data->b = kernels::pack(table, w.data(), kWide, kWide);
  return rate_of(static_cast<double>(kRows * kWide * kWide), [&table, data] {
    kernels::gemm(
        table, data->pool,
        {.a = data->a.data(), .lda = kWide, .b = &data->b, .c = data->c.data(), .ldc = kWide, .m = kRows});
  });
}

Rate int8_product(base::Isa isa) {
  const kernels::Int8Kernels& table = kernels::int8_kernels_for(isa);
  const std::vector<float> a = random_floats(kRows * kWide), w = random_floats(kWide * kWide);
  struct Data {
    base::ThreadPool pool{1};
    kernels::Int8Matrix b;
    tensor::Buffer<std::byte> memory{kernels::int8_rows_bytes(kRows, kWide)};
    std::vector<float> c = std::vector<float>(kRows * kWide);
  };
  const auto data = std::make_shared<Data>();
  data->b = kernels::pack_int8(w.data(), kWide, kWide);
  const kernels::Int8Rows rows = kernels::int8_rows(data->memory.data(), kRows, kWide);
  table.quantize({.x = a.data(), .ldx = kWide, .rows = kRows, .columns = kWide}, rows);
  return rate_of(static_cast<double>(kRows * kWide * kWide), [&table, data, rows] {
    kernels::gemm(table, data->pool,
                  {.a = rows, .b = &data->b, .c = data->c.data(), .ldc = kWide, .m = kRows});
  });
}

Rate bf16_product(const kernels::Bf16Kernels& table) {
  const std::vector<float> x = random_floats(kRows * kWide), w = random_floats(kWide * kWide);
  struct Data {
    base::ThreadPool pool{1};
    kernels::Bf16Matrix b = kernels::allocate_bf16(kWide, kWide);
    std::vector<std::uint16_t> a = std::vector<std::uint16_t>(kRows * kernels::bf16_stride(kWide));
    std::vector<float> c = std::vector<float>(kRows * kWide);
  };
  const auto data = std::make_shared<Data>();
  kernels::pack_bf16_rows(w.data(), {.begin = 0, .end = kWide}, data->b);
  table.convert({.x = x.data(), .ldx = kWide, .y = data->a.data(), .rows = kRows, .columns = kWide});
  return rate_of(static_cast<double>(kRows * kWide * kWide), [&table, data] {
    kernels::gemm(table, data->pool,
                  {.a = data->a.data(),
                   .lda = kernels::bf16_stride(kWide),
                   .b = &data->b,
                   .c = data->c.data(),
                   .ldc = kWide,
                   .m = kRows});
  });
}

// Weights of a language model as they are stored.
constexpr std::size_t kStored = 2048;

kernels::QuantMatrix stored_weights(tensor::DType dtype) {
  const std::vector<float> w = random_floats(kStored * kStored);
  std::vector<std::byte> rows(tensor::dtype_bytes(dtype, w.size()));
  tensor::round_to_quants(dtype, w, rows.data());
  kernels::QuantMatrix packed = kernels::allocate_quants(dtype, kStored, kStored);
  kernels::pack_quant_rows(rows.data(), {0, kStored}, packed);
  return packed;
}

struct StoredProduct {
  StoredProduct(const kernels::QuantKernels& kernels, std::size_t tokens)
      : table(kernels),
        m(tokens),
        memory(kernels::quant_rows_bytes(tokens, kStored)),
        rows(kernels::quant_rows(memory.data(), tokens, kStored)),
        c(tokens * kStored) {
    const std::vector<float> x = random_floats(tokens * kStored);
    table.quantize({.x = x.data(), .ldx = kStored, .rows = tokens, .columns = kStored}, rows);
  }
  void run(const kernels::QuantMatrix& b) {
    kernels::gemm(table, pool, {.a = rows, .b = &b, .c = c.data(), .ldc = kStored, .m = m});
  }

  const kernels::QuantKernels& table;
  base::ThreadPool pool{1};
  std::size_t m;
  tensor::Buffer<std::byte> memory;
  kernels::QuantRows rows;
  std::vector<float> c;
};

Rate quant_product(base::Isa isa, tensor::DType dtype) {
  const auto data = std::make_shared<StoredProduct>(kernels::quant_kernels_for(isa), kRows);
  const auto b = std::make_shared<kernels::QuantMatrix>(stored_weights(dtype));
  return rate_of(static_cast<double>(kRows * kStored * kStored), [data, b] { data->run(*b); });
}

// Bytes of weights per second, for one token, of matrices that no cache holds together.
Rate decoding(base::Isa isa, tensor::DType dtype) {
  constexpr std::size_t kStreamed = std::size_t{192} << 20U;
  const auto data = std::make_shared<StoredProduct>(kernels::quant_kernels_for(isa), 1);
  const auto weights = std::make_shared<std::vector<kernels::QuantMatrix>>();
  for (std::size_t bytes = 0; bytes < kStreamed; bytes += weights->front().bytes()) {
    if (weights->empty()) {
      weights->push_back(stored_weights(dtype));
      continue;
    }
    kernels::QuantMatrix copy = kernels::allocate_quants(dtype, kStored, kStored);
    std::memcpy(copy.data.data(), weights->front().data.data(), copy.data.size());
    std::memcpy(copy.halves.data(), weights->front().halves.data(),
                copy.halves.size() * sizeof(std::uint16_t));
    weights->push_back(std::move(copy));
  }
  const double bytes = static_cast<double>(weights->size() * weights->front().bytes());
  return rate_of(bytes, [data, weights] {
    for (const kernels::QuantMatrix& b : *weights) data->run(b);
  });
}

Rate half_product(base::Isa isa) {
  const std::vector<float> w = random_floats(kWide * kWide);
  std::vector<std::uint16_t> halves(w.size());
  for (std::size_t i = 0; i < w.size(); ++i) halves[i] = tensor::float_to_half(w[i]);
  struct Data {
    base::ThreadPool pool{1};
    kernels::HalfMatrix b = kernels::allocate_half(tensor::DType::kF16, kWide, kWide);
    std::vector<float> a = random_floats(kRows * kWide), c = std::vector<float>(kRows * kWide);
  };
  const auto data = std::make_shared<Data>();
  kernels::pack_half_rows(reinterpret_cast<const std::byte*>(halves.data()), {0, kWide}, data->b);
  return rate_of(static_cast<double>(kRows * kWide * kWide), [&table = kernels::half_kernels_for(isa), data] {
    kernels::gemm(
        table, data->pool,
        {.a = data->a.data(), .lda = kWide, .b = &data->b, .c = data->c.data(), .ldc = kWide, .m = kRows});
  });
}

Rate quant_rounding(base::Isa isa) {
  struct Data {
    std::vector<float> x = random_floats(kNormRows * kWide);
    tensor::Buffer<std::byte> memory{kernels::quant_rows_bytes(kNormRows, kWide)};
  };
  const auto data = std::make_shared<Data>();
  const kernels::QuantRows rows = kernels::quant_rows(data->memory.data(), kNormRows, kWide);
  return rate_of(
      static_cast<double>(kNormRows * kWide), [&table = kernels::quant_kernels_for(isa), data, rows] {
        table.quantize({.x = data->x.data(), .ldx = kWide, .rows = kNormRows, .columns = kWide}, rows);
      });
}

// Values that become bytes per second.
Rate quantization(base::Isa isa) {
  struct Data {
    std::vector<float> x = random_floats(kNormRows * kWide);
    tensor::Buffer<std::byte> memory{kernels::int8_rows_bytes(kNormRows, kWide)};
  };
  const auto data = std::make_shared<Data>();
  const kernels::Int8Rows rows = kernels::int8_rows(data->memory.data(), kNormRows, kWide);
  return rate_of(
      static_cast<double>(kNormRows * kWide), [&table = kernels::int8_kernels_for(isa), data, rows] {
        table.quantize({.x = data->x.data(), .ldx = kWide, .rows = kNormRows, .columns = kWide}, rows);
      });
}

// One head of BERT over a full window: multiply-adds of its two products per second.
Rate fp32_attention(base::Isa isa) {
  constexpr std::size_t kTokens = 384, kHead = 64;
  const kernels::Fp32Kernels& table = kernels::fp32_kernels_for(isa);
  struct Data {
    std::vector<float> qkv = random_floats(3 * kTokens * kHead), out = std::vector<float>(kTokens * kHead);
    tensor::Buffer<float> scratch;
  };
  const auto data = std::make_shared<Data>();
  data->scratch = tensor::Buffer<float>(table.attention_scratch(kTokens, kTokens, kHead));
  return rate_of(static_cast<double>(2 * kTokens * kTokens * kHead), [&table, data] {
    const float* q = data->qkv.data();
    table.attention({.q = q,
                     .k = q + kTokens * kHead,
                     .v = q + 2 * kTokens * kHead,
                     .out = data->out.data(),
                     .q_stride = kHead,
                     .kv_stride = kHead,
                     .out_stride = kHead,
                     .queries = kTokens,
                     .keys = kTokens,
                     .head_dim = kHead,
                     .scale = 0.125F},
                    data->scratch.data());
  });
}

// Kernels that go over rows of floats in place: values per second. Each run begins with the same values.
using InPlace = std::function<void(const kernels::Fp32Kernels&, float*)>;

Rate in_place(base::Isa isa, std::size_t count, InPlace kernel) {
  struct Data {
    std::vector<float> source, x;
  };
  const auto data = std::make_shared<Data>(Data{random_floats(count, 4), std::vector<float>(count)});
  return rate_of(static_cast<double>(count),
                 [&table = kernels::fp32_kernels_for(isa), data, count, kernel = std::move(kernel)] {
                   std::memcpy(data->x.data(), data->source.data(), count * sizeof(float));
                   kernel(table, data->x.data());
                 });
}

void softmax(const kernels::Fp32Kernels& table, float* x) {
  table.softmax(x, kSoftmaxKeys);
}
void gelu(const kernels::Fp32Kernels& table, float* x) {
  table.activate(kernels::Activation::kGelu, x, kInner);
}
void layer_norm(const kernels::Fp32Kernels& table, float* x) {
  static const std::vector<float> weight = random_floats(kWide), bias = random_floats(kWide);
  table.layer_norm(
      {.x = x, .weight = weight.data(), .bias = bias.data(), .y = x, .rows = kNormRows, .columns = kWide});
}

void rms_norm(const kernels::Fp32Kernels& table, float* x) {
  static const std::vector<float> weight = random_floats(kWide);
  table.rms_norm({.x = x, .weight = weight.data(), .y = x, .rows = kNormRows, .columns = kWide});
}
void silu(const kernels::Fp32Kernels& table, float* x) {
  table.activate(kernels::Activation::kSilu, x, kInner);
}

// Products with weights as language models store them.
void add_stored_weights(std::vector<Check>& checks, base::Isa isa) {
  const std::string name = std::string(base::isa_name(isa)) + " ";
  const auto fp32_ceiling = [isa] { return kernels::measure_fma_ceiling(isa, 1); };
  const auto int8_ceiling = [isa] { return kernels::measure_int8_ceiling(isa, 1); };
  const auto bandwidth = [] { return kernels::measure_bandwidth(1); };
  using tensor::DType;
  checks.push_back({name + "F16 product", half_product(isa), fp32_ceiling, 0.7, kCeiling});
  for (const DType dtype : {DType::kQ4_0, DType::kQ8_0, DType::kQ4_K}) {
    const std::string type = tensor::dtype_name(dtype);
    checks.push_back({name + type + " product", quant_product(isa, dtype), int8_ceiling, 0.3, kCeiling});
    checks.push_back({name + type + " decoding", decoding(isa, dtype), bandwidth, 0.45, "of the bandwidth"});
  }
  checks.push_back(
      {name + "blocks of rows", quant_rounding(isa), quant_rounding(base::Isa::kScalar), 4, kTwin});
}

// What a vector instruction set has to show. One line per kernel.
void add_kernels(std::vector<Check>& checks, base::Isa isa) {
  const std::string name = std::string(base::isa_name(isa)) + " ";
  const auto fp32_ceiling = [isa] { return kernels::measure_fma_ceiling(isa, 1); };
  const auto int8_ceiling = [isa] { return kernels::measure_int8_ceiling(isa, 1); };
  const auto against_twin = [&](const char* kernel, double least, std::size_t count, const InPlace& body) {
    checks.push_back(
        {name + kernel, in_place(isa, count, body), in_place(base::Isa::kScalar, count, body), least, kTwin});
  };
  checks.push_back({name + "fp32 product", fp32_product(isa), fp32_ceiling, 0.75, kCeiling});
  checks.push_back({name + "int8 product", int8_product(isa), int8_ceiling, 0.75, kCeiling});
  if (const kernels::Bf16Kernels* bf16 = kernels::bf16_kernels_for(isa)) {
    const auto ceiling = [isa] { return kernels::measure_bf16_ceiling(isa, 1); };
    checks.push_back({name + "bf16 product", bf16_product(*bf16), ceiling, 0.75, kCeiling});
  }
  checks.push_back({name + "fp32 attention", fp32_attention(isa), fp32_ceiling, 0.55, kCeiling});
  checks.push_back(
      {name + "rounding to bytes", quantization(isa), quantization(base::Isa::kScalar), 6, kTwin});
  against_twin("softmax", 4, kSoftmaxKeys, softmax);
  against_twin("GELU", 6, kInner, gelu);
  against_twin("LayerNorm", 4, kNormRows * kWide, layer_norm);
  against_twin("RMSNorm", 4, kNormRows * kWide, rms_norm);
  against_twin("SiLU", 4, kInner, silu);
  add_stored_weights(checks, isa);
}

// WordPiece in one pass against its parts one after the other: bytes per second.
void add_tokenizer(std::vector<Check>& checks, const std::filesystem::path& source) {
  struct Data {
    text::TokenizerParts parts;
    std::unique_ptr<text::BertOnePass> one_pass;
    std::string text;
  };
  const auto data = std::make_shared<Data>();
  data->parts = text::load_tokenizer_json(source / "models/kvasir-base/tokenizer.json");
  data->one_pass = std::make_unique<text::BertOnePass>(
      text::BertNormalizerOptions{}, dynamic_cast<const text::WordPiece&>(*data->parts.model));
  std::ifstream file(source / "examples/bell-rock.txt");
  data->text.assign(std::istreambuf_iterator<char>(file), {});
  if (data->text.empty()) throw std::runtime_error("no text in examples/bell-rock.txt");
  const auto rate = [&](auto tokenize) {
    return rate_of(static_cast<double>(data->text.size()), [data, tokenize] {
      text::TokenizedText out;
      text::TokenSink sink(out, data->text);
      tokenize(*data, text::Piece{0, data->text.size()}, sink);
    });
  };
  checks.push_back({"WordPiece in one pass",
                    rate([](const Data& d, text::Piece piece, text::TokenSink& sink) {
                      d.one_pass->tokenize(d.text, piece, sink);
                    }),
                    rate([](const Data& d, text::Piece piece, text::TokenSink& sink) {
                      text::tokenize_by_parts(d.parts, d.text, piece, sink);
                    }),
                    8, "times its parts"});
}

double median_ratio(const Check& check) {
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    const double reference = check.reference();
    ratios.push_back(check.subject() / reference);
  }
  std::nth_element(ratios.begin(), ratios.begin() + kRounds / 2, ratios.end());
  return ratios[kRounds / 2];
}

bool passes(const Check& check) {
  for (int attempt = 1; attempt <= kAttempts; ++attempt) {
    if (attempt > 1) std::this_thread::sleep_for(kPause);
    const double ratio = median_ratio(check);
    const bool good = ratio >= check.least;
    std::printf("%-24s %7.2f %s, at least %.2f: %s\n", check.name.c_str(), ratio, check.unit, check.least,
                good                  ? "good"
                : attempt < kAttempts ? "too slow, once more"
                                      : "TOO SLOW");
    std::fflush(stdout);
    if (good) return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: kvasir_gate SOURCE_TREE\n");
    return 2;
  }
  try {
    std::vector<Check> checks;
    for (const base::Isa isa : base::available_isas()) {
      if (isa != base::Isa::kScalar) add_kernels(checks, isa);
    }
    add_tokenizer(checks, argv[1]);
    int slow = 0;
    for (const Check& check : checks) slow += !passes(check);
    if (slow == 0) return 0;
    std::fprintf(stderr, "kvasir_gate: %d of %zu are slower than they should be\n", slow, checks.size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvasir_gate: %s\n", error.what());
  }
  return 1;
}
