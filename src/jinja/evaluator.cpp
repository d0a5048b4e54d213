#include "jinja/evaluator.h"

#include <algorithm>
#include <utility>

#include "jinja/functions.h"

namespace kvasir::jinja {

// Variables of the template, a turn of a loop, or a call of a macro.
struct Frame {
  std::shared_ptr<Frame> parent;
  DictData variables;

  const Value* find(std::string_view name) const {
    for (const Frame* frame = this; frame != nullptr; frame = frame->parent.get()) {
      if (const Value* found = jinja::find(frame->variables, name)) return found;
    }
    return nullptr;
  }
  void set(const std::string& name, Value value) {
    for (auto& [key, old] : variables) {
      if (key == name) {
        old = std::move(value);
        return;
      }
    }
    variables.emplace_back(name, std::move(value));
  }
};

namespace {

using Type = Expression::Type;
using Comparison = Expression::Comparison;

// Of expressions and statements in each other, through macros too: as Python's own limit.
constexpr int kMaxDepth = 1000;

enum class Flow { kNormal, kBreak, kContinue };

class Evaluator {
 public:
  Evaluator(Runtime& runtime, Inputs inputs) : runtime_(runtime), now_(inputs.now) {
    frame_ = std::make_shared<Frame>();
    frame_->variables = std::move(inputs.variables);
  }
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;
  // A namespace can hold itself, and so can loop.changed(): the circles are opened.
  ~Evaluator() {
    for (const auto& space : namespaces_) space->attributes.clear();
    for (const auto& frame : macro_frames_) frame->variables.clear();
    for (const auto& loop : changed_loops_) loop->last_changed.clear();
  }

  std::string run(const Body& body) {
    execute(body);
    return std::move(out_);
  }

 private:
  struct Deeper {
    explicit Deeper(Evaluator& evaluator) : depth(evaluator.depth_) {
      if (++depth > kMaxDepth) {
        evaluator.runtime_.fail(ErrorCode::kResourceExhausted,
                                "the template is nested too deep; a macro may call itself for ever");
      }
    }
    ~Deeper() { --depth; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    int& depth;
  };
  // Variables of their own until the end of the block.
  struct Scope {
    Scope(Evaluator& evaluator, const std::shared_ptr<Frame>& parent)
        : current(evaluator.frame_), before(evaluator.frame_) {
      current = std::make_shared<Frame>();
      current->parent = parent;
    }
    explicit Scope(Evaluator& evaluator) : Scope(evaluator, std::shared_ptr<Frame>(evaluator.frame_)) {}
    ~Scope() { current = before; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    std::shared_ptr<Frame>& current;
    std::shared_ptr<Frame> before;
  };
  // What is printed until the end of the block.
  struct Capture {
    explicit Capture(std::string& out) : current(out) { std::swap(current, before); }
    ~Capture() { std::swap(current, before); }
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    std::string take() { return std::exchange(current, {}); }
    std::string& current;
    std::string before;
  };

  // ---- statements ----
  Flow execute(const Body& body) {
    const Deeper deeper(*this);
    for (const Statement& statement : body) {
      runtime_.step();
      runtime_.set_line(statement.line);
      if (const Flow flow = execute(statement); flow != Flow::kNormal) return flow;
    }
    return Flow::kNormal;
  }

