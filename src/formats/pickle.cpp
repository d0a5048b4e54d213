#include "formats/pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/utf8.h"
#include "formats/pickle_calls.h"
#include "kvasir/error.h"

namespace kvasir::formats {

namespace {

// Far above any checkpoint (a model of 1000 tensors takes 100 KB and 15,000 values), and low enough that a
// hostile file cannot fill the memory.
constexpr std::size_t kMaxPickle = std::size_t{32} << 20;
constexpr std::size_t kMaxNodes = 2'000'000;
constexpr std::size_t kMaxString = 65536;
constexpr std::size_t kMaxMarks = 1000;

// Opcodes by their names in Python's pickletools.
enum Opcode : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kBinfloat = 'G',
  kBinint = 'J',
  kBinint1 = 'K',
  kBinint2 = 'M',
  kNone = 'N',
  kBinpersid = 'Q',
  kReduce = 'R',
  kBinunicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kAppends = 'e',
  kBinget = 'h',
  kLongBinget = 'j',
  kBinput = 'q',
  kLongBinput = 'r',
  kSetitem = 's',
  kTuple = 't',
  kSetitems = 'u',
  kShortBinstring = 'U',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kProto = 0x80,
  kNewobj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewtrue = 0x88,
  kNewfalse = 0x89,
  kLong1 = 0x8a,
  kEmptySet = 0x8f,
};

struct OpcodeName {
  std::uint8_t opcode;
  const char* name;
};
// Those that a person may meet in a file and that we do not follow.
constexpr OpcodeName kRefused[] = {
    {'i', "INST"},
    {'o', "OBJ"},
    {'P', "PERSID"},
    {0x82, "EXT1"},
    {0x83, "EXT2"},
    {0x84, "EXT4"},
    {0x8c, "SHORT_BINUNICODE"},
    {0x8d, "BINUNICODE8"},
    {0x92, "NEWOBJ_EX"},
    {0x93, "STACK_GLOBAL"},
    {0x94, "MEMOIZE"},
    {0x95, "FRAME"},
    {'B', "BINBYTES"},
    {'C', "SHORT_BINBYTES"},
    {'T', "BINSTRING"},
    {'I', "INT"},
    {'L', "LONG"},
    {'S', "STRING"},
    {'V', "UNICODE"},
    {'d', "DICT"},
    {'l', "LIST"},
    {'0', "POP"},
    {'1', "POP_MARK"},
    {'2', "DUP"},
    {0x8b, "LONG4"},
    {0x90, "ADDITEMS"},
    {0x91, "FROZENSET"},
    {0x96, "BYTEARRAY8"},
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& origin)
      : bytes_(bytes.first(std::min(bytes.size(), kMaxPickle))), origin_(origin), calls_(pickle_) {}

  Pickle run() {
    while (true) {
      const auto opcode = number<std::uint8_t>();
      if (opcode == kStop) break;
      step(opcode);
    }
    if (!marks_.empty() || stack_.size() != 1)
      fail("it ends with " + std::to_string(stack_.size()) + " values");
    pickle_.root = stack_.front();
    pickle_.size = at_;
    return std::move(pickle_);
  }

 private:
  using Kind = PickleNode::Kind;

