#include "models/causal_attention.h"

#include <algorithm>
#include <cmath>

#include "tensor/dtype.h"

namespace kvasir::models {

namespace {

// Tokens of one task of passes over rows: some microseconds of work.
constexpr std::size_t kTokensPerTask = 8;
// Rows of queries of one task of attention: enough that reading the keys and values does not count (2 % of
// the time), few enough that a prompt of 500 tokens gives every core something to do until the end.
constexpr std::size_t kRowsPerTask = 96;
// So many tasks per thread, at least, where there are enough heads.
constexpr std::size_t kTasksPerThread = 2;

// body(token) for all tokens, on the pool's threads.
template <class Body>
void for_tokens(base::ThreadPool& pool, std::size_t tokens, const Body& body) {
  pool.parallel_for((tokens + kTokensPerTask - 1) / kTokensPerTask, [&](std::size_t task, int) noexcept {
    const std::size_t end = std::min(tokens, (task + 1) * kTokensPerTask);
    for (std::size_t token = task * kTokensPerTask; token < end; ++token) body(token);
  });
}

// Where the tokens of a batch belong.
struct Place {
  std::size_t sequence, position;
};
class Places {
 public:
  explicit Places(const DecoderBatch& batch) {
    places_.reserve(batch.tokens());
    for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
      for (std::size_t i = 0; i < batch.sequences[s].tokens; ++i) {
        places_.push_back({.sequence = s, .position = batch.sequences[s].past + i});
      }
    }
  }
  const Place& operator[](std::size_t token) const noexcept { return places_[token]; }

 private:
  std::vector<Place> places_;
};

std::size_t longest(const DecoderBatch& batch) noexcept {
  std::size_t length = 0;
  for (const DecoderSequence& s : batch.sequences) length = std::max(length, s.past + s.tokens);
  return length;
}

}  // namespace

const float* rotary_rows(const Rotary& rotary, const DecoderBatch& batch, ForwardContext& context) {
  std::vector<std::vector<float>> of_sequences;  // one, if they do not differ
  for (const DecoderSequence& s : batch.sequences) {
    if (rotary.scaling.kind != RotaryScaling::Kind::kDynamic && !of_sequences.empty()) break;
    of_sequences.push_back(
        rotary_frequencies(rotary, s.rotary_length == 0 ? s.past + s.tokens : s.rotary_length));
  }
  const Places places(batch);
  float* rows = context.workspace.floats(kPositions, batch.tokens() * rotary.head_dim);
  for_tokens(context.pool, batch.tokens(), [&](std::size_t token) noexcept {
    const Place& place = places[token];
    const std::vector<float>& frequencies = of_sequences[std::min(place.sequence, of_sequences.size() - 1)];
    rotary_angles(frequencies, place.position, rows + token * rotary.head_dim);
  });
  return rows;
}

std::vector<float> alibi_slopes(std::size_t heads, double max_bias) {
  std::size_t whole = 1;
  while (2 * whole <= heads) whole *= 2;
  std::vector<float> slopes(heads);
  for (std::size_t h = 0; h < heads; ++h) {
    const auto c = static_cast<double>(whole);
    const double exponent = h < whole ? max_bias * static_cast<double>(h + 1) / c
                                      : max_bias * static_cast<double>(2 * (h - whole) + 1) / (2 * c);
    slopes[h] = static_cast<float>(std::exp2(-exponent));
  }
  return slopes;
}

RowOrder queries_keys_values(const CausalAttention& attention, std::size_t groups) {
  RowOrder order;
  if (groups == 1) return order;
  const std::size_t dim = attention.head_dim, queries = attention.heads / groups * dim,
                    step = queries + 2 * dim;
  const auto add = [&](std::size_t begin, std::size_t count) {  // of each group
    for (std::size_t group = 0; group < groups; ++group) {
      for (std::size_t i = 0; i < count; ++i) {
        order.push_back(static_cast<std::uint32_t>(group * step + begin + i));
      }
    }
  };
  add(0, queries);
  add(queries, dim);
  add(queries + dim, dim);
  return order;
}

void add_positions(const Embedding& table, const DecoderBatch& batch, ForwardContext& context, float* x) {
  const auto width = static_cast<std::size_t>(table.table.shape[1]);
  const Places places(batch);
  std::vector<float> row(width);
  for (std::size_t token = 0; token < batch.tokens(); ++token) {
    table.read_row(context.kernels.fp32, places[token].position, row);
    for (std::size_t i = 0; i < width; ++i) x[token * width + i] += row[i];
  }
}

const float* alibi_biases(const CausalAttention& attention, const DecoderBatch& batch,
                          ForwardContext& context) {
  const Alibi& alibi = attention.alibi;
  if (alibi.slopes.empty()) return nullptr;
  const auto round = [](float x) { return tensor::bfloat16_to_float(tensor::float_to_bfloat16(x)); };
  const std::size_t length = longest(batch);
  const float scale = 1 / std::sqrt(static_cast<float>(attention.head_dim));
  float* biases = context.workspace.floats(kBiases, attention.heads * length);
  for_tokens(context.pool, attention.heads, [&](std::size_t head) noexcept {
    float* row = biases + head * length;
    for (std::size_t i = 0; i < length; ++i) {
      if (alibi.kind == Alibi::Kind::kDistance) {
        row[i] = -alibi.slopes[head] * static_cast<float>(length - 1 - i);
      } else {
        row[i] = round(round(alibi.slopes[head]) * round(static_cast<float>(i))) * scale;
      }
    }
  });
  return biases;
}