  Flow execute(const Statement& statement) {
    switch (statement.type) {
      case Statement::Type::kText:
        print(statement.text);
        return Flow::kNormal;
      case Statement::Type::kOutput:
        append_string(runtime_, evaluate(*statement.expression), out_);
        return Flow::kNormal;
      case Statement::Type::kIf:
        return execute_if(statement);
      case Statement::Type::kFor:
        return execute_for(statement);
      case Statement::Type::kSet:
        assign(statement.target, evaluate(*statement.expression));
        return Flow::kNormal;
      case Statement::Type::kSetBlock:
      case Statement::Type::kFilterBlock:
        return execute_captured(statement);
      case Statement::Type::kMacro:
        frame_->set(statement.macro->name, make_macro(*statement.macro));
        return Flow::kNormal;
      case Statement::Type::kCallBlock:
        execute_call_block(statement);
        return Flow::kNormal;
      case Statement::Type::kWith:
        return execute_with(statement);
      case Statement::Type::kBreak:
        return Flow::kBreak;
      case Statement::Type::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNormal;
  }

  void print(std::string_view text) {
    runtime_.charge(text.size());
    out_ += text;
  }

  Flow execute_if(const Statement& statement) {
    for (const Branch& branch : statement.branches) {
      if (branch.condition == nullptr || evaluate(*branch.condition).truth()) return execute(branch.body);
    }
    return Flow::kNormal;
  }

  Flow execute_for(const Statement& statement) {
    auto loop = std::make_shared<Loop>();
    for (Value& item : iterate(runtime_, evaluate(*statement.expression))) {
      if (statement.condition != nullptr) {
        const Scope scope(*this);
        assign(statement.target, item);
        if (!evaluate(*statement.condition).truth()) continue;
      }
      loop->items.push_back(std::move(item));
    }
    const Value loop_value{Value::Content(loop)};
    bool completed =
        false;  // a turn: what `else` asks about, so that {% break %} in the first one leads there
    for (; loop->index < loop->items.size(); ++loop->index) {
      runtime_.step();
      const Scope scope(*this);
      frame_->set("loop", loop_value);
      assign(statement.target, loop->items[loop->index]);
      const Flow flow = execute(statement.body);
      if (flow == Flow::kBreak) break;
      completed = completed || flow == Flow::kNormal;
    }
    if (completed || statement.branches.empty()) return Flow::kNormal;
    const Scope scope(*this);
    return execute(statement.branches[0].body);
  }

  Flow execute_captured(const Statement& statement) {
    Flow flow;
    std::string text;
    {
      const Scope scope(*this);
      Capture capture(out_);
      flow = execute(statement.body);
      text = capture.take();
    }
    if (flow != Flow::kNormal) return flow;
    Value value = Value::string(runtime_, std::move(text));
    if (statement.expression != nullptr) value = filter(*statement.expression, value);
    if (statement.type == Statement::Type::kSetBlock) {
      assign(statement.target, std::move(value));
    } else {
      append_string(runtime_, value, out_);
    }
    return flow;
  }

  Flow execute_with(const Statement& statement) {
    std::vector<Value> values;  // none of the names is known to the others
    for (const auto& [target, expression] : statement.names) values.push_back(evaluate(*expression));
    const Scope scope(*this);
    for (std::size_t i = 0; i < values.size(); ++i) assign(statement.names[i].first, std::move(values[i]));
    return execute(statement.body);
  }

  void execute_call_block(const Statement& statement) {
    const Value caller = make_macro(*statement.macro);
    append_string(runtime_, call(*statement.expression, &caller), out_);
  }

  void assign(const Target& target, Value value) {
    if (!target.parts.empty()) {
      std::vector<Value> items = iterate(runtime_, value);
      if (items.size() != target.parts.size()) {
        runtime_.fail("cannot assign " + std::to_string(items.size()) + " values to " +
                      std::to_string(target.parts.size()) + " names");
      }
      for (std::size_t i = 0; i < items.size(); ++i) assign(target.parts[i], std::move(items[i]));
    } else if (target.attribute.empty()) {
      frame_->set(target.name, std::move(value));
    } else {
      const Value* found = frame_->find(target.name);
      const auto* space =
          found == nullptr ? nullptr : std::get_if<std::shared_ptr<Namespace>>(&found->content());
      if (space == nullptr) {
        runtime_.fail("cannot set " + target.name + "." + target.attribute + ": " + target.name +
                      " is no namespace");
      }
      set_attribute(**space, target.attribute, std::move(value));
    }
  }
  void set_attribute(Namespace& space, const std::string& name, Value value) {
    runtime_.step(1 + space.attributes.size() / 16);
    for (auto& [key, old] : space.attributes) {
      if (key == name) {
        old = std::move(value);
        return;
      }
    }
    space.attributes.emplace_back(name, std::move(value));
  }

  // ---- macros ----
  Value make_macro(const Macro& macro) {
    if (macro_frames_.empty() || macro_frames_.back() != frame_) macro_frames_.push_back(frame_);
    runtime_.charge(sizeof(Callable) + sizeof(Frame));
    auto callable = std::make_shared<Callable>();
    callable->name = macro.name;
    callable->macro = &macro;
    callable->frame = frame_;
    return Value(Value::Content(std::shared_ptr<const Callable>(std::move(callable))));
  }

  Value call_macro(const Callable& callable, const Arguments& arguments, const Value* caller) {
    const Deeper deeper(*this);
    const Macro& macro = *callable.macro;
    if (arguments.positional.size() > macro.parameters.size()) {
      runtime_.fail("macro " + macro.name + " takes at most " + std::to_string(macro.parameters.size()) +
                    " arguments");
    }
    std::vector<const Value*> given(macro.parameters.size());
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) given[i] = &arguments.positional[i];
    for (const auto& [name, value] : arguments.named) {
      std::size_t i = 0;
      while (i < given.size() && macro.parameters[i].name != name) ++i;
      if (i == given.size()) runtime_.fail("macro " + macro.name + " has no argument " + name);
      if (given[i] != nullptr)
        runtime_.fail("macro " + macro.name + ": argument " + name + " is given twice");
      given[i] = &value;
    }
    const Scope scope(*this, callable.frame.lock());
    if (caller != nullptr) frame_->set("caller", *caller);
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto& [name, fallback] = macro.parameters[i];
      frame_->set(name, given[i] != nullptr   ? *given[i]
                        : fallback != nullptr ? evaluate(*fallback)
                                              : Value::undefined("parameter " + name + " was not given"));
    }
    Capture capture(out_);
    execute(macro.body);
    return Value::string(runtime_, capture.take());
  }

