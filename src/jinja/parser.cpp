#include "jinja/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "jinja/token_cursor.h"
#include "kvasir/error.h"

namespace kvasir::jinja {

namespace {

using Type = Expression::Type;
using Comparison = Expression::Comparison;

// Of operators in a chain: what the recursion of the evaluator takes of the stack.
constexpr int kMaxChain = 500;

class Parser : TokenCursor {
 public:
  using TokenCursor::TokenCursor;

  Body run() { return parse_body({}); }

 private:
  // ---- expressions ----
  ExpressionPtr make(Type type) const {
    auto out = std::make_unique<Expression>();
    out->type = type;
    out->line = current().line;
    return out;
  }
  void add(Expression& to, ExpressionPtr operand) const {
    if (operand != nullptr) {
      to.depth = std::max(to.depth, operand->depth + 1);
      if (to.depth > kMaxChain) {
        fail("an expression has more than " + std::to_string(kMaxChain) + " levels",
             ErrorCode::kResourceExhausted);
      }
    }
    to.operands.push_back(std::move(operand));
  }
  template <class... Operands>
  ExpressionPtr make(Type type, ExpressionPtr first, Operands... rest) const {
    auto out = make(type);
    if (first != nullptr) out->line = first->line;
    add(*out, std::move(first));
    (add(*out, std::move(rest)), ...);
    return out;
  }
  ExpressionPtr constant(Value::Content content) const {
    auto out = make(Type::kConstant);
    out->constant = std::move(content);
    return out;
  }

  ExpressionPtr parse_expression() {
    const Nested nested(*this);
    ExpressionPtr out = parse_or();
    while (take_name("if")) {
      ExpressionPtr condition = parse_or();
      ExpressionPtr otherwise = take_name("else") ? parse_expression() : nullptr;
      out = make(Type::kConditional, std::move(condition), std::move(out), std::move(otherwise));
    }
    return out;
  }

  ExpressionPtr parse_or() {
    ExpressionPtr out = parse_and();
    if (!at_name("or")) return out;
    out = make(Type::kOr, std::move(out));
    while (take_name("or")) add(*out, parse_and());
    return out;
  }

  ExpressionPtr parse_and() {
    ExpressionPtr out = parse_not();
    if (!at_name("and")) return out;
    out = make(Type::kAnd, std::move(out));
    while (take_name("and")) add(*out, parse_not());
    return out;
  }

  ExpressionPtr parse_not() {
    if (!at_name("not")) return parse_compare();
    const Nested nested(*this);
    take();
    return make(Type::kNot, parse_not());
  }

  bool take_comparison(Comparison& out) {
    constexpr std::array<std::pair<std::string_view, Comparison>, 6> kOperators = {
        {{"==", Comparison::kEqual},
         {"!=", Comparison::kNotEqual},
         {"<", Comparison::kLess},
         {"<=", Comparison::kLessOrEqual},
         {">", Comparison::kGreater},
         {">=", Comparison::kGreaterOrEqual}}};
    for (const auto& [text, comparison] : kOperators) {
      if (take_operator(text)) {
        out = comparison;
        return true;
      }
    }
    if (take_name("in")) {
      out = Comparison::kIn;
      return true;
    }
    if (at_name("not") && is(next(), Token::Type::kName, "in")) {
      take(), take();
      out = Comparison::kNotIn;
      return true;
    }
    return false;
  }

  ExpressionPtr parse_compare() {
    ExpressionPtr out = parse_sum();
    Comparison comparison{};
    if (!take_comparison(comparison)) return out;
    out = make(Type::kCompare, std::move(out));
    do {
      out->comparisons.push_back(comparison);
      add(*out, parse_sum());
    } while (take_comparison(comparison));
    return out;
  }

  ExpressionPtr calculate(Operator op, ExpressionPtr left, ExpressionPtr right) const {
    auto out = make(Type::kCalculate, std::move(left), std::move(right));
    out->op = op;
    return out;
  }

  ExpressionPtr parse_sum() {
    ExpressionPtr out = parse_concatenation();
    for (;;) {
      if (take_operator("+")) {
        out = calculate(Operator::kAdd, std::move(out), parse_concatenation());
      } else if (take_operator("-")) {
        out = calculate(Operator::kSubtract, std::move(out), parse_concatenation());
      } else {
        return out;
      }
    }
  }

