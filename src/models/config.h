// Reading config.json: a family's config struct has one visitor that names each key, its field and its
// bounds.
//
//   template <class Visitor>
//   void visit(BertConfig& c, Visitor& v) {
//     v.required("hidden_size", c.hidden_size, kMaxWidth);
//     v.optional("hidden_act", c.hidden_act);
//     v.only("position_embedding_type", "absolute");
//   }
//   visit(config, ConfigReader(json));
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "kernels/kernels.h"

namespace kvasir::models {

// Largest sizes that a config may claim, far above any published encoder. They keep products of two sizes
// within 64 bits and loops over layers short, whatever a file says.
inline constexpr std::size_t kMaxVocabulary = std::size_t{1} << 24;
inline constexpr std::size_t kMaxWidth = std::size_t{1} << 20;
inline constexpr std::size_t kMaxPositions = std::size_t{1} << 20;
inline constexpr std::size_t kMaxLayers = 1024;
inline constexpr std::size_t kMaxParts = 16;  // of the same kind within a layer

// A size and the key of config.json that set it, for errors that name both.
struct Dim {
  const char* key;
  std::size_t size;
};
struct MatrixShape {
  Dim rows, columns;
};

// The visitor that fills a config struct. Throws kFormat (missing key, wrong type, out of range) and
// kUnsupported, naming file and key.
class ConfigReader {
 public:
  explicit ConfigReader(base::JsonObject json) : json_(std::move(json)) {}

  // Sizes are in [1, max].
  void required(const char* key, std::size_t& field, std::size_t max) const;
  // A missing key leaves the field as it is: the struct's initialiser is the default.
  void optional(const char* key, std::size_t& field, std::size_t max) const;
  void optional(const char* key, float& field) const;          // in [0, 1]: for epsilons
  void optional_dropout(const char* key, float& field) const;  // in [0, 1)
  void optional(const char* key, kernels::Activation& field) const;
  void optional(const char* key, bool& field) const;
  void optional(const char* key, double& field) const;  // at least 1: for the base of rotary angles
  // A size that may be absent: 0, or -1 as configs write it.
  void optional_or_none(const char* key, std::size_t& field, std::size_t max) const;
  void optional_id(const char* key, std::int32_t& field, std::size_t end) const;  // in [0, end)
  // A key that must be absent or have this value; otherwise throws kUnsupported.
  void only(const char* key, const char* value) const;
  void only(const char* key, bool value) const;
  void only(const char* key, std::int64_t value) const;

  const base::JsonObject& json() const { return json_; }

 private:
  base::JsonObject json_;
};

// Throws kFormat if the width cannot be split into that many heads.
void check_heads(const ConfigReader& reader, Dim width, Dim heads);
// Throws kFormat if the size is smaller.
void check_at_least(const ConfigReader& reader, Dim dim, std::size_t least);

}  // namespace kvasir::models