  // ---- expressions ----
  Value evaluate(const Expression& e) {
    const Deeper deeper(*this);
    runtime_.step();
    runtime_.set_line(e.line);
    switch (e.type) {
      case Type::kConstant:
        return Value(e.constant);
      case Type::kName:
        return look_up(e.name);
      case Type::kList:
      case Type::kTuple:
        return Value::list(runtime_, evaluate_all(e.operands, 0), e.type == Type::kTuple);
      case Type::kDict:
        return make_dict(e);
      case Type::kAttribute:
        return attribute(evaluate(*e.operands[0]), e.name);
      case Type::kItem:
        return item(e);
      case Type::kSlice:
        return slice(e);
      case Type::kCall:
        return call(e, nullptr);
      case Type::kFilter:
        return filter(e, {});
      case Type::kTest:
        return test(e);
      default:
        return evaluate_operator(e);
    }
  }

  Value evaluate_operator(const Expression& e) {
    switch (e.type) {
      case Type::kNot:
        return Value::boolean(!evaluate(*e.operands[0]).truth());
      case Type::kNegate:
        return negate(runtime_, evaluate(*e.operands[0]));
      case Type::kPlus:
        return calculate(runtime_, Operator::kAdd, Value::integer(0), evaluate(*e.operands[0]));
      case Type::kCalculate: {
        const Value left = evaluate(*e.operands[0]);
        return calculate(runtime_, e.op, left, evaluate(*e.operands[1]));
      }
      case Type::kCompare:
        return compare(e);
      case Type::kAnd:
      case Type::kOr:
        for (std::size_t i = 0; i + 1 < e.operands.size(); ++i) {
          Value value = evaluate(*e.operands[i]);
          if (value.truth() == (e.type == Type::kOr)) return value;
        }
        return evaluate(*e.operands.back());
      case Type::kConcatenate: {
        std::string out;
        for (const ExpressionPtr& operand : e.operands) append_string(runtime_, evaluate(*operand), out);
        return Value::string(runtime_, std::move(out));
      }
      default:  // kConditional
        if (evaluate(*e.operands[0]).truth()) return evaluate(*e.operands[1]);
        if (e.operands[2] != nullptr) return evaluate(*e.operands[2]);
        return Value::undefined("the condition is false and there is no else");
    }
  }

  std::vector<Value> evaluate_all(const std::vector<ExpressionPtr>& operands, std::size_t from) {
    std::vector<Value> out;
    for (std::size_t i = from; i < operands.size(); ++i) out.push_back(evaluate(*operands[i]));
    return out;
  }

  Value look_up(const std::string& name) {
    if (const Value* found = frame_->find(name)) return *found;
    if (!has_function(name, now_)) return Value::undefined(name + " is undefined");
    auto callable = std::make_shared<Callable>();
    callable->name = name;
    return Value(Value::Content(std::shared_ptr<const Callable>(std::move(callable))));
  }

