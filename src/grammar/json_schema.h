// JSON schemas as grammars of the JSON texts that they describe.
#pragma once

#include <string>

#include "base/json.h"
#include "grammar/byte_grammar.h"

namespace kvasir::grammar {

struct JsonGrammar {
  ByteGrammar grammar;
  NodeId root = 0;
};

struct JsonSchemaOptions {
  bool ascii_only = false;  // other characters only as \uXXXX, and only if they occur in the schema
};

// Every text of the grammar is valid JSON that the schema allows, written in one of these ways: white space
// is none, one space, or a line break with an indent; properties come in the order of the schema and then the
// additional ones, whose names are plain ASCII; numbers have at most 15 digits on each side of the point and
// two in the exponent.
//
// Keywords: type, enum, const, properties, required, additionalProperties (default: false if there are
// properties), items, minItems, maxItems, minLength, maxLength, anyOf, oneOf (of disjoint schemas), allOf (of
// one schema), $ref within the schema, and annotations (title, format, …). Throws kUnsupported for others, by
// name; kFormat for malformed ones; kInvalidArgument for a schema that no finite text matches.
JsonGrammar compile_json_schema(const base::json::value& schema, const JsonSchemaOptions& options,
                                const std::string& origin);

}  // namespace kvasir::grammar
