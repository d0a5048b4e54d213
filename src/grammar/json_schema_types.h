// The types of JSON values that a schema can match, as far as they can be determined without a value: for
// oneOf.
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
// The types of the keyword `type`; without it, the type that other keywords imply (properties: an object),
// otherwise all. Throws kFormat for a type that does not exist.
JsonTypes types_of_keyword(const base::JsonObject& schema);

// The schema that "#/$defs/name" stands for. Throws kUnsupported for a reference to elsewhere, kFormat if it
// does not exist.
const base::json::value& resolve_reference(const base::json::value& root, const std::string& reference,
                                           const std::string& where);

// Whether it is certain that no value matches both: their types, their values of enum or const, or a property
// that both require are disjoint.
bool are_disjoint(const base::json::value& root, const base::json::value& a, const base::json::value& b,
                  const std::string& where);

}  // namespace kvasir::grammar
