// Attention in training, forward and back, a block of queries of one head at a time. The weights of a block
// are computed again in the backward pass instead of being kept (Dao et al. 2022): for n tokens and h heads
// they would be h n² numbers.
//
//   P = softmax(scale · Q Kᵀ + bias),  P' = dropout(P),  O = P' V
//   dV = P'ᵀ dO,  dP = dropout(dO Vᵀ),  dS = P · (dP - Σ P dP),  dQ = scale · dS K,  dK = scale · dSᵀ Q
#include <algorithm>

#include "train/backward_tape.h"
#include "train/packing.h"

namespace kvasir::train {

namespace {

// Queries of a block, at most: its weights for 384 keys stay in the L2 cache.
constexpr std::size_t kBlockQueries = 128;

}  // namespace

class AttentionSteps {
 public:
  // One layer's attention.
  struct Layer {
    std::vector<std::vector<models::AttentionTask>> units;  // tasks that come one after the other
    std::size_t window;
    models::AttentionOptions options;
    models::AttentionBuffers buffers;
    float scale;
    std::size_t site = 0;  // of dropout
    std::size_t qkv = 0;   // read of q, k and v
  };

  AttentionSteps(BackwardTape& tape, const Layer& layer)
      : tape_(tape), layer_(layer), kernels_(tape.options_.kernels) {}

  void forward() {
    for_units([&](const models::AttentionTask& task, AttentionScratch& scratch) {
      const models::AttentionBuffers& b = layer_.buffers;
      float* p = weights(task, b, scratch);
      const std::size_t ldp = padded_stride(task.keys);
      drop(task, p, ldp);
      pack_columns(values(task, b), scratch.packed);
      multiply({.a = p,
                .lda = ldp,
                .b = &scratch.packed,
                .c = b.out + task.query_begin * b.width + task.head * b.head_dim,
                .ldc = b.width,
                .m = task.queries});
    });
  }

  // qkv: the values as they were; gradient: of all of it, added to.
  void backward(const float* qkv, float* gradient, const float* dout) {
    models::AttentionBuffers b = layer_.buffers;
    b.qkv = qkv;
    const std::function<float*(const float*)> gradient_of = [&](const float* p) {
      return tape_.gradient_of(p);
    };
    for_units([&](const models::AttentionTask& task, AttentionScratch& scratch) {
      const auto gradient_at = [&](const float* p) { return gradient + (p - qkv); };
      float* dq = gradient_at(b.query(task.query_begin, task.head));
      float* dk = gradient_at(b.key(task.key_begin, task.head));
      float* dv = gradient_at(b.value(task.key_begin, task.head));
      const MatrixRows dout_rows{.x = dout + task.query_begin * b.width + task.head * b.head_dim,
                                 .ldx = b.width,
                                 .rows = task.queries,
                                 .columns = b.head_dim};
      const std::size_t ldp = padded_stride(task.keys), ldt = padded_stride(task.queries);
      float* p = weights(task, b, scratch);
      float* dp = at_least(scratch.dp, task.queries * ldp);
      float* transposed = at_least(scratch.transposed, task.keys * ldt);

      // dV, with the weights as they were after dropout; dp is memory for them.
      const float* dropped = p;
      if (drops()) {
        std::copy_n(p, task.queries * ldp, dp);
        drop(task, dp, ldp);
        dropped = dp;
      }
      transpose(task, dropped, transposed);
      pack_columns(dout_rows, scratch.packed);
      add_product(
          {.a = transposed, .lda = ldt, .b = &scratch.packed, .c = dv, .ldc = b.stride(), .m = task.keys});
      // Of pads that see no key the reference replaces the scores (DeBERTa: no gradient) or, where there are
      // windows, adds the lowest float to them (ModernBERT): then all weigh the same, but the gradient passes
      // as through any sum.
      if (task.uniform && layer_.window == kernels::kNoWindow) return;

      pack_rows(kernels_.backward, values(task, b), scratch.packed);
      multiply({.a = dout_rows.x,
                .lda = dout_rows.ldx,
                .b = &scratch.packed,
                .c = dp,
                .ldc = ldp,
                .m = task.queries});
      drop(task, dp, ldp);
      for (std::size_t i = 0; i < task.queries; ++i) {
        const kernels::RowRange seen = visible(task, i);
        float* row = dp + i * ldp;
        std::fill(row, row + seen.begin, 0.0F);
        std::fill(row + seen.end, row + task.keys, 0.0F);
        kernels_.backward.softmax(
            {.p = p + i * ldp + seen.begin, .dp = row + seen.begin, .count = seen.end - seen.begin});
      }
      if (layer_.options.bias != nullptr) {
        layer_.options.bias->add_gradients(task, b,
                                           {.scores = dp,
                                            .stride = ldp,
                                            .q = dq,
                                            .k = dk,
                                            .q_stride = b.stride(),
                                            .k_stride = b.stride(),
                                            .gradient = gradient_of});
      }
      for (std::size_t i = 0; i < task.queries; ++i) {
        for (std::size_t j = 0; j < task.keys; ++j) dp[i * ldp + j] *= layer_.scale;
      }
      pack_columns(keys(task, b), scratch.packed);
      add_product({.a = dp, .lda = ldp, .b = &scratch.packed, .c = dq, .ldc = b.stride(), .m = task.queries});
      transpose(task, dp, transposed);
      pack_columns(queries(task, b), scratch.packed);
      add_product(
          {.a = transposed, .lda = ldt, .b = &scratch.packed, .c = dk, .ldc = b.stride(), .m = task.keys});
    });
  }

