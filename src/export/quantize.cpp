#include "export/quantize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "formats/safetensors.h"
#include "kernels/int8.h"
#include "kvasir/error.h"
#include "models/encoder_model.h"
#include "models/inventory.h"
#include "models/sentence_modules.h"
#include "tensor/dtype.h"

namespace kvasir::exporting {

namespace {

using models::Inventory;

// Of a matrix, the rows in floats.
std::vector<float> read_matrix(const Inventory::Entry& entry) {
  std::vector<float> values(entry.view.elements());
  entry.view.read_floats(0, values);
  return values;
}

// How far the outputs of each Linear would be off, over all that passes through it.
class ErrorMeter final : public models::LinearObserver {
 public:
  ErrorMeter(const kernels::Kernels& kernels, base::ThreadPool& pool) : kernels_(kernels), pool_(pool) {}

  // The parts of one Linear, one below the other.
  void add(const models::Linear& linear, std::vector<float> weights) {
    Layer& layer = layers_[&linear];
    layer.weights.insert(layer.weights.end(), weights.begin(), weights.end());
  }

  void observe(const models::Linear& linear, const models::LinearCall& call) override {
    const auto found = layers_.find(&linear);
    if (found == layers_.end()) return;
    Layer& layer = found->second;
    const std::size_t in = linear.in(), out = linear.out();
    if (layer.int8.k == 0) layer.int8 = kernels::pack_int8(layer.weights.data(), out, in);
    const std::size_t ldx = call.x_stride == 0 ? in : call.x_stride;
    std::vector<float> exact(call.rows * out), rounded(call.rows * out);
    kernels::gemm(kernels_.fp32, pool_,
                  {.a = call.x,
                   .lda = ldx,
                   .b = &std::get<kernels::PackedMatrix>(linear.weight),
                   .c = exact.data(),
                   .ldc = out,
                   .m = call.rows});
    tensor::Buffer<std::byte> memory(kernels::int8_rows_bytes(call.rows, in));
    const kernels::Int8Rows rows = kernels::int8_rows(memory.data(), call.rows, in);
    kernels_.int8.quantize({.x = call.x, .ldx = ldx, .rows = call.rows, .columns = in}, rows);
    kernels::gemm(kernels_.int8, pool_,
                  {.a = rows, .b = &layer.int8, .c = rounded.data(), .ldc = out, .m = call.rows});
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double value = static_cast<double>(exact[i]), off = static_cast<double>(rounded[i]) - value;
      layer.squares += value * value;
      layer.errors += off * off;
    }
  }

  // -1: nothing passed.
  double error(const models::Linear& linear) const {
    const Layer& layer = layers_.at(&linear);
    return layer.squares > 0 ? std::sqrt(layer.errors / layer.squares) : -1;
  }

 private:
  struct Layer {
    std::vector<float> weights;
    kernels::Int8Matrix int8;
    double squares = 0, errors = 0;
  };
  const kernels::Kernels& kernels_;
  base::ThreadPool& pool_;
  std::map<const models::Linear*, Layer> layers_;
};

// The tensors of the new file, and the memory behind them.
class TensorWriter {
 public:
  void add_half(const Inventory::Entry& entry) {
    std::vector<std::byte>& memory = allocate(entry.view.elements() * sizeof(std::uint16_t));
    const std::vector<float> values = read_matrix(entry);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint16_t half = tensor::float_to_half(values[i]);
      if ((half & 0x7FFFU) == 0x7C00U) {
        throw Error(ErrorCode::kUnsupported, "tensor " + entry.name + ": " + std::to_string(values[i]) +
                                                 " is too large for F16; this model cannot be stored so");
      }
      std::memcpy(memory.data() + i * sizeof half, &half, sizeof half);
    }
    tensors_.push_back(
        {entry.name, {.dtype = tensor::DType::kF16, .shape = entry.view.shape, .data = memory.data()}});
  }

  void add_as_it_is(const Inventory::Entry& entry) { tensors_.push_back({entry.name, entry.view}); }

