#include "export/gguf_export.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "base/cpu.h"
#include "base/json.h"
#include "base/thread_pool.h"
#include "formats/checkpoint.h"
#include "formats/gguf_writer.h"
#include "formats/model_folder.h"
#include "kvasir/error.h"
#include "models/gguf/config.h"
#include "models/gguf/names.h"
#include "tensor/round_to_quants.h"
#include "text/chat_template.h"
#include "text/loading/gguf_vocabulary.h"
#include "text/loading/gguf_vocabulary_export.h"

namespace kvasir::exporting {

namespace {

using formats::GgufEntry;
using tensor::DType;

struct TypeName {
  const char* name;
  DType dtype;
  std::uint32_t file_type;  // general.file_type
};
constexpr std::array<TypeName, 6> kTypes{{{"f32", DType::kF32, 0},
                                          {"f16", DType::kF16, 1},
                                          {"q8_0", DType::kQ8_0, 7},
                                          {"q4_0", DType::kQ4_0, 2},
                                          {"q4_k", DType::kQ4_K, 14},
                                          {"q6_k", DType::kQ6_K, 18}}};

const TypeName& row_of(DType dtype) {
  const auto* row = std::ranges::find(kTypes, dtype, &TypeName::dtype);
  if (row == kTypes.end()) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string("models are not written as ") + tensor::dtype_name(dtype));
  }
  return *row;
}

// The type to use instead of one whose quants do not divide rows of this length.
DType fitting(DType dtype, std::int64_t row) {
  const auto fits = [&](DType type) {
    return static_cast<std::size_t>(row) % tensor::dtype_quant_elements(type) == 0;
  };
  if (fits(dtype)) return dtype;
  const DType simple = dtype == DType::kQ4_K ? DType::kQ5_0 : DType::kQ8_0;
  return fits(simple) ? simple : DType::kF16;
}

constexpr long kAfterLayers = 1'000'000;
// Of "blk.12.attn_norm.weight"; the largest number there is if it does not fit.
long layer_of(const std::string& name) {
  return std::strtol(name.c_str() + 4, nullptr, 10);
}

struct Source {
  const formats::CheckpointTensor* tensor = nullptr;
  models::RowOrder order;     // of the rows to write
  std::vector<float> values;  // instead of a tensor
};

using Tensors = std::map<std::string, const formats::CheckpointTensor*>;  // by their names in GGUF

class GgufExport {
 public:
  GgufExport(const std::filesystem::path& folder, const GgufExportOptions& options)
      : folder_(folder),
        options_(options),
        config_(folder_.config()),
        layout_(models::gguf_layout(config_)),
        checkpoint_(folder),
        pool_(options.threads == 0 ? base::usable_cores() : options.threads) {
    metadata_ = {{"general.architecture", layout_.architecture()},
                 {"general.type", std::string("model")},
                 {"general.name", std::filesystem::absolute(folder).lexically_normal().filename().string()},
                 {"general.file_type", row_of(options.type).file_type},
                 {"general.quantization_version", 2U}};
    for (GgufEntry& entry : models::gguf_from_config(config_, layout_)) metadata_.push_back(std::move(entry));
    add_tokenizer();
    add_tensors();
  }

  GgufExportReport write(const std::filesystem::path& out,
                         const std::function<void(std::size_t, std::size_t)>& progress) {
    formats::write_gguf(out, metadata_, tensors_, [&](std::size_t i, std::span<std::byte> bytes) {
      if (progress) progress(i, tensors_.size());
      fill(sources_[i], tensors_[i], bytes);
      report_.bytes_after += bytes.size();
    });
    return std::move(report_);
  }

