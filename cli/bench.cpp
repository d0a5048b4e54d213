// kvasir bench: how fast this machine runs kvasir, and what share of what it could do that is.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/thread_pool.h"
#include "command.h"
#include "interrupt.h"
#include "json_output.h"
#include "kernels/bf16.h"
#include "kernels/blocks.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"
#include "model_location.h"
#include "progress.h"
#include "reader_options.h"
#include "runtime/engine.h"
#include "tensor/quantize.h"
#include "text/tokenizer.h"

namespace kvasir::cli {

namespace {

constexpr const char* kFooter =
    R"(Each figure is the best of several runs, so that a busy neighbour counts little.
A ceiling is what a loop of multiply-adds on registers alone reaches on this
machine in that precision, with these threads and this instruction set
(KVASIR_ISA). That of decoding, which reads each weight once for a few tokens,
is what these threads read from memory just before. The encoder's share is that
of the precision it computes in; attention and all that is not a product count
against it.

Examples:
  kvasir bench
  KVASIR_ISA=avx2 kvasir bench --threads 2 --json)";

// Seconds that one figure is measured for; about fifty figures take some 30 seconds together.
constexpr double kBudget = 0.4;
constexpr int kMinRuns = 2;

// Seconds of the fastest run.
double best_seconds(const std::function<void()>& body) {
  double best = 1e30;
  const double begin = monotonic_seconds();
  for (int run = 0; run < kMinRuns || monotonic_seconds() - begin < kBudget; ++run) {
    check_interrupt();
    const double start = monotonic_seconds();
    body();
    best = std::min(best, monotonic_seconds() - start);
  }
  return best;
}

// English-like text: the words below in random order, with the punctuation and the unknown names of real
// text.
std::string sample_text(std::size_t bytes) {
  constexpr auto kWords = std::to_array<std::string_view>({"the",
                                                           "of",
                                                           "and",
                                                           "in",
                                                           "to",
                                                           "a",
                                                           "was",
                                                           "is",
                                                           "for",
                                                           "with",
                                                           "treaty",
                                                           "signed",
                                                           "lighthouse",
                                                           "government",
                                                           "century",
                                                           "after",
                                                           "population",
                                                           "between",
                                                           "university",
                                                           "scientists",
                                                           "measured",
                                                           "temperature",
                                                           "because",
                                                           "known",
                                                           "Porthcawl",
                                                           "1868",
                                                           "3.5",
                                                           "million",
                                                           "Rees's",
                                                           "northern",
                                                           "photosynthesis",
                                                           "which",
                                                           "their",
                                                           "designed",
                                                           "Mary",
                                                           "Ellen",
                                                           "company",
                                                           "German-speaking"});
  std::mt19937 random(1);  // the same text every time
  std::string text;
  while (text.size() < bytes) {
    for (std::size_t i = 0, length = 8 + random() % 16; i < length; ++i) {
      text += kWords[random() % kWords.size()];
      text += i + 1 == length ? ". " : random() % 12 == 0 ? ", " : " ";
    }
  }
  return text;
}

// One line of the report.
struct Figure {
  std::string section, name, unit;
  double value = 0;
  std::optional<double> share;  // of the ceiling
};

class Report {
 public:
  explicit Report(Program& program, bool json) : program_(program), json_(json) {}

  void add(const Figure& figure) {
    if (json_) {
      figures_.push_back(figure);
      return;
    }
    std::string out;
    if (figure.section != section_) {
      const Style style = make_style(use_color(program_.color, STDOUT_FILENO));
      out += std::string(section_.empty() ? "" : "\n") + std::string(style.bold) + figure.section +
             std::string(style.reset) + '\n';
      section_ = figure.section;
    }
    char line[160];
    std::snprintf(line, sizeof line, "  %-34s %10.*f %s", figure.name.c_str(), figure.value < 10 ? 2 : 1,
                  figure.value, figure.unit.c_str());
    out += line;
    if (figure.share) {
      std::snprintf(line, sizeof line, "%*s%3.0f %% of the ceiling",
                    static_cast<int>(14 - figure.unit.size()), "", *figure.share * 100);
      out += line;
    }
    program_.out.write(out + '\n');
    program_.out.flush();
  }

  void finish(const std::string& isa, int threads, const std::string& model) {
    if (!json_) return;
    std::string& out = program_.out.buffer();
    out += "{\"isa\":";
    append_json_string(out, isa);
    out += ",\"threads\":";
    append_json_integer(out, threads);
    out += ",\"model\":";
    append_json_string(out, model);
    out += ",\"figures\":[";
    for (std::size_t i = 0; i < figures_.size(); ++i) {
      if (i > 0) out += ',';
      append(out, figures_[i]);
    }
    out += "]}\n";
  }

