// The syntax tree of a template.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace kvasir::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;
struct Statement;
using Body = std::vector<Statement>;

struct Expression {
  enum class Type {
    kConstant,     // value
    kName,         // name
    kList,         // operands
    kTuple,        // operands
    kDict,         // operands: key, value, key, value, …
    kAttribute,    // operands[0].name
    kItem,         // operands[0][operands[1]]
    kSlice,        // operands[0][operands[1] : operands[2] : operands[3]]; null if not given
    kCall,         // operands[0](operands[1], …, named)
    kFilter,       // operands[0] | name(operands[1], …, named); operands[0] is null in {% filter %}
    kTest,         // operands[0] is name(operands[1], …)
    kNot,          // operands[0]
    kNegate,       // operands[0]
    kPlus,         // operands[0]
    kCalculate,    // operands[0] op operands[1]
    kCompare,      // operands[0] comparisons[0] operands[1] comparisons[1] operands[2] …
    kAnd,          // operands, the first false one or the last
    kOr,           // operands, the first true one or the last
    kConcatenate,  // operands as strings
    kConditional   // operands[1] if operands[0] else operands[2], which may be null
  };
  enum class Comparison { kEqual, kNotEqual, kLess, kLessOrEqual, kGreater, kGreaterOrEqual, kIn, kNotIn };

  Type type = Type::kConstant;
  int line = 1;
  int depth = 1;  // 1 + the deepest of the operands
  std::string name;
  Value::Content constant;
  std::vector<ExpressionPtr> operands;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<Comparison> comparisons;
  Operator op = Operator::kAdd;
};

// What is assigned to: x, space.x (set only), or several.
struct Target {
  std::string name;
  std::string attribute;
  std::vector<Target> parts;  // if not empty, these instead
};

struct Branch {
  ExpressionPtr condition;  // null: else
  Body body;
};

struct Macro {
  std::string name;
  struct Parameter {
    std::string name;
    ExpressionPtr fallback;  // may be null
  };
  std::vector<Parameter> parameters;
  Body body;
};

struct Statement {
  enum class Type {
    kText,         // text
    kOutput,       // expression
    kIf,           // branches
    kFor,          // target in expression if condition: body; else branches[0].body
    kSet,          // target = expression
    kSetBlock,     // target = body through the filters of expression, which may be null
    kMacro,        // macro
    kCallBlock,    // expression, a call, with the body as macro `caller`
    kFilterBlock,  // body through the filters of expression
    kWith,         // names: body in a scope of its own
    kBreak,
    kContinue
  };

  Type type = Type::kText;
  int line = 1;
  std::string text;
  ExpressionPtr expression, condition;
  Target target;
  Body body;
  std::vector<Branch> branches;
  std::vector<std::pair<Target, ExpressionPtr>> names;
  std::unique_ptr<Macro> macro;
};

}  // namespace kvasir::jinja