  Value make_dict(const Expression& e) {
    DictData entries;
    for (std::size_t i = 0; i < e.operands.size(); i += 2) {
      const Value key = evaluate(*e.operands[i]);
      if (!key.if_string()) {
        runtime_.fail(ErrorCode::kUnsupported, std::string("a dictionary has a ") + key.type_name() +
                                                   " as a key; only strings are supported");
      }
      Value value = evaluate(*e.operands[i + 1]);
      const auto same = std::find_if(entries.begin(), entries.end(),
                                     [&](const Entry& entry) { return entry.first == *key.if_string(); });
      if (same != entries.end()) {
        same->second = std::move(value);
      } else {
        entries.emplace_back(*key.if_string(), std::move(value));
      }
    }
    return Value::dict(runtime_, std::move(entries));
  }

  // x.name: a method, else an item (which a namespace and `loop` only have).
  Value attribute(const Value& value, const std::string& name) {
    if (const auto* undefined = std::get_if<Undefined>(&value.content())) {
      runtime_.fail("." + name + ": " + *undefined->what);
    }
    if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&value.content())) {
      return loop_attribute(value, **loop, name);
    }
    if (!has_method(value, name)) {
      if (value.if_dict() || std::holds_alternative<std::shared_ptr<Namespace>>(value.content())) {
        return item_of(runtime_, value, Value::string(runtime_, name));
      }
      return Value::undefined(std::string(value.type_name()) + " has no attribute " + name);
    }
    return bind_method(value, name);
  }

  Value bind_method(const Value& self, const std::string& name) const {
    auto callable = std::make_shared<Callable>();
    callable->name = name;
    callable->self = self;
    callable->is_method = true;
    return Value(Value::Content(std::shared_ptr<const Callable>(std::move(callable))));
  }

  Value loop_attribute(const Value& self, const Loop& loop, const std::string& name) {
    const auto integer = [](std::size_t n) { return Value::integer(static_cast<std::int64_t>(n)); };
    const std::size_t count = loop.items.size(), index = loop.index;
    if (name == "index") return integer(index + 1);
    if (name == "index0") return integer(index);
    if (name == "revindex") return integer(count - index);
    if (name == "revindex0") return integer(count - index - 1);
    if (name == "first") return Value::boolean(index == 0);
    if (name == "last") return Value::boolean(index + 1 == count);
    if (name == "length") return integer(count);
    if (name == "depth") return integer(1);  // of recursive loops only, in Jinja too
    if (name == "depth0") return integer(0);
    if (name == "previtem") {
      return index > 0 ? loop.items[index - 1] : Value::undefined("there is no previous item");
    }
    if (name == "nextitem") {
      return index + 1 < count ? loop.items[index + 1] : Value::undefined("there is no next item");
    }
    if (name == "cycle" || name == "changed") return bind_method(self, name);
    return Value::undefined("loop has no attribute " + name);
  }

  Value call_loop(const std::shared_ptr<Loop>& loop_pointer, const std::string& name,
                  const Arguments& arguments) {
    Loop& loop = *loop_pointer;
    const auto& given = arguments.positional;
    if (name == "cycle") {
      if (given.empty()) runtime_.fail("loop.cycle: no items for cycling given");
      return given[loop.index % given.size()];
    }
    bool same = loop.has_changed && loop.last_changed.size() == given.size();
    for (std::size_t i = 0; same && i < given.size(); ++i)
      same = equal(runtime_, loop.last_changed[i], given[i]);
    if (!loop.has_changed) changed_loops_.push_back(loop_pointer);
    loop.has_changed = true;
    loop.last_changed = given;
    return Value::boolean(!same);
  }

  // x['name']: an item, else a method.
  Value item(const Expression& e) {
    const Value value = evaluate(*e.operands[0]), key = evaluate(*e.operands[1]);
    runtime_.set_line(e.line);
    Value found = item_of(runtime_, value, key);
    if (!found.is_undefined() || !key.if_string()) return found;
    const Value other = attribute(value, *key.if_string());
    return other.is_undefined() ? found : other;
  }

  Value slice(const Expression& e) {
    const Value value = evaluate(*e.operands[0]);
    Value bounds[3];
    for (std::size_t i = 0; i < 3; ++i) {
      if (e.operands[i + 1] != nullptr) bounds[i] = evaluate(*e.operands[i + 1]);
    }
    return slice_of(runtime_, value, bounds[0], bounds[1], bounds[2]);
  }

