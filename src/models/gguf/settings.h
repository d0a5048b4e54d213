// Settings of GGUF's metadata and of Hugging Face's config.json: their description in a family's record
// (family.h), and the translation in both directions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "models/config.h"

namespace kvasir::models {

struct GgufFamily;
struct GgufLayout;

// A number that both have: the key ARCHITECTURE.GGUF of the metadata, and a key of config.json.
struct GgufSetting {
  std::string_view gguf;
  const char* config = nullptr;
  const char* other = nullptr;  // its key in other versions of config.json
  enum class Kind { kSize, kNumber } kind = Kind::kSize;
  bool optional = false;  // may be missing in both
  double fallback = 0;    // the value if config.json lacks it; 0: it must be there
  std::int64_t min = 1;   // of sizes
  std::size_t max = kMaxWidth;

  // The key that this config.json uses.
  const char* key_in(const base::JsonObject& json) const {
    return other != nullptr && !json.has(config) && json.has(other) ? other : config;
  }
};

// A setting of config.json that GGUF cannot express, because llama.cpp supports only one value. A model with
// another value is refused when writing.
struct GgufAssumption {
  const char* config = nullptr;
  std::variant<std::nullptr_t, bool, std::string_view> value = nullptr;
  // Whether it is put into the config.json of a file that is read; otherwise the family's default or `read`
  // covers it.
  bool said = true;
};

// Turns the metadata of one file into a config.json. Names are without the prefix "ARCHITECTURE.". Throws as
// formats::GgufMetadata.
class GgufReader {
 public:
  GgufReader(const formats::GgufFile& file, const GgufFamily& family);

  bool has(std::string_view name) const { return metadata_.has(key(name)); }
  bool has_tensor(const std::string& name) const { return file_.tensors().contains(name); }
  const formats::CheckpointTensor* find_tensor(const std::string& name) const;
  std::int64_t size(std::string_view name) const { return metadata_.integer(key(name), 1, kMaxWidth); }
  std::int64_t size_or(std::string_view name, std::int64_t fallback) const {
    return metadata_.integer_or(key(name), fallback, 1, kMaxWidth);
  }
  double number(std::string_view name) const { return metadata_.number(key(name)); }
  double number_or(std::string_view name, double fallback) const {
    return metadata_.number_or(key(name), fallback);
  }
  std::string_view string_or(std::string_view name, std::string_view fallback) const {
    return metadata_.string_or(key(name), fallback);
  }
  // A setting that must be absent or have this value.
  void only(std::string_view name, std::int64_t value, const std::string& what) const;
  // Throws kUnsupported.
  [[noreturn]] void unsupported(std::string_view name, const std::string& message) const;

  void set(std::string_view config_key, base::json::value value) { config_[config_key] = std::move(value); }
  // Reads everything: tables, the family's own `read`, vocabulary, head, special tokens.
  base::json::object run();

 private:
  std::string key(std::string_view name) const { return prefix_ + std::string(name); }
  void read(std::string_view prefix, std::span<const GgufSetting> settings);
  std::int64_t vocabulary() const;

  const formats::GgufFile& file_;
  const formats::GgufMetadata& metadata_;
  const GgufFamily& family_;
  std::string prefix_;
  base::json::object config_;
};

// Turns a config.json into metadata.
class GgufWriter {
 public:
  GgufWriter(const base::JsonObject& config, const GgufLayout& layout);

  const base::JsonObject& config() const noexcept { return config_; }
  const GgufLayout& layout() const noexcept { return layout_; }
  void add(std::string_view name, std::string value);
  void add_number(std::string_view name, double value);
  void add_size(std::string_view name, std::size_t value);
  // A key that must be absent or have this value.
  static void only(const base::JsonObject& json, const char* key, const base::json::value& value);
  // Throws kUnsupported "… WHAT cannot be said in GGUF".
  [[noreturn]] static void unsupported(const base::JsonObject& json, const std::string& what);

  std::vector<formats::GgufEntry> run();

 private:
  void write(const GgufSetting& setting);

  const base::JsonObject& config_;
  const GgufLayout& layout_;
  std::vector<formats::GgufEntry> entries_;
};

// A size of config.json, by its name in the family's table for GGUF. Throws kFormat if config.json lacks it.
std::size_t config_size(const GgufFamily& family, const base::JsonObject& config, std::string_view gguf);

// rope_scaling, or rope_parameters of transformers 5.
std::optional<base::JsonObject> rope_scaling(const base::JsonObject& config);
std::string rope_type(const base::JsonObject& config);  // "default": none

}  // namespace kvasir::models