 private:
  static void append(std::string& out, const Figure& figure) {
    out += "{\"section\":";
    append_json_string(out, figure.section);
    out += ",\"name\":";
    append_json_string(out, figure.name);
    out += ",\"value\":";
    append_json_number(out, figure.value);
    out += ",\"unit\":";
    append_json_string(out, figure.unit);
    if (figure.share) {
      out += ",\"share_of_ceiling\":";
      append_json_number(out, *figure.share);
    }
    out += '}';
  }

  Program& program_;
  bool json_;
  std::string section_;
  std::vector<Figure> figures_;
};

void bench_tokenizer(Report& report, const text::Tokenizer& tokenizer) {
  const std::string text = sample_text(std::size_t{1} << 20);
  std::size_t tokens = 0;
  const double seconds = best_seconds([&] { tokens = tokenizer.tokenize(text).size(); });
  report.add({"Tokenizer, one thread",
              "1 MiB of English",
              "MB/s",
              static_cast<double>(text.size()) / seconds / 1e6,
              {}});
  report.add(
      {"Tokenizer, one thread", "tokens", "million/s", static_cast<double>(tokens) / seconds / 1e6, {}});
}

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
void bench_products(Report& report, const std::string& section, double ceiling, const MakeProduct& make) {
  report.add({section, section.substr(section.rfind(' ') + 1) + " ceiling", "GMAC/s", ceiling / 1e9, {}});
  for (const Shape& shape : kShapes) {
    const double seconds = best_seconds(make(shape));
    const double rate =
        static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k) / seconds;
    report.add({section, std::string(shape.name) + ", " + std::to_string(shape.m) + " tokens", "GMAC/s",
                rate / 1e9, rate / ceiling});
  }
}

struct Ceilings {
  double fp32, bf16, int8;  // bf16: 0 where there is none
};