  ExpressionPtr parse_concatenation() {
    ExpressionPtr out = parse_product();
    if (!at_operator("~")) return out;
    out = make(Type::kConcatenate, std::move(out));
    while (take_operator("~")) add(*out, parse_product());
    return out;
  }

  ExpressionPtr parse_product() {
    ExpressionPtr out = parse_power();
    for (;;) {
      if (take_operator("*")) {
        out = calculate(Operator::kMultiply, std::move(out), parse_power());
      } else if (take_operator("/")) {
        out = calculate(Operator::kDivide, std::move(out), parse_power());
      } else if (take_operator("//")) {
        out = calculate(Operator::kFloorDivide, std::move(out), parse_power());
      } else if (take_operator("%")) {
        out = calculate(Operator::kModulo, std::move(out), parse_power());
      } else {
        return out;
      }
    }
  }

  ExpressionPtr parse_power() {
    ExpressionPtr out = parse_unary(true);
    while (take_operator("**")) out = calculate(Operator::kPower, std::move(out), parse_unary(true));
    return out;
  }

  ExpressionPtr parse_unary(bool with_filters) {
    const Nested nested(*this);
    ExpressionPtr out;
    if (take_operator("-")) {
      out = make(Type::kNegate, parse_unary(false));
    } else if (take_operator("+")) {
      out = make(Type::kPlus, parse_unary(false));
    } else {
      out = parse_primary();
    }
    out = parse_postfix(std::move(out));
    return with_filters ? parse_filters(std::move(out)) : std::move(out);
  }

  ExpressionPtr parse_name() {
    if (at_name("true") || at_name("True") || at_name("false") || at_name("False")) {
      const char first = take().text[0];
      return constant(first == 't' || first == 'T');
    }
    if (at_name("none") || at_name("None")) {
      take();
      return constant(None{});
    }
    auto out = make(Type::kName);
    out->name = take().text;
    return out;
  }

  ExpressionPtr parse_primary() {
    switch (current().type) {
      case Token::Type::kName:
        return parse_name();
      case Token::Type::kInteger:
        return constant(take().integer);
      case Token::Type::kFloat:
        return constant(take().number);
      case Token::Type::kString: {
        std::string text = take().text;
        while (current().type == Token::Type::kString) text += take().text;  // as in Python
        return constant(std::make_shared<const std::string>(std::move(text)));
      }
      default:
        break;
    }
    if (take_operator("(")) {
      ExpressionPtr out = parse_tuple(")");
      expect_operator(")", "after (");
      return out;
    }
    if (take_operator("[")) return parse_items(make(Type::kList));
    if (take_operator("{")) return parse_dict();
    fail("expected an expression, found " + shown());
  }

  ExpressionPtr parse_items(ExpressionPtr out) {
    while (!take_operator("]")) {
      if (!out->operands.empty()) {
        expect_operator(",", "or ] in a list");
        if (take_operator("]")) break;
      }
      add(*out, parse_expression());
    }
    return out;
  }

  ExpressionPtr parse_dict() {
    auto out = make(Type::kDict);
    while (!take_operator("}")) {
      if (!out->operands.empty()) {
        expect_operator(",", "or } in a dictionary");
        if (take_operator("}")) break;
      }
      add(*out, parse_expression());
      expect_operator(":", "after the key of a dictionary");
      add(*out, parse_expression());
    }
    return out;
  }

  bool at_tuple_end(std::string_view close) const {
    return current().type == Token::Type::kBlockEnd || current().type == Token::Type::kVariableEnd ||
           at_operator(close);
  }

  // One expression, or several with commas; close: what may end them. With "(" before it, none will do.
  ExpressionPtr parse_tuple(std::string_view close, bool conditional = true) {
    std::vector<ExpressionPtr> items;
    bool tuple = false;
    while (!at_tuple_end(close)) {
      items.push_back(conditional ? parse_expression() : parse_or());
      if (!take_operator(",")) break;
      tuple = true;
    }
    if (!tuple && items.size() == 1) return std::move(items[0]);
    if (items.empty() && close != ")") fail("expected an expression, found " + shown());
    auto out = make(Type::kTuple);
    for (ExpressionPtr& item : items) add(*out, std::move(item));
    return out;
  }