 private:
  // body(task, scratch) for blocks of queries of all tasks; those of one unit in order, on one thread.
  template <class Body>
  void for_units(const Body& body) {
    std::vector<AttentionScratch>& scratch = tape_.attention_scratch_;
    scratch.resize(static_cast<std::size_t>(tape_.options_.pool.size()));
    tape_.options_.pool.parallel_for(layer_.units.size(), [&](std::size_t unit, int thread) noexcept {
      for (const models::AttentionTask& task : layer_.units[unit]) {
        for (std::size_t begin = 0; begin < task.queries; begin += kBlockQueries) {
          models::AttentionTask block = task;
          block.query_begin += begin;
          block.queries = std::min(kBlockQueries, task.queries - begin);
          body(block, scratch[static_cast<std::size_t>(thread)]);
        }
      }
    });
  }

  static MatrixRows queries(const models::AttentionTask& t, const models::AttentionBuffers& b) {
    return {.x = b.query(t.query_begin, t.head), .ldx = b.stride(), .rows = t.queries, .columns = b.head_dim};
  }
  static MatrixRows keys(const models::AttentionTask& t, const models::AttentionBuffers& b) {
    return {.x = b.key(t.key_begin, t.head), .ldx = b.stride(), .rows = t.keys, .columns = b.head_dim};
  }
  static MatrixRows values(const models::AttentionTask& t, const models::AttentionBuffers& b) {
    return {.x = b.value(t.key_begin, t.head), .ldx = b.stride(), .rows = t.keys, .columns = b.head_dim};
  }

  // The keys that query i of a block sees.
  kernels::RowRange visible(const models::AttentionTask& task, std::size_t i) const {
    if (task.uniform || layer_.window == kernels::kNoWindow) return {.begin = 0, .end = task.keys};
    const std::size_t place = task.query_offset() + i;
    return {.begin = place > layer_.window ? place - layer_.window : 0,
            .end = std::min(task.keys, place + layer_.window + 1)};
  }

  // P, rows padded_stride(keys) apart.
  float* weights(const models::AttentionTask& task, const models::AttentionBuffers& b,
                 AttentionScratch& scratch) const {
    const std::size_t ldp = padded_stride(task.keys);
    float* p = at_least(scratch.p, task.queries * ldp);
    if (task.uniform) {
      std::fill_n(p, task.queries * ldp, 1 / static_cast<float>(task.keys));
      return p;
    }
    pack_rows(kernels_.backward, keys(task, b), scratch.packed);
    const MatrixRows q = queries(task, b);
    multiply({.a = q.x, .lda = q.ldx, .b = &scratch.packed, .c = p, .ldc = ldp, .m = task.queries});
    models::ScoreBias::Rows bias{.data = nullptr, .stride = 0};
    if (layer_.options.bias != nullptr) {
      float* memory = at_least(scratch.bias, layer_.options.bias->scratch_size(task));
      bias = layer_.options.bias->rows(task, b, memory);
    }
    for (std::size_t i = 0; i < task.queries; ++i) {
      float* row = p + i * ldp;
      for (std::size_t j = 0; j < task.keys; ++j) row[j] *= layer_.scale;
      if (bias.data != nullptr) {
        const float* of_row = bias.data + static_cast<std::ptrdiff_t>(i) * bias.stride;
        for (std::size_t j = 0; j < task.keys; ++j) row[j] += of_row[j];
      }
      const kernels::RowRange seen = visible(task, i);
      std::fill(row, row + seen.begin, 0.0F);
      std::fill(row + seen.end, row + task.keys, 0.0F);
      kernels_.fp32.softmax(row + seen.begin, seen.end - seen.begin);
    }
    return p;
  }