  void add_bytes(const Inventory::Entry& entry) {
    const auto rows = static_cast<std::size_t>(entry.view.shape[0]);
    const auto columns = static_cast<std::size_t>(entry.view.shape[1]);
    std::vector<std::byte>& bytes = allocate(rows * columns);
    std::vector<std::byte>& scales = allocate(rows * sizeof(float));
    const std::vector<float> values = read_matrix(entry);
    for (std::size_t row = 0; row < rows; ++row) {
      const std::span<const float> from = std::span(values).subspan(row * columns, columns);
      auto* to = reinterpret_cast<std::int8_t*>(bytes.data()) + row * columns;
      const float scale = entry.kind == Inventory::Kind::kTable ? kernels::quantize_table_row(from, to)
                                                                : kernels::quantize_weights(from, to);
      std::memcpy(scales.data() + row * sizeof scale, &scale, sizeof scale);
    }
    tensors_.push_back(
        {entry.name, {.dtype = tensor::DType::kI8, .shape = entry.view.shape, .data = bytes.data()}});
    tensors_.push_back(
        {entry.name + "_scale",
         {.dtype = tensor::DType::kF32, .shape = {entry.view.shape[0]}, .data = scales.data()}});
  }

  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& tensor : tensors_) sum += tensor.view.bytes();
    return sum;
  }
  void write(const std::filesystem::path& path) const { formats::write_safetensors(path, tensors_); }

 private:
  std::vector<std::byte>& allocate(std::size_t bytes) {
    return *memory_.emplace_back(std::make_unique<std::vector<std::byte>>(bytes));
  }
  std::vector<std::unique_ptr<std::vector<std::byte>>> memory_;
  std::vector<formats::NamedTensor> tensors_;
};

// Weights in any form, which the new file replaces.
bool is_weights(const std::string& name) {
  const auto ends = [&](const char* suffix) { return name.ends_with(suffix); };
  return ends(".safetensors") || ends(".bin") || ends(".index.json") || ends(".h5") || ends(".msgpack") ||
         ends(".onnx") || ends(".ot");
}

void copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || is_weights(name) || name == "config.json") continue;
    std::error_code error;
    std::filesystem::copy_file(entry.path(), to / name, error);  // of a cache: what the link points to
    if (error) throw Error(ErrorCode::kIo, (to / name).string() + ": " + error.message());
  }
}

// The folders of a sentence model's other modules, whole, and what stands beside them.
void copy_modules(const std::filesystem::path& from, const std::filesystem::path& to) {
  const std::filesystem::path encoder = models::encoder_folder(from);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::filesystem::path name = entry.path().filename();
    if (entry.is_directory() && models::is_module_folder(from, name) && from / name != encoder) {
      std::filesystem::create_directories(to / name);
      for (const auto& file : std::filesystem::directory_iterator(entry.path())) {
        if (file.is_regular_file() && !error)
          std::filesystem::copy_file(file.path(), to / name / file.path().filename(), error);
      }
    }
    if (error) throw Error(ErrorCode::kIo, (to / name).string() + ": " + error.message());
  }
  if (encoder != from) copy_other_files(from, to);
}

// Other programs look for quantization_config, and refuse a method that they do not know: better than taking
// bytes for weights.
void write_config(const std::filesystem::path& from, const std::filesystem::path& to,
                  StoredPrecision precision) {
  base::json::value config = base::parse_json_file(from / "config.json");
  base::json::object& keys = config.as_object();
  if (precision == StoredPrecision::kInt8) {
    keys["quantization_config"] = {{"quant_method", "kvasir"}, {"bits", 8}, {"version", 1}};
  }
  keys.erase("torch_dtype");
  keys["dtype"] = "float16";
  base::AtomicFile file(to / "config.json");
  file.write(base::json::serialize(config) + "\n");
  file.commit();
}

// The head's outputs for each sample.
std::vector<std::vector<float>> run_samples(const models::EncoderModel& model,
                                            std::span<const Sample> samples, models::ForwardContext& context,
                                            const QuantizeProgress& progress) {
  std::vector<std::vector<float>> outputs;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::size_t length = std::min(samples[i].input_ids.size(), model.facts().max_positions);
    const std::vector<std::int32_t> ends = {0, static_cast<std::int32_t>(length)};
    const std::vector<std::int32_t> keys = {static_cast<std::int32_t>(length)};
    std::vector<std::int32_t> types = samples[i].token_type_ids;
    types.resize(length, 0);
    // All states, of which a head that reads first tokens only takes the first.
    const tensor::RaggedBatch batch{.input_ids = std::span(samples[i].input_ids).first(length),
                                    .token_type_ids = types,
                                    .cu_seqlens = ends,
                                    .key_lengths = keys};
    std::vector<float>& out = outputs.emplace_back(model.output_rows(batch) * model.head->columns());
    model.run(batch, context, out);
    if (progress) progress(i + 1, samples.size());
  }
  return outputs;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, squares_a = 0, squares_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    dot += x * y;
    squares_a += x * x;
    squares_b += y * y;
  }
  return dot / std::max(std::sqrt(squares_a * squares_b), std::numeric_limits<double>::min());
}