void bench_kernels(Report& report, base::Isa isa, int threads, const Ceilings& ceilings) {
  base::ThreadPool pool(threads);
  const kernels::Kernels& fp32 = kernels::kernels_for(isa);
  std::vector<float> a, c;
  kernels::PackedMatrix floats;
  const auto prepare = [&](const Shape& shape) {
    a = random_floats(shape.m * shape.k);
    c.resize(shape.m * shape.n);
    return random_floats(shape.n * shape.k);
  };
  bench_products(report, "Matrix products, fp32", ceilings.fp32, [&](const Shape& shape) {
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
    bench_products(report, "Matrix products, bf16", ceilings.bf16, [&](const Shape& shape) {
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
  bench_products(report, "Matrix products, int8", ceilings.int8, [&](const Shape& shape) {
    bytes = kernels::pack_int8(prepare(shape).data(), shape.n, shape.k);
    memory = tensor::Buffer<std::byte>(kernels::int8_rows_bytes(shape.m, shape.k));
    rows = kernels::int8_rows(memory.data(), shape.m, shape.k);
    int8.quantize({.x = a.data(), .ldx = shape.k, .rows = shape.m, .columns = shape.k}, rows);
    return [&] {
      kernels::gemm(int8, pool, {.a = rows, .b = &bytes, .c = c.data(), .ldc = shape.n, .m = shape.m});
    };
  });
}

// Weights of language models as they are stored, so many times over that no cache holds them.
class StoredWeights {
 public:
  StoredWeights(tensor::DType dtype, std::size_t n, std::size_t k)
      : n_(n), k_(k), is_half_(dtype == tensor::DType::kF16) {
    constexpr std::size_t kStreamed = std::size_t{1} << 30U;  // as measure_bandwidth reads
    constexpr std::size_t kDistinct = 64;                     // rows: what they are does not change the time
    const std::size_t row_bytes = tensor::dtype_bytes(dtype, k);
    std::vector<std::byte> rows(n * row_bytes);
    const std::vector<float> values = random_floats(kDistinct * k);
    for (std::size_t row = 0; row < n; ++row) {
      std::byte* to = rows.data() + row * row_bytes;
      if (row >= kDistinct || is_half_) {
        std::copy_n(rows.data() + row % kDistinct * row_bytes, row_bytes, to);
      } else {
        tensor::quantize(dtype, {values.data() + row * k, k}, to);
      }
    }
    for (std::size_t bytes = 0; bytes < kStreamed; bytes += n * row_bytes) {
      if (is_half_) {
        kernels::pack_half_rows(rows.data(), {0, n},
                                halves_.emplace_back(kernels::allocate_half(dtype, n, k)));
      } else {
        kernels::pack_block_rows(rows.data(), {0, n},
                                 blocks_.emplace_back(kernels::allocate_blocks(dtype, n, k)));
      }
    }
  }

  std::size_t count() const { return is_half_ ? halves_.size() : blocks_.size(); }
  double bytes() const {
    return static_cast<double>(count() * (is_half_ ? halves_[0].bytes() : blocks_[0].bytes()));
  }

  // Seconds of the product of m tokens with `count` of them.
  double seconds(base::Isa isa, base::ThreadPool& pool, std::size_t m, std::size_t count) const {
    const std::vector<float> x = random_floats(m * k_);
    std::vector<float> y(m * n_);
    const kernels::BlockKernels& kernels = kernels::block_kernels_for(isa);
    tensor::Buffer<std::byte> memory(kernels::block_rows_bytes(m, k_));
    const kernels::BlockRows rows = kernels::block_rows(memory.data(), m, k_);
    return best_seconds([&] {
      if (!is_half_) kernels.quantize({.x = x.data(), .ldx = k_, .rows = m, .columns = k_}, rows);
      for (std::size_t i = 0; i < count; ++i) {
        if (is_half_) {
          kernels::gemm(kernels::half_kernels_for(isa), pool,
                        {.a = x.data(), .lda = k_, .b = &halves_[i], .c = y.data(), .ldc = n_, .m = m});
        } else {
          kernels::gemm(kernels, pool, {.a = rows, .b = &blocks_[i], .c = y.data(), .ldc = n_, .m = m});
        }
      }
    });
  }

 private:
  std::size_t n_, k_;
  bool is_half_;
  std::vector<kernels::BlockMatrix> blocks_;
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

// Token ids that a model of this vocabulary accepts; what they mean does not change the time.
std::vector<std::vector<std::int32_t>> random_sequences(const models::QaModel& model,
                                                        const std::vector<std::size_t>& lengths) {
  std::mt19937 random(3);
  std::vector<std::vector<std::int32_t>> sequences;
  for (const std::size_t length : lengths) {
    auto& ids = sequences.emplace_back(length);
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % model.vocab_size());
  }
  return sequences;
}

struct Run {
  double seconds = 0, multiply_adds = 0;
};

Run run_sequences(const runtime::Engine& engine, const std::vector<std::size_t>& lengths) {
  const auto ids = random_sequences(engine.model(), lengths);
  std::vector<runtime::Sequence> sequences;
  Run run;
  for (const auto& sequence : ids) {
    sequences.push_back({.input_ids = sequence, .token_type_ids = {}});
    run.multiply_adds += engine.model().multiply_adds(sequence.size());
  }
  run.seconds = best_seconds([&] {
    engine.qa_logits(
        sequences, [](std::size_t, std::span<const float>, std::span<const float>) {}, &interrupt_flag());
  });
  return run;
}

constexpr int kMixed = 32;  // sequences of the mixed batch: a second or two of BERT-base

// Lengths as those of SQuAD's questions with their windows: mean 186, a few at the full length.
std::vector<std::size_t> mixed_lengths(const runtime::Engine& engine) {
  const std::size_t limit = engine.model().max_positions();
  std::mt19937 random(4);
  std::lognormal_distribution<double> length(5.15, 0.4);
  std::vector<std::size_t> lengths;
  lengths.reserve(kMixed);
  for (int i = 0; i < kMixed; ++i) {
    lengths.push_back(std::clamp<std::size_t>(static_cast<std::size_t>(length(random)), 40,
                                              std::min<std::size_t>(384, limit)));
  }
  return lengths;
}

void bench_encoder(Report& report, const runtime::Engine& engine, const Ceilings& ceilings) {
  const models::Precision precision = engine.precision();
  const double ceiling = precision == models::Precision::kInt8   ? ceilings.int8
                         : precision == models::Precision::kBf16 ? ceilings.bf16
                                                                 : ceilings.fp32;
  const std::size_t limit = engine.model().max_positions();
  for (const std::size_t length : {32U, 128U, 384U}) {
    if (length > limit) continue;
    const Run run = run_sequences(engine, {length});
    report.add({"Encoder latency, one sequence", std::to_string(length) + " tokens", "ms", run.seconds * 1e3,
                run.multiply_adds / run.seconds / ceiling});
  }
  const std::vector<std::size_t> lengths = mixed_lengths(engine);
  const Run run = run_sequences(engine, lengths);
  report.add({"Encoder throughput, mixed lengths", std::to_string(kMixed) + " sequences of 40 to 384 tokens",
              "/s", static_cast<double>(lengths.size()) / run.seconds,
              run.multiply_adds / run.seconds / ceiling});
}

// Sequences a second of so many callers, each of whom asks for one sequence after the other.
double callers_rate(const runtime::Engine& engine, const std::vector<std::vector<std::int32_t>>& ids,
                    int callers) {
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> done{0};
  const double start = monotonic_seconds();
  std::vector<std::jthread> threads;
  for (int caller = 0; caller < callers; ++caller) {
    threads.emplace_back([&, caller] {
      for (auto i = static_cast<std::size_t>(caller); !stop; i += static_cast<std::size_t>(callers)) {
        const runtime::Sequence sequence{.input_ids = ids[i % ids.size()], .token_type_ids = {}};
        engine.qa_logits({&sequence, 1}, [&](std::size_t, auto, auto) { ++done; });
      }
    });
  }
  while (monotonic_seconds() - start < kBudget / 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  stop = true;
  threads.clear();
  return static_cast<double>(done) / (monotonic_seconds() - start);
}

// By turns, so that a change of the machine's speed meets all alike.
void bench_callers(Report& report, const runtime::Engine& engine) {
  constexpr std::array<int, 3> kCallers{1, 2, 4};
  constexpr int kRounds = 4;
  const auto ids = random_sequences(engine.model(), mixed_lengths(engine));
  std::array<double, kCallers.size()> best{};
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kCallers.size(); ++i) {
      check_interrupt();
      best[i] = std::max(best[i], callers_rate(engine, ids, kCallers[i]));
    }
  }
  for (std::size_t i = 0; i < kCallers.size(); ++i) {
    report.add({"Callers at the same time, one sequence of 40 to 384 tokens each",
                std::to_string(kCallers[i]) + (kCallers[i] == 1 ? " caller" : " callers"),
                "/s",
                best[i],
                {}});
  }
}

struct BenchArguments {
  ModelArguments model;
  bool json = false;
};

void run_bench(const BenchArguments& arguments, Program& program) {
  const std::filesystem::path folder = find_model(arguments.model.model);
  const runtime::EngineOptions options = engine_options(arguments.model);
  std::optional<InterruptAtOnce> at_once(std::in_place);
  const double start = monotonic_seconds();
  const runtime::Engine engine = runtime::Engine::load(folder, options);
  const double load_seconds = monotonic_seconds() - start;
  const text::Tokenizer tokenizer = text::Tokenizer::load(folder);
  at_once.reset();

  Report report(program, arguments.json);
  if (!arguments.json) {
    program.out.write("kvasir " KVASIR_VERSION ", " + std::string(base::isa_name(engine.isa())) + ", " +
                      models::precision_name(engine.precision()) + ", " + std::to_string(engine.threads()) +
                      (engine.threads() == 1 ? " thread\n" : " threads\n") + folder.string() + "\n\n");
  }
  report.add({"Model", "parameters", "million", static_cast<double>(engine.model().parameters()) / 1e6, {}});
  report.add({"Model", "load", "ms", load_seconds * 1e3, {}});
  bench_tokenizer(report, tokenizer);
  const Ceilings ceilings{.fp32 = kernels::measure_fma_ceiling(engine.isa(), engine.threads()),
                          .bf16 = kernels::measure_bf16_ceiling(engine.isa(), engine.threads()),
                          .int8 = kernels::measure_int8_ceiling(engine.isa(), engine.threads())};
  bench_kernels(report, engine.isa(), engine.threads(), ceilings);
  bench_stored_weights(report, engine.isa(), engine.threads(), ceilings);
  bench_encoder(report, engine, ceilings);
  bench_callers(report, engine);
  report.finish(base::isa_name(engine.isa()), engine.threads(), folder.string());
}

}  // namespace

void add_bench(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<BenchArguments>();
  CLI::App* command = app.add_subcommand("bench", "Measure tokenizer, kernels and model on this machine");
  command->fallthrough();
  command->footer(kFooter);
  command->add_flag("--json", arguments->json, "One JSON object, for machines");
  add_model_options(*command, arguments->model);
  command->callback([arguments, &program] {
    program.command = "bench";
    program.action = [arguments, &program] { run_bench(*arguments, program); };
  });
}

}  // namespace kvasir::cli