  std::string where() const { return origin_ + ": pickle, byte " + std::to_string(opcode_at_) + ": "; }
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, where() + message);
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorCode::kUnsupported, where() + what);
  }

  std::string_view take(std::size_t size) {
    if (size > bytes_.size() - at_) {
      fail(bytes_.size() == kMaxPickle ? "larger than a pickle of tensors should be" : "truncated");
    }
    const std::string_view part(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return part;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  NodeIndex add(PickleNode node) {
    if (pickle_.nodes.size() == kMaxNodes) fail("more values than a file of tensors should hold");
    pickle_.nodes.push_back(std::move(node));
    return static_cast<NodeIndex>(pickle_.nodes.size() - 1);
  }
  void push(NodeIndex node) { stack_.push_back(node); }
  void push_new(PickleNode node) { push(add(std::move(node))); }
  void push_integer(std::int64_t value) { push_new({.kind = Kind::kInteger, .integer = value}); }

  // Values above the last mark are all that an instruction may reach.
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  NodeIndex pop() {
    if (stack_.size() <= floor()) fail("takes a value that is not there");
    const NodeIndex node = stack_.back();
    stack_.pop_back();
    return node;
  }
  PickleNode& top(Kind kind, const char* what) {
    if (stack_.size() <= floor()) fail("takes a value that is not there");
    PickleNode& node = pickle_.nodes[stack_.back()];
    if (node.kind != kind) fail(what);
    return node;
  }
  std::vector<NodeIndex> pop_marked() {
    if (marks_.empty()) fail("takes values from a mark that is not there");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<NodeIndex> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  void step(std::uint8_t opcode) {
    opcode_at_ = at_ - 1;
    if (step_value(opcode) || step_container(opcode) || step_memo(opcode)) return;
    switch (opcode) {
      case kProto:
        if (const int version = number<std::uint8_t>(); version != 2) {
          refuse("pickle protocol " + std::to_string(version) +
                 ", and torch.save writes 2; save the model again");
        }
        return;
      case kMark:
        if (marks_.size() == kMaxMarks)
          fail("nested more than " + std::to_string(kMaxMarks) + " levels deep");
        marks_.push_back(stack_.size());
        return;
      case kGlobal: {
        const std::string module = line(), name = line();
        return push_new(calls_.global(module, name, where()));
      }
      case kReduce:
      case kNewobj: {
        const NodeIndex arguments = pop(), callable = pop();
        return push_new(opcode == kReduce ? calls_.reduce(callable, arguments, where())
                                          : calls_.new_object(callable, arguments, where()));
      }
      case kBuild: {
        const NodeIndex state = pop();
        if (!top(Kind::kDict, "gives attributes to what cannot have any").ordered ||
            pickle_.nodes[state].kind != Kind::kDict) {
          fail("gives attributes to what cannot have any");
        }
        return;  // _metadata of a state_dict: versions of its modules, which nothing here needs
      }
      case kBinpersid:
        return push_new(calls_.storage(pop(), where()));
      default:
        return refuse_opcode(opcode);
    }
  }

  [[noreturn]] void refuse_opcode(std::uint8_t opcode) const {
    const auto* found = std::ranges::find(kRefused, opcode, &OpcodeName::opcode);
    if (found == std::end(kRefused)) fail("instruction " + std::to_string(opcode) + " does not exist");
    refuse(std::string("instruction ") + found->name +
           " is not one that a file of tensors needs; convert the model to safetensors where you trust it");
  }

  bool step_value(std::uint8_t opcode) {
    switch (opcode) {
      case kNone:
        return push_new({}), true;
      case kNewtrue:
      case kNewfalse:
        return push_new({.kind = Kind::kBool, .integer = opcode == kNewtrue}), true;
      case kBinint:
        return push_integer(number<std::int32_t>()), true;
      case kBinint1:
        return push_integer(number<std::uint8_t>()), true;
      case kBinint2:
        return push_integer(number<std::uint16_t>()), true;
      case kLong1:
        return push_integer(long_integer()), true;
      case kBinfloat:
        take(8);  // no number that is not whole says anything about a tensor
        return push_new({.kind = Kind::kFloat}), true;
      case kBinunicode:
        return push_new({.kind = Kind::kString, .text = text(number<std::uint32_t>())}), true;
      case kShortBinstring:
        return push_new({.kind = Kind::kString, .text = text(number<std::uint8_t>())}), true;
      default:
        return false;
    }
  }

  std::int64_t long_integer() {
    const std::string_view digits = take(number<std::uint8_t>());
    if (digits.size() > 8) fail("an integer of more than 64 bits");
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < digits.size(); ++i) {
      value |= std::uint64_t{static_cast<std::uint8_t>(digits[i])} << (8 * i);
    }
    const bool negative = !digits.empty() && (static_cast<std::uint8_t>(digits.back()) & 0x80) != 0;
    if (negative && digits.size() < 8) value |= ~std::uint64_t{0} << (8 * digits.size());
    return std::bit_cast<std::int64_t>(value);
  }

  std::string text(std::size_t size) {
    if (size > kMaxString) fail("a string of " + std::to_string(size) + " bytes");
    const std::string_view bytes = take(size);
    if (base::find_invalid_utf8(bytes) != bytes.size()) fail("a string that is not UTF-8");
    return std::string(bytes);
  }

  // Of GLOBAL, whose two names end with a line feed each.
  std::string line() {
    const std::size_t begin = at_;
    while (number<char>() != '\n') {
      if (at_ - begin > kMaxString) fail("a name that does not end");
    }
    const std::string_view name(reinterpret_cast<const char*>(bytes_.data()) + begin, at_ - 1 - begin);
    if (!std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; })) fail("a name that is none");
    return std::string(name);
  }

  bool step_container(std::uint8_t opcode) {
    switch (opcode) {
      case kEmptyTuple:
        return push_new({.kind = Kind::kTuple}), true;
      case kEmptyList:
        return push_new({.kind = Kind::kList}), true;
      case kEmptyDict:
        return push_new({.kind = Kind::kDict}), true;
      case kEmptySet:
        return push_new({.kind = Kind::kSet}), true;
      case kTuple:
        return push_new({.kind = Kind::kTuple, .items = pop_marked()}), true;
      case kTuple1:
      case kTuple2:
      case kTuple3: {
        std::vector<NodeIndex> items(static_cast<std::size_t>(opcode - kTuple1 + 1));
        for (std::size_t i = items.size(); i-- > 0;) items[i] = pop();
        return push_new({.kind = Kind::kTuple, .items = std::move(items)}), true;
      }
      case kAppend:
        return append({pop()}), true;
      case kAppends:
        return append(pop_marked()), true;
      case kSetitem: {
        const NodeIndex value = pop(), key = pop();
        return set_items({key, value}), true;
      }
      case kSetitems:
        return set_items(pop_marked()), true;
      default:
        return false;
    }
  }

  void append(const std::vector<NodeIndex>& items) {
    PickleNode& list = top(Kind::kList, "appends to what is no list");
    list.items.insert(list.items.end(), items.begin(), items.end());
  }

  // The target's kind is checked: torch before 2.10 set items of whatever lay there (CVE-2026-24747).
  void set_items(const std::vector<NodeIndex>& items) {
    PickleNode& dict = top(Kind::kDict, "sets an item of what is no dict");
    if (items.size() % 2 != 0) fail("a dict's key has no value");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  bool step_memo(std::uint8_t opcode) {
    switch (opcode) {
      case kBinput:
        return remember(number<std::uint8_t>()), true;
      case kLongBinput:
        return remember(number<std::uint32_t>()), true;
      case kBinget:
        return recall(number<std::uint8_t>()), true;
      case kLongBinget:
        return recall(number<std::uint32_t>()), true;
      default:
        return false;
    }
  }

  void remember(std::uint32_t slot) {
    if (stack_.size() <= floor()) fail("remembers a value that is not there");
    if (memo_.size() == kMaxNodes) fail("remembers more values than a file of tensors should hold");
    memo_[slot] = stack_.back();
  }
  void recall(std::uint32_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) fail("recalls value " + std::to_string(slot) + ", which was not remembered");
    push(found->second);
  }

  std::span<const std::byte> bytes_;
  const std::string& origin_;
  Pickle pickle_;
  PickleCalls calls_;
  std::size_t at_ = 0;
  std::size_t opcode_at_ = 0;
  std::vector<NodeIndex> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, NodeIndex> memo_;
};

}  // namespace

Pickle read_pickle(std::span<const std::byte> bytes, const std::string& origin) {
  return Machine(bytes, origin).run();
}

}  // namespace kvasir::formats