// What the model that was written makes of the samples, beside the vectors of the one that was read.
CosineReport compare_vectors(const std::filesystem::path& written, std::span<const Sample> samples,
                             const std::vector<std::vector<float>>& exact, models::ForwardContext& context) {
  const models::EncoderModel model =
      models::load_encoder_model(written, {.kernels = context.kernels, .pool = context.pool});
  const std::vector<std::vector<float>> rounded = run_samples(model, samples, context, {});
  CosineReport report{.mean = 0, .least = 1};
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double each = cosine(exact[i], rounded[i]);
    report.mean += each / static_cast<double>(exact.size());
    report.least = std::min(report.least, each);
  }
  return report;
}

void prepare_folder(const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::create_directories(to, error);
  if (error) throw Error(ErrorCode::kIo, to.string() + ": " + error.message());
  if (std::filesystem::is_empty(to)) return;
  throw Error(ErrorCode::kInvalidArgument, to.string() + ": is not empty; name a new folder");
}

}  // namespace

QuantizeReport quantize(const std::filesystem::path& from, const std::filesystem::path& to,
                        std::span<const Sample> samples, const QuantizeOptions& options,
                        const QuantizeProgress& progress) {
  const bool to_int8 = options.precision == StoredPrecision::kInt8;
  const kernels::Kernels& kernels = kernels::kernels_for(options.isa);
  base::ThreadPool pool(options.threads == 0 ? base::usable_cores() : options.threads);
  Inventory inventory;
  const models::EncoderModel model = models::load_encoder_model(
      from,
      {.kernels = kernels, .pool = pool, .precision = models::Precision::kFp32, .inventory = &inventory});
  QuantizeReport report;
  ErrorMeter meter(kernels, pool);
  for (const Inventory::Entry& entry : inventory.entries) {
    if (entry.scales) {
      throw Error(ErrorCode::kInvalidArgument,
                  from.string() + ": is quantised already; start from the weights that it was made of");
    }
    report.bytes_before += entry.view.bytes();
    if (to_int8 && entry.kind == Inventory::Kind::kMatrix) meter.add(*entry.linear, read_matrix(entry));
  }
  tensor::Workspace workspace;
  models::ForwardContext context{.kernels = kernels, .pool = pool, .workspace = workspace};
  std::vector<std::vector<float>> outputs;
  if (to_int8) {
    if (samples.empty()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "quantize: no text to measure errors with; give one of a page or more");
    }
    context.observer = &meter;
    outputs = run_samples(model, samples, context, progress);
    context.observer = nullptr;
  }

  TensorWriter writer;
  std::set<const models::Linear*> reported;
  for (const Inventory::Entry& entry : inventory.entries) {
    bool bytes = to_int8 && entry.kind == Inventory::Kind::kTable;
    if (to_int8 && entry.kind == Inventory::Kind::kMatrix) {
      const double error = meter.error(*entry.linear);
      bytes = models::can_be_int8(*entry.linear) && error >= 0 && error <= options.max_error;
      if (reported.insert(entry.linear).second) {
        report.layers.push_back({.name = entry.name, .error = error, .int8 = bytes});
      }
    }
    if (bytes) {
      writer.add_bytes(entry);
    } else if (to_int8 && entry.kind == Inventory::Kind::kOther) {
      writer.add_as_it_is(entry);  // vectors are small, and products of bytes are scaled and shifted by them
    } else {
      writer.add_half(entry);
    }
  }
  report.bytes_after = writer.bytes();
  prepare_folder(to);
  // Of a sentence model, the encoder's folder may be one of several.
  const std::filesystem::path encoder = models::encoder_folder(from);
  const std::filesystem::path target = (to / encoder.lexically_relative(from)).lexically_normal();
  if (models::has_sentence_modules(from)) copy_modules(from, to);
  std::filesystem::create_directories(target);
  copy_other_files(encoder, target);
  writer.write(target / "model.safetensors");
  write_config(encoder, target, options.precision);  // last: a folder without it is no model
  if (to_int8 && models::has_sentence_modules(from)) {
    report.cosine = compare_vectors(to, samples, outputs, context);
  }
  return report;
}

}  // namespace kvasir::exporting
