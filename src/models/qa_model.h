// An encoder with a question-answering head: token ids in, start and end logits out. One file per family
// under encoder/.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/thread_pool.h"
#include "formats/model_folder.h"
#include "kernels/bf16.h"
#include "kernels/blocks.h"
#include "kernels/half.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"
#include "tensor/buffer.h"
#include "tensor/ragged_batch.h"

namespace kvasir::models {

struct Inventory;
struct Linear;
struct LinearCall;

// Sees the products of a forward pass before they are computed; see ForwardContext::observer.
class LinearObserver {
 public:
  LinearObserver() = default;
  LinearObserver(const LinearObserver&) = delete;
  LinearObserver& operator=(const LinearObserver&) = delete;
  virtual ~LinearObserver() = default;
  virtual void observe(const Linear& linear, const LinearCall& call) = 0;
};

// What one thread has to itself: memory, and a pool without other threads, so that what runs on a pool also
// runs within a task of another.
struct Worker {
  base::ThreadPool alone{1};
  tensor::Workspace workspace;
};

// What one forward pass runs on. The model is shared and const; this is not.
struct ForwardContext {
  const kernels::Kernels& kernels;
  base::ThreadPool& pool;
  tensor::Workspace& workspace;
  std::span<Worker> workers = {};  // one per thread of the pool, or none: see in_row_blocks
  const kernels::Int8Kernels& int8 = kernels::int8_kernels_for(kernels.isa);
  const kernels::BlockKernels& blocks = kernels::block_kernels_for(kernels.isa);
  const kernels::HalfKernels& half = kernels::half_kernels_for(kernels.isa);
  const kernels::Bf16Kernels* bf16 = kernels::bf16_kernels_for(kernels.isa);  // null: the processor has none
  LinearObserver* observer = nullptr;  // called on the calling thread, if no row blocks run on workers
};

// What the products of a model are computed in.
enum class Precision {
  kAuto,  // what each weight is stored as: int8 for bytes with scales, else fp32; in decoders also 16 bits
          // and the blocks of GGUF
  kFp32,
  kBf16,  // where the processor has it, else fp32
  kInt8,  // weights that are stored as floats are quantised at load
};

// In place of a logit that nobody wants (RaggedBatch::wanted): finite, because logits are checked for that.
inline constexpr float kUnwantedLogit = -10000;

struct QaLogits {
  std::span<float> start;  // [tokens]
  std::span<float> end;    // [tokens]
};

class QaModel {
 public:
  virtual ~QaModel() = default;

  // Preconditions (the engine checks them): ids in [0, vocab_size), type ids in [0, type_vocab_size), every
  // sequence has 1 to max_positions() tokens, key lengths in [1, length].
  virtual void qa_logits(const tensor::RaggedBatch& batch, ForwardContext& context, QaLogits out) const = 0;

  virtual const std::string& family() const noexcept = 0;  // config.json's model_type
  virtual std::size_t max_positions() const noexcept = 0;  // longest sequence, tokens
  virtual std::size_t vocab_size() const noexcept = 0;
  virtual std::size_t type_vocab_size()
      const noexcept = 0;  // 0: the family has no token types, they are ignored
  virtual std::size_t parameters() const noexcept = 0;
  // Multiply-adds of one forward pass over a sequence of `tokens` (matrix products and attention), for shares
  // of the ceiling.
  virtual double multiply_adds(std::size_t tokens) const noexcept = 0;
};

const char* precision_name(Precision precision) noexcept;
// "auto", "fp32", "bf16", "int8". Throws kInvalidArgument for another name.
Precision parse_precision(std::string_view name);

struct LoadOptions {
  const kernels::Kernels& kernels;  // weights are packed for these
  base::ThreadPool& pool;           // on these threads
  Precision precision = Precision::kAuto;
  Inventory* inventory = nullptr;  // filled with what was loaded (models/inventory.h)
};

// Reads config.json, finds the family in the registry, loads its weights from the folder. Throws kNotFound,
// kFormat, kUnsupported ("model_type gpt2 has no question-answering head here; known: bert, distilbert, …").
std::unique_ptr<const QaModel> load_qa_model(const formats::ModelFolder& folder, const LoadOptions& options);

}  // namespace kvasir::models