  bool drops() const { return layer_.options.dropout > 0 && tape_.drops_; }

  // Dropout of the rows of a block, the same for its weights and their gradients.
  void drop(const models::AttentionTask& task, float* p, std::size_t ldp) const {
    if (!drops()) return;
    const std::size_t s = tape_.sequence_of_[task.query_begin];
    const auto first = static_cast<std::size_t>(tape_.batch_->cu_seqlens[s]);
    for (std::size_t i = 0; i < task.queries; ++i) {
      const std::uint64_t query = task.query_begin + i - first;
      tape_.drop_row(layer_.options.dropout, layer_.site,
                     {.example = tape_.examples_[s], .row = std::uint64_t{task.head} << 32U | query},
                     {p + i * ldp, task.keys});
    }
  }

  void transpose(const models::AttentionTask& task, const float* p, float* transposed) const {
    kernels_.backward.transpose({.x = p,
                                 .ldx = padded_stride(task.keys),
                                 .rows = task.queries,
                                 .columns = task.keys,
                                 .y = transposed,
                                 .ldy = padded_stride(task.queries)});
  }

  void multiply(const kernels::GemmCall& call) const {
    kernels_.fp32.gemm_block(
        call, {.row_begin = 0, .row_end = call.m, .panel_begin = 0, .panel_end = call.b->panels()});
  }
  void add_product(kernels::GemmCall call) const {
    call.residual = call.c;
    call.ldr = call.ldc;
    multiply(call);
  }

  BackwardTape& tape_;
  const Layer& layer_;
  const kernels::Kernels& kernels_;
};

void BackwardTape::attend(const models::AttentionPlan& plan, const models::AttentionOptions& options,
                          const models::AttentionBuffers& buffers) {
  const auto layer = std::make_shared<AttentionSteps::Layer>();
  layer->window = plan.window();
  layer->options = options;
  layer->buffers = buffers;
  layer->scale = models::score_scale(options, buffers.head_dim);
  layer->site = options.dropout > 0 ? sites_++ : 0;
  // How tasks are cut must not depend on the number of threads, because dK and dV are added up over them.
  models::AttentionPlan::Options whole = plan.options();
  whole.threads = 1;
  const models::AttentionPlan tasks(*batch_, whole);
  const std::size_t sequences = batch_->sequences();
  // Biases have one gradient for all sequences, so the sequences of a head come one after the other.
  const bool by_head = options.bias != nullptr;
  layer->units.resize(by_head ? plan.heads() : plan.heads() * sequences);
  for (const models::AttentionTask& task : tasks.tasks()) {
    const std::size_t unit = by_head ? task.head : task.head * sequences + sequence_of_[task.query_begin];
    layer->units[unit].push_back(task);
  }
  for (auto& unit : layer->units) {
    std::ranges::stable_sort(unit, {}, &models::AttentionTask::query_begin);
  }
  const std::size_t tokens = batch_->tokens(), size = tokens * 3 * buffers.width;
  layer->qkv = keep(buffers.qkv, size);
  overwrites(buffers.out, tokens * buffers.width);
  AttentionSteps(*this, *layer).forward();
  record([this, layer, tokens] {
    const models::AttentionBuffers& b = layer->buffers;
    const float* dout = gradient_of(b.out);
    if (dout == nullptr) return;
    if (layer->options.bias != nullptr) {
      for (const std::span<const float> parameter : layer->options.bias->parameters()) {
        gradient_or_zeros(parameter.data());
      }
    }
    gradient_or_zeros(b.qkv);
    AttentionSteps(*this, *layer).backward(value(layer->qkv), gradient_of(b.qkv), dout);
    take(b.out, tokens * b.width);
  });
}

}  // namespace kvasir::train