 private:
  void add_tokenizer() {
    const std::int64_t rows = config_.integer("vocab_size", 1, text::kMaxTokenId);
    text::ExportedVocabulary v = text::export_gguf_vocabulary(folder_);
    if (v.tokens.size() > static_cast<std::size_t>(rows)) {
      config_.fail("key vocab_size is " + std::to_string(rows) + ", and the tokenizer has " +
                   std::to_string(v.tokens.size()) + " tokens, more than llama.cpp can number");
    }
    // llama.cpp wants a token for each row of the table.
    while (v.tokens.size() < static_cast<std::size_t>(rows)) {
      v.tokens.push_back("[PAD" + std::to_string(v.tokens.size()) + "]");
      v.types.push_back(text::GgufVocabulary::kUnused);
      if (v.model == "llama") v.scores.push_back(0);
    }
    const auto add = [&](const char* key, auto value) {
      metadata_.push_back({std::string("tokenizer.ggml.") + key, std::move(value)});
    };
    const auto add_id = [&](const char* key, const char* config_key, const std::optional<std::int32_t>& id) {
      if (id) {
        add(key, static_cast<std::uint32_t>(*id));
      } else if (config_.has(config_key) && config_.at(config_key).is_int64()) {
        add(key, static_cast<std::uint32_t>(config_.integer(config_key, 0, rows - 1)));
      }
    };
    const bool spaces = v.model == "llama";
    add("model", std::move(v.model));
    add("pre", std::move(v.pre));
    add("tokens", std::move(v.tokens));
    if (spaces) add("scores", std::move(v.scores));
    add("token_type", std::move(v.types));
    if (!spaces) add("merges", std::move(v.merges));
    add_id("bos_token_id", "bos_token_id", v.bos);
    add_id("eos_token_id", "eos_token_id", v.eos);
    add_id("padding_token_id", "pad_token_id", v.pad);
    if (v.unk) add("unknown_token_id", static_cast<std::uint32_t>(*v.unk));
    add("add_bos_token", v.add_bos);
    add("add_eos_token", v.add_eos);
    if (spaces) add("add_space_prefix", v.add_space_prefix);
    if (auto source = text::read_chat_template(folder_)) {
      metadata_.push_back({"tokenizer.chat_template", std::move(source->text)});
    }
  }