  Arguments arguments_of(const Expression& e) {
    Arguments out;
    out.positional = evaluate_all(e.operands, 1);
    for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(*value));
    return out;
  }

  Value call(const Expression& e, const Value* caller) {
    const Value callee = evaluate(*e.operands[0]);
    const Arguments arguments = arguments_of(e);
    runtime_.set_line(e.line);
    if (const auto* undefined = std::get_if<Undefined>(&callee.content())) runtime_.fail(*undefined->what);
    const auto* pointer = std::get_if<std::shared_ptr<const Callable>>(&callee.content());
    if (pointer == nullptr) runtime_.fail(std::string("a ") + callee.type_name() + " cannot be called");
    const Callable& callable = **pointer;
    if (callable.macro != nullptr) return call_macro(callable, arguments, caller);
    if (callable.is_method) {
      if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&callable.self.content())) {
        return call_loop(*loop, callable.name, arguments);
      }
      return call_method(runtime_, callable.name, callable.self, arguments);
    }
    if (callable.name == "namespace") return make_namespace(arguments);
    return call_function(runtime_, callable.name, arguments, now_);
  }

  Value make_namespace(const Arguments& arguments) {
    auto space = std::make_shared<Namespace>();
    runtime_.charge(sizeof(Namespace) + arguments.named.size() * sizeof(Entry));
    for (const Value& given : arguments.positional) {
      if (!given.if_dict()) runtime_.fail("function namespace: takes a dictionary or arguments with names");
      for (const auto& [key, value] : *given.if_dict()) set_attribute(*space, key, value);
    }
    for (const auto& [key, value] : arguments.named) set_attribute(*space, key, value);
    namespaces_.push_back(space);
    return Value(Value::Content(std::move(space)));
  }

  // Through the filter of e, and those before it; `body` is what goes into {% filter %}.
  Value filter(const Expression& e, const Value& body) {
    const Expression* inner = e.operands[0].get();
    const bool in_block = inner == nullptr || (inner->type == Type::kFilter && is_block_filter(*inner));
    const Value self = inner == nullptr ? body : in_block ? filter(*inner, body) : evaluate(*inner);
    const Arguments arguments = arguments_of(e);
    runtime_.set_line(e.line);
    return apply_filter(runtime_, e.name, self, arguments);
  }
  static bool is_block_filter(const Expression& e) {
    const Expression* at = &e;
    while (at->type == Type::kFilter && at->operands[0] != nullptr) at = at->operands[0].get();
    return at->type == Type::kFilter;
  }

  Value test(const Expression& e) {
    const Value self = evaluate(*e.operands[0]);
    const Arguments arguments = arguments_of(e);
    runtime_.set_line(e.line);
    return Value::boolean(apply_test(runtime_, e.name, self, arguments));
  }

  Value compare(const Expression& e) {
    Value left = evaluate(*e.operands[0]);
    for (std::size_t i = 0; i < e.comparisons.size(); ++i) {
      Value right = evaluate(*e.operands[i + 1]);
      if (!holds(e.comparisons[i], left, right)) return Value::boolean(false);
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  bool holds(Comparison comparison, const Value& a, const Value& b) {
    switch (comparison) {
      case Comparison::kEqual:
        return equal(runtime_, a, b);
      case Comparison::kNotEqual:
        return !equal(runtime_, a, b);
      case Comparison::kLess:
        return less(runtime_, a, b);
      case Comparison::kLessOrEqual:
        return less(runtime_, a, b) || equal(runtime_, a, b);
      case Comparison::kGreater:
        return less(runtime_, b, a);
      case Comparison::kGreaterOrEqual:
        return less(runtime_, b, a) || equal(runtime_, a, b);
      case Comparison::kIn:
        return contains(runtime_, b, a);
      case Comparison::kNotIn:
        return !contains(runtime_, b, a);
    }
    return false;
  }

  Runtime& runtime_;
  const std::tm* now_;
  std::string out_;
  std::shared_ptr<Frame> frame_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<std::shared_ptr<Frame>> macro_frames_;  // macros do not keep them alive
  std::vector<std::shared_ptr<Loop>> changed_loops_;
  int depth_ = 0;
};

}  // namespace

std::string render(Runtime& runtime, const Body& body, Inputs inputs) {
  return Evaluator(runtime, std::move(inputs)).run(body);
}

}  // namespace kvasir::jinja
