// Which JSON values a schema may match, as far as can be told without matching: for oneOf.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"

namespace kvasir::grammar {

// A set of types.
using JsonTypes = std::uint32_t;
inline constexpr JsonTypes kNull = 1, kBoolean = 2, kInteger = 4, kFraction = 8, kString = 16, kArray = 32,
                           kObject = 64, kAllTypes = 127;

JsonTypes type_of(const base::json::value& value);
// What the keyword type says; without it, the type that other keywords are about (properties: an object),
// else all. Throws kFormat for a type that does not exist.
JsonTypes types_of_keyword(const base::JsonObject& schema);

// The schema that "#/$defs/name" stands for. Throws kUnsupported for a reference to elsewhere, kFormat if
// there is nothing.
const base::json::value& resolve_reference(const base::json::value& root, const std::string& reference,
                                           const std::string& where);

// Whether no value matches both, for certain: they have other types, other values of enum or const, or such a
// property that both require.
bool are_disjoint(const base::json::value& root, const base::json::value& a, const base::json::value& b,
                  const std::string& where);

}  // namespace kvasir::grammar