  // In the order of llama.cpp's own converter: the table of embeddings, the layers, what comes after them.
  void add_tensors() {
    Tensors by_name;
    const bool tied = models::has_tied_head(config_, layout_);
    for (const auto& [name, tensor] : checkpoint_.tensors()) {
      if (name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight")) continue;
      const std::optional<std::string> gguf = models::gguf_name(layout_, name);
      if (!gguf) {
        throw Error(ErrorCode::kUnsupported, tensor.file + ": tensor " + name + " has no name in GGUF");
      }
      if (!by_name.emplace(*gguf, &tensor).second) {
        throw Error(ErrorCode::kFormat, tensor.file + ": tensor " + name + " is there under two names");
      }
    }
    check_complete(by_name, tied);
    if (layout_.family->head.copied) by_name["output.weight"] = by_name["token_embd.weight"];
    std::vector<std::string> names;
    for (const auto& [name, tensor] : by_name) names.push_back(name);
    std::ranges::stable_sort(names, {}, [](const std::string& name) {
      if (!name.starts_with("blk."))
        return std::pair(name.starts_with("token_embd") ? -1L : kAfterLayers, 0L);
      return std::pair(layer_of(name), 1L);
    });
    for (const std::string& name : names) {
      add_tensor(name, *by_name[name], !by_name.contains("output.weight"));
    }
    if (std::vector<float> divisors = models::rotary_divisors(config_, layout_); !divisors.empty()) {
      tensors_.push_back({"rope_freqs.weight", DType::kF32, {static_cast<std::int64_t>(divisors.size())}});
      sources_.push_back({.tensor = nullptr, .order = {}, .values = std::move(divisors)});
    }
    for (const formats::GgufTensor& tensor : tensors_) report_.tensors.push_back({tensor.name, tensor.dtype});
  }

  // Whether all weights are there that the family always has, each layer with what the first has.
  void check_complete(const Tensors& tensors, bool tied) const {
    const auto require = [&](const std::string& name) {
      if (tensors.contains(name)) return;
      throw Error(ErrorCode::kFormat, checkpoint_.origin() + ": tensor " +
                                          models::huggingface_name(layout_, name).value_or(name) +
                                          " is missing");
    };
    for (const models::GgufName& line : layout_.names) {
      if (!line.required || (tied && line.gguf == "output")) continue;
      std::string name = std::string(line.gguf) + ".weight";
      if (name.starts_with("blk.N.")) name[4] = '0';
      require(name);
    }
    const auto layers =
        static_cast<std::int64_t>(models::config_size(*layout_.family, config_, "block_count"));
    std::set<std::string> of_first;
    for (const auto& [name, tensor] : tensors) {
      if (name.starts_with("blk.0.")) of_first.insert(name.substr(6));
      if (name.starts_with("blk.") && layer_of(name) >= layers) {
        config_.fail("has " + std::to_string(layers) + " layers, and the weights have more");
      }
    }
    for (std::int64_t i = 1; i < layers; ++i) {
      for (const std::string& name : of_first) require("blk." + std::to_string(i) + "." + name);
    }
  }

  void add_tensor(const std::string& name, const formats::CheckpointTensor& tensor, bool table_is_head) {
    const tensor::TensorView& view = tensor.view;
    constexpr std::array kReadable{DType::kF32, DType::kF16, DType::kBF16, DType::kF64};
    if (std::ranges::find(kReadable, view.dtype) == kReadable.end()) {
      throw Error(ErrorCode::kUnsupported, tensor.file + ": " + name + " is stored as " +
                                               tensor::dtype_name(view.dtype) +
                                               "; F32, F16, BF16 and F64 can be written");
    }
    if (view.shape.empty() || view.shape.size() > 2) {
      throw Error(ErrorCode::kFormat,
                  tensor.file + ": " + name + " has shape " + tensor::shape_text(view.shape));
    }
    const auto huggingface = models::huggingface_name(layout_, name);
    const auto rows = static_cast<std::size_t>(view.shape.front());
    sources_.push_back({.tensor = &tensor,
                        .order = models::rows_to_gguf(layout_, huggingface.value_or(""), rows),
                        .values = {}});
    report_.bytes_before += view.bytes();
    DType dtype = DType::kF32;
    if (view.shape.size() == 2 && name != "position_embd.weight") {
      const bool head = name == "output.weight" || (table_is_head && name == "token_embd.weight");
      dtype = fitting(head ? head_type() : options_.type, view.shape.back());
    }
    tensors_.push_back({name, dtype, view.shape});
  }

  DType head_type() const {
    const bool is_4_bits = options_.type == DType::kQ4_0 || options_.type == DType::kQ4_K;
    return is_4_bits ? layout_.family->head.with_4_bits : options_.type;
  }

  void fill(const Source& source, const formats::GgufTensor& target, std::span<std::byte> bytes) {
    if (source.tensor == nullptr) {
      std::memcpy(bytes.data(), source.values.data(), bytes.size());
      return;
    }
    const tensor::TensorView& view = source.tensor->view;
    const auto width = static_cast<std::size_t>(view.shape.back());
    const std::size_t rows = view.elements() / std::max<std::size_t>(width, 1);
    // A vector's elements are its rows where the layout turns them (biases).
    const bool vector = view.shape.size() == 1;
    std::atomic<bool> finite = true;
    pool_.parallel_for(rows, [&](std::size_t row, int) noexcept {
      std::vector<float> values(width);
      if (vector && !source.order.empty()) {
        for (std::size_t i = 0; i < width; ++i) view.read_floats(source.order[i], {&values[i], 1});
      } else {
        view.read_floats((source.order.empty() ? row : source.order[row]) * width, values);
      }
      if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); })) finite = false;
      if (finite)
        convert(target.dtype, values, bytes.data() + tensor::dtype_bytes(target.dtype, row * width));
    });
    if (!finite) {
      throw Error(ErrorCode::kFormat, source.tensor->file + ": " + target.name + " holds NaN or infinity");
    }
    if (source.tensor->mapped != nullptr) source.tensor->mapped->release({view.data, view.bytes()});
  }

  static void convert(DType dtype, std::span<const float> values, std::byte* out) noexcept {
    if (dtype == DType::kF32) {
      std::memcpy(out, values.data(), values.size_bytes());
    } else if (dtype == DType::kF16) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t half = tensor::float_to_half(values[i]);
        std::memcpy(out + 2 * i, &half, sizeof half);
      }
    } else {
      tensor::round_to_quants(dtype, values, out);
    }
  }

  formats::ModelFolder folder_;
  const GgufExportOptions& options_;
  base::JsonObject config_;
  models::GgufLayout layout_;
  formats::Checkpoint checkpoint_;
  base::ThreadPool pool_;
  std::vector<GgufEntry> metadata_;
  std::vector<formats::GgufTensor> tensors_;
  std::vector<Source> sources_;
  GgufExportReport report_;
};

}  // namespace

std::optional<DType> parse_gguf_type(std::string_view name) {
  for (const TypeName& row : kTypes) {
    if (name == row.name) return row.dtype;
  }
  return std::nullopt;
}

GgufExportReport export_gguf(const std::filesystem::path& folder, const std::filesystem::path& out,
                             const GgufExportOptions& options,
                             const std::function<void(std::size_t, std::size_t)>& progress) {
  return GgufExport(folder, options).write(out, progress);
}

}  // namespace kvasir::exporting