namespace {

// Some queries of one sequence in some heads that share a head of keys and values.
struct Task {
  std::size_t sequence, kv_head, first_head, heads;
  std::size_t first_token;  // of the batch
  std::size_t first_query, queries;
  std::size_t keys;
};

std::vector<Task> make_tasks(const CausalAttention& attention, const DecoderBatch& batch,
                             std::size_t threads) {
  const std::size_t group = attention.heads / attention.kv_heads;
  // With few sequences and heads of keys (Falcon-7B has one) the heads that share one are divided.
  const std::size_t least = kTasksPerThread * threads, units = attention.kv_heads * batch.sequences.size();
  const std::size_t parts = std::clamp<std::size_t>((least + units - 1) / units, 1, group);
  const std::size_t per_task = std::max<std::size_t>(1, kRowsPerTask / ((group + parts - 1) / parts));
  std::vector<Task> tasks;
  std::size_t token = 0;
  for (std::size_t s = 0; s < batch.sequences.size(); ++s) {
    const DecoderSequence& sequence = batch.sequences[s];
    for (std::size_t first = 0; first < sequence.tokens; first += per_task) {
      const std::size_t queries = std::min(per_task, sequence.tokens - first);
      for (std::size_t kv_head = 0; kv_head < attention.kv_heads; ++kv_head) {
        for (std::size_t part = 0; part < parts; ++part) {
          const std::size_t begin = group * part / parts, end = group * (part + 1) / parts;
          tasks.push_back({.sequence = s,
                           .kv_head = kv_head,
                           .first_head = kv_head * group + begin,
                           .heads = end - begin,
                           .first_token = token + first,
                           .first_query = sequence.past + first,
                           .queries = queries,
                           .keys = sequence.past + first + queries});
        }
      }
    }
    token += sequence.tokens;
  }
  // The most expensive first, so that threads end together.
  std::ranges::stable_sort(tasks, std::ranges::greater(),
                           [](const Task& t) { return t.keys * t.queries * t.heads; });
  return tasks;
}

void store(const CausalAttention& attention, const DecoderBatch& batch, const KvShape& kv,
           ForwardContext& context, const CausalAttentionCall& call) {
  const Places places(batch);
  const std::size_t head_dim = attention.head_dim, kv_width = attention.kv_heads * head_dim;
  for_tokens(context.pool, batch.tokens(), [&](std::size_t token) noexcept {
    const Place& place = places[token];
    std::byte* page = batch.sequences[place.sequence].pages[place.position / kernels::kPageTokens];
    const float* keys = call.qkv + token * attention.qkv_width() + attention.heads * head_dim;
    for (std::size_t head = 0; head < attention.kv_heads; ++head) {
      context.kernels.fp32.store_kv({.k = keys + head * head_dim,
                                     .v = keys + kv_width + head * head_dim,
                                     .part = page + kv.part(call.layer, head),
                                     .slot = place.position % kernels::kPageTokens,
                                     .layout = kv.layout});
    }
  });
}

}  // namespace

void attend(const CausalAttention& attention, const DecoderBatch& batch, const KvShape& kv,
            ForwardContext& context, const CausalAttentionCall& call) {
  store(attention, batch, kv, context, call);
  const std::size_t head_dim = attention.head_dim, width = attention.heads * head_dim;
  const std::vector<Task> tasks = make_tasks(attention, batch, static_cast<std::size_t>(context.pool.size()));
  std::size_t size = 0;
  for (const Task& t : tasks) {
    size = std::max(size, context.kernels.fp32.attention_scratch(t.queries * t.heads, t.keys, head_dim));
  }
  size = (size + kernels::kPanelColumns - 1) / kernels::kPanelColumns * kernels::kPanelColumns;
  float* scratch = context.workspace.floats(kScratch, static_cast<std::size_t>(context.pool.size()) * size);
  const std::size_t length = call.biases == nullptr ? 0 : longest(batch);
  const bool by_distance = attention.alibi.kind == Alibi::Kind::kDistance;

  context.pool.parallel_for(tasks.size(), [&](std::size_t i, int worker) noexcept {
    const Task& task = tasks[i];
    const kernels::KvPages pages{.pages = batch.sequences[task.sequence].pages.data(),
                                 .offset = kv.part(call.layer, task.kv_head),
                                 .type = kv.layout.type};
    const float* bias = nullptr;
    if (call.biases != nullptr) {
      bias = call.biases + task.first_head * length + (by_distance ? length - 1 - task.first_query : 0);
    }
    context.kernels.fp32.attention(
        {.q = call.qkv + task.first_token * attention.qkv_width() + task.first_head * head_dim,
         .pages = &pages,
         .out = call.out + task.first_token * width + task.first_head * head_dim,
         .q_stride = attention.qkv_width(),
         .out_stride = width,
         .queries = task.queries,
         .keys = task.keys,
         .head_dim = head_dim,
         .group = task.heads,
         .scale = attention.scale != 0 ? attention.scale : 1 / std::sqrt(static_cast<float>(head_dim)),
         .bias = bias,
         .bias_stride = by_distance ? -1 : 0,
         .bias_head_stride = static_cast<std::ptrdiff_t>(length),
         .query_offset = task.first_query,
         .causal = true},
        scratch + static_cast<std::size_t>(worker) * size);
  });
}

}  // namespace kvasir::models