  ExpressionPtr parse_postfix(ExpressionPtr out) {
    for (;;) {
      if (take_operator(".")) {
        if (current().type == Token::Type::kInteger) {  // x.0 is x[0]
          out = make(Type::kItem, std::move(out), constant(current().integer));
          take();
          continue;
        }
        auto attribute = make(Type::kAttribute, std::move(out));
        attribute->name = expect_name("a name after .");
        out = std::move(attribute);
      } else if (take_operator("[")) {
        out = parse_subscript(std::move(out));
      } else if (at_operator("(")) {
        out = make(Type::kCall, std::move(out));
        parse_arguments(*out);
      } else {
        return out;
      }
    }
  }

  ExpressionPtr parse_subscript(ExpressionPtr of) {
    ExpressionPtr parts[3];
    std::size_t colons = 0;
    for (;;) {
      if (!at_operator(":") && !at_operator("]")) {
        if (parts[colons] != nullptr) fail("expected ] or : in an index, found " + shown());
        parts[colons] = parse_expression();
        if (at_operator(",")) fail("an index of several parts is not supported", ErrorCode::kUnsupported);
      } else if (take_operator(":")) {
        if (++colons > 2) fail("a slice has at most two :");
      } else {
        break;
      }
    }
    take();
    if (colons == 0 && parts[0] == nullptr) fail("expected an index between [ and ]");
    if (colons == 0) return make(Type::kItem, std::move(of), std::move(parts[0]));
    return make(Type::kSlice, std::move(of), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
  }

  void parse_arguments(Expression& out) {
    expect_operator("(", "before arguments");
    bool first = true;
    while (!take_operator(")")) {
      if (!first) {
        expect_operator(",", "or ) after an argument");
        if (take_operator(")")) break;
      }
      first = false;
      if (at_operator("*") || at_operator("**")) {
        fail("arguments with * or ** are not supported", ErrorCode::kUnsupported);
      }
      if (current().type == Token::Type::kName && is(next(), Token::Type::kOperator, "=")) {
        std::string name = take().text;
        take();
        ExpressionPtr value = parse_expression();
        out.depth = std::max(out.depth, value->depth + 1);
        out.named.emplace_back(std::move(name), std::move(value));
      } else {
        if (!out.named.empty()) fail("an argument without name follows one with a name");
        add(out, parse_expression());
      }
    }
  }

  ExpressionPtr parse_filter(ExpressionPtr of) {
    auto out = make(Type::kFilter, std::move(of));
    out->line = current().line;
    out->name = expect_name("the name of a filter");
    if (at_operator("(")) parse_arguments(*out);
    return out;
  }

  ExpressionPtr parse_filters(ExpressionPtr out) {
    for (;;) {
      if (take_operator("|")) {
        out = parse_filter(std::move(out));
      } else if (take_name("is")) {
        out = parse_test(std::move(out));
      } else if (at_operator("(")) {
        out = make(Type::kCall, std::move(out));
        parse_arguments(*out);
      } else {
        return out;
      }
    }
  }

  bool at_test_argument() const {
    switch (current().type) {
      case Token::Type::kName:
        return !at_name("else") && !at_name("or") && !at_name("and");
      case Token::Type::kString:
      case Token::Type::kInteger:
      case Token::Type::kFloat:
        return true;
      default:
        return at_operator("[") || at_operator("{");
    }
  }

  ExpressionPtr parse_test(ExpressionPtr of) {
    const bool negated = take_name("not");
    auto out = make(Type::kTest, std::move(of));
    out->name = expect_name("the name of a test after is");
    if (at_operator("(")) {
      parse_arguments(*out);
    } else if (at_test_argument()) {
      if (at_name("is")) fail("tests with is cannot be chained");
      add(*out, parse_postfix(parse_primary()));
    }
    return negated ? make(Type::kNot, std::move(out)) : std::move(out);
  }

  // ---- statements ---- Up to one of the tags `ends`, which is left to read (after its {%), or to the end of
  // the template.
  Body parse_body(std::initializer_list<std::string_view> ends) {
    const Nested nested(*this);
    Body out;
    for (;;) {
      const Token& token = current();
      if (token.type == Token::Type::kEnd) {
        if (ends.size() != 0) fail("the template ends before {% " + std::string(*(ends.end() - 1)) + " %}");
        return out;
      }
      if (token.type == Token::Type::kText) {
        out.push_back(make_statement(Statement::Type::kText));
        out.back().text = take().text;
      } else if (token.type == Token::Type::kVariableBegin) {
        take();
        out.push_back(make_statement(Statement::Type::kOutput));
        out.back().expression = parse_tuple("");
        if (current().type != Token::Type::kVariableEnd) fail("expected }}, found " + shown());
        take();
      } else {
        take();
        if (current().type != Token::Type::kName)
          fail("expected the name of a tag after {%, found " + shown());
        if (std::find(ends.begin(), ends.end(), current().text) != ends.end()) return out;
        out.push_back(parse_statement());
      }
    }
  }

  Statement make_statement(Statement::Type type) const {
    Statement out;
    out.type = type;
    out.line = current().line;
    return out;
  }

  // The end of a body: its tag.
  void finish(const std::string& tag) {
    take();
    expect_block_end(tag);
  }

  Statement parse_statement() {
    const std::string tag = current().text;
    if (tag == "if") return parse_if();
    if (tag == "for") return parse_for();
    if (tag == "set") return parse_set();
    if (tag == "macro") return parse_macro();
    if (tag == "call") return parse_call_block();
    if (tag == "filter") return parse_filter_block();
    if (tag == "with") return parse_with();
    if (tag == "generation") return parse_generation();
    if (tag == "break" || tag == "continue") return parse_jump();
    constexpr auto kUnsupported = std::to_array<std::string_view>(
        {"block", "extends", "include", "import", "from", "print", "autoescape", "do", "trans", "debug"});
    if (std::find(kUnsupported.begin(), kUnsupported.end(), tag) != kUnsupported.end()) {
      fail("the tag {% " + tag + " %} is not supported", ErrorCode::kUnsupported);
    }
    fail("there is no tag {% " + tag + " %}" +
         (tag.starts_with("end") || tag == "else" || tag == "elif" ? " to end or go on with here" : ""));
  }

  Statement parse_if() {
    Statement out = make_statement(Statement::Type::kIf);
    std::string tag = "if";
    do {
      take();
      ExpressionPtr condition = parse_tuple("", false);
      expect_block_end(tag);
      out.branches.push_back({std::move(condition), parse_body({"elif", "else", "endif"})});
      tag = current().text;
    } while (tag == "elif");
    if (tag == "else") {
      finish("else");
      out.branches.push_back({nullptr, parse_body({"endif"})});
    }
    finish("endif");
    return out;
  }

  Target parse_target(bool attributes) {
    std::vector<Target> parts;
    bool several = false;
    for (;;) {
      if (take_operator("(")) {
        const Nested nested(*this);
        parts.push_back(parse_target(false));
        expect_operator(")", "after the names of an assignment");
      } else {
        Target part;
        part.name = expect_name("a name to assign to");
        constexpr auto kReserved =
            std::to_array<std::string_view>({"true", "True", "false", "False", "none", "None"});
        if (std::find(kReserved.begin(), kReserved.end(), part.name) != kReserved.end()) {
          fail("cannot assign to " + part.name);
        }
        if (attributes && take_operator(".")) part.attribute = expect_name("a name after .");
        parts.push_back(std::move(part));
      }
      if (!take_operator(",")) break;
      several = true;
      if (current().type != Token::Type::kName && !at_operator("(")) break;
      if (at_name("in")) break;
    }
    if (!several) return std::move(parts[0]);
    Target out;
    out.parts = std::move(parts);
    return out;
  }

  Statement parse_for() {
    Statement out = make_statement(Statement::Type::kFor);
    take();
    out.target = parse_target(false);
    if (!take_name("in")) fail("expected in after the variable of {% for, found " + shown());
    out.expression = parse_tuple("", false);
    if (take_name("if")) out.condition = parse_expression();
    if (at_name("recursive")) fail("{% for … recursive %} is not supported", ErrorCode::kUnsupported);
    expect_block_end("for");
    ++loops_;
    out.body = parse_body({"else", "endfor"});
    --loops_;
    if (at_name("else")) {
      finish("else");
      out.branches.push_back({nullptr, parse_body({"endfor"})});
    }
    finish("endfor");
    return out;
  }

  Statement parse_set() {
    Statement out = make_statement(Statement::Type::kSet);
    take();
    out.target = parse_target(true);
    if (take_operator("=")) {
      out.expression = parse_tuple("");
      expect_block_end("set");
      return out;
    }
    out.type = Statement::Type::kSetBlock;
    while (take_operator("|")) out.expression = parse_filter(std::move(out.expression));
    expect_block_end("set");
    out.body = parse_body({"endset"});
    finish("endset");
    return out;
  }

  void parse_parameters(Macro& macro) {
    bool first = true;
    while (!take_operator(")")) {
      if (!first) {
        expect_operator(",", "or ) after a parameter");
        if (take_operator(")")) break;
      }
      first = false;
      Macro::Parameter parameter;
      parameter.name = expect_name("the name of a parameter");
      if (take_operator("=")) {
        parameter.fallback = parse_expression();
      } else if (!macro.parameters.empty() && macro.parameters.back().fallback != nullptr) {
        fail("the parameter " + parameter.name + " without a default follows one that has it");
      }
      macro.parameters.push_back(std::move(parameter));
    }
  }

  Body parse_macro_body(const std::string& end) {
    const int loops = std::exchange(loops_, 0);
    Body out = parse_body({end});
    loops_ = loops;
    finish(end);
    return out;
  }

  Statement parse_macro() {
    Statement out = make_statement(Statement::Type::kMacro);
    take();
    out.macro = std::make_unique<Macro>();
    out.macro->name = expect_name("the name of a macro");
    expect_operator("(", "after the name of a macro");
    parse_parameters(*out.macro);
    expect_block_end("macro");
    out.macro->body = parse_macro_body("endmacro");
    return out;
  }

  Statement parse_call_block() {
    Statement out = make_statement(Statement::Type::kCallBlock);
    take();
    out.macro = std::make_unique<Macro>();
    out.macro->name = "caller";
    if (take_operator("(")) parse_parameters(*out.macro);
    out.expression = parse_expression();
    if (out.expression->type != Type::kCall) fail("{% call … wants a call of a macro");
    expect_block_end("call");
    out.macro->body = parse_macro_body("endcall");
    return out;
  }

  Statement parse_filter_block() {
    Statement out = make_statement(Statement::Type::kFilterBlock);
    take();
    out.expression = parse_filter(nullptr);
    while (take_operator("|")) out.expression = parse_filter(std::move(out.expression));
    expect_block_end("filter");
    out.body = parse_body({"endfilter"});
    finish("endfilter");
    return out;
  }

  Statement parse_with() {
    Statement out = make_statement(Statement::Type::kWith);
    take();
    while (current().type != Token::Type::kBlockEnd) {
      if (!out.names.empty()) expect_operator(",", "or %} in {% with");
      Target target;
      target.name = expect_name("a name in {% with");
      expect_operator("=", "after a name in {% with");
      out.names.emplace_back(std::move(target), parse_expression());
    }
    expect_block_end("with");
    out.body = parse_body({"endwith"});
    finish("endwith");
    return out;
  }

  // Hugging Face's mark around what the assistant says, for training: a scope, and nothing else here.
  Statement parse_generation() {
    Statement out = make_statement(Statement::Type::kWith);
    take();
    expect_block_end("generation");
    const int loops = std::exchange(loops_, 0);
    out.body = parse_body({"endgeneration"});
    loops_ = loops;
    finish("endgeneration");
    return out;
  }

  Statement parse_jump() {
    Statement out = make_statement(at_name("break") ? Statement::Type::kBreak : Statement::Type::kContinue);
    const std::string tag = take().text;
    if (loops_ == 0) fail("{% " + tag + " %} stands outside of a loop");
    expect_block_end(tag);
    return out;
  }

  int loops_ = 0;  // around the current statement, in its macro
};

}  // namespace

Body parse(std::string_view source, const std::string& origin) {
  return Parser(tokenize(source, origin), origin).run();
}

}  // namespace kvasir::jinja
