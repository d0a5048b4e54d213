#include "formats/pickle_calls.h"

#include <algorithm>

#include "kvasir/error.h"

namespace kvasir::formats {

namespace {

using Kind = PickleNode::Kind;
using tensor::DType;

struct AllowedGlobal {
  std::string_view module, name;
  PickleGlobal global;
  DType dtype = DType::kF32;
};
constexpr AllowedGlobal kAllowed[] = {
    {"collections", "OrderedDict", PickleGlobal::kOrderedDict},
    {"torch", "Size", PickleGlobal::kSize},
    {"torch.nn.parameter", "Parameter", PickleGlobal::kParameter},
    {"torch._utils", "_rebuild_tensor", PickleGlobal::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v2", PickleGlobal::kRebuildTensorV2},
    {"torch._utils", "_rebuild_parameter", PickleGlobal::kRebuildParameter},
    {"torch._utils", "_rebuild_parameter_with_state", PickleGlobal::kRebuildParameterWithState},
    {"torch._tensor", "_rebuild_from_type_v2", PickleGlobal::kRebuildFromTypeV2},
    {"torch", "FloatStorage", PickleGlobal::kStorage, DType::kF32},
    {"torch", "HalfStorage", PickleGlobal::kStorage, DType::kF16},
    {"torch", "BFloat16Storage", PickleGlobal::kStorage, DType::kBF16},
    {"torch", "DoubleStorage", PickleGlobal::kStorage, DType::kF64},
    {"torch", "LongStorage", PickleGlobal::kStorage, DType::kI64},
    {"torch", "IntStorage", PickleGlobal::kStorage, DType::kI32},
    {"torch", "ShortStorage", PickleGlobal::kStorage, DType::kI16},
    {"torch", "CharStorage", PickleGlobal::kStorage, DType::kI8},
    {"torch", "ByteStorage", PickleGlobal::kStorage, DType::kU8},
    {"torch", "BoolStorage", PickleGlobal::kStorage, DType::kBool},
    {"torch.storage", "UntypedStorage", PickleGlobal::kStorage, DType::kU8},
};
// Attributes of torch that are data types: metadata of a state_dict may hold them.
constexpr std::string_view kDtypes[] = {"float32", "float16", "bfloat16", "float64", "int64",
                                        "int32",   "int16",   "int8",     "uint8",   "bool"};

// Largest rank: torch's own is 64.
constexpr std::size_t kMaxRank = 64;
constexpr std::size_t kMaxCopied = 2'000'000;  // items of lists that become dicts

}  // namespace

// Arguments of a call, with the checks that each needs.
struct PickleCalls::Call {
  const Pickle& pickle;
  const std::vector<NodeIndex>& arguments;
  const std::string& name;
  const std::string& where;

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kFormat, where + name + ": " + message);
  }
  const PickleNode& at(std::size_t i) const {
    if (i >= arguments.size()) fail("argument " + std::to_string(i + 1) + " is missing");
    return pickle.nodes[arguments[i]];
  }
  const PickleNode& at(std::size_t i, Kind kind) const {
    const PickleNode& node = at(i);
    if (node.kind != kind) fail("argument " + std::to_string(i + 1) + " is of the wrong type");
    return node;
  }
  std::int64_t size(const PickleNode& node, const char* what) const {
    if (node.kind != Kind::kInteger || node.integer < 0) fail(std::string(what) + " is not a size");
    return node.integer;
  }
  std::vector<std::int64_t> sizes(std::size_t i, const char* what) const {
    const std::vector<NodeIndex>& items = at(i, Kind::kTuple).items;
    if (items.size() > kMaxRank) fail(std::string(what) + " has more than 64 dimensions");
    std::vector<std::int64_t> sizes;
    sizes.reserve(items.size());
    for (const NodeIndex item : items) sizes.push_back(size(pickle.nodes[item], what));
    return sizes;
  }
};

PickleNode PickleCalls::global(const std::string& module, const std::string& name,
                               const std::string& where) const {
  for (const AllowedGlobal& allowed : kAllowed) {
    if (allowed.module == module && allowed.name == name) {
      return {.kind = Kind::kGlobal, .global = allowed.global, .dtype = allowed.dtype, .text = name};
    }
  }
  if (module == "torch" && std::ranges::find(kDtypes, name) != std::end(kDtypes)) {
    return {.kind = Kind::kGlobal, .global = PickleGlobal::kDtype, .text = name};
  }
  throw Error(ErrorCode::kUnsupported,
              where + "refused " + module + "." + name +
                  ", which no file of tensors needs and which could run any program; do not load this file");
}

PickleNode PickleCalls::reduce(NodeIndex callable, NodeIndex arguments, const std::string& where) {
  const PickleNode& function = node(callable);
  if (function.kind != Kind::kGlobal || node(arguments).kind != Kind::kTuple) {
    throw Error(ErrorCode::kFormat, where + "calls what cannot be called");
  }
  return call(function.global, {pickle_, node(arguments).items, function.text, where});
}

PickleNode PickleCalls::new_object(NodeIndex type, NodeIndex arguments, const std::string& where) {
  const PickleGlobal global = node(type).global;
  if (global != PickleGlobal::kOrderedDict && global != PickleGlobal::kParameter &&
      global != PickleGlobal::kSize) {
    throw Error(ErrorCode::kFormat, where + "makes an object of what is no class");
  }
  return reduce(type, arguments, where);
}

PickleNode PickleCalls::call(PickleGlobal global, const Call& call) {
  switch (global) {
    case PickleGlobal::kOrderedDict:
      return ordered_dict(call);
    case PickleGlobal::kSize: {
      const PickleNode& sizes = call.at(0);
      if (sizes.kind != Kind::kTuple && sizes.kind != Kind::kList) call.fail("its argument is no tuple");
      if (sizes.items.size() > kMaxRank) call.fail("more than 64 dimensions");
      return {.kind = Kind::kTuple, .items = sizes.items};
    }
    case PickleGlobal::kRebuildTensor:
    case PickleGlobal::kRebuildTensorV2:
      return rebuild_tensor(call);
    case PickleGlobal::kParameter:
    case PickleGlobal::kRebuildParameter:
    case PickleGlobal::kRebuildParameterWithState:
      return call.at(0, Kind::kTensor);
    case PickleGlobal::kRebuildFromTypeV2: {  // (function, class, its arguments, state)
      const PickleGlobal function = call.at(0, Kind::kGlobal).global;
      if (function != PickleGlobal::kRebuildTensor && function != PickleGlobal::kRebuildTensorV2) {
        call.fail("its function does not make a tensor");
      }
      if (call.at(1, Kind::kGlobal).global != PickleGlobal::kParameter) call.fail("its class is no tensor");
      return rebuild_tensor({pickle_, call.at(2, Kind::kTuple).items, call.name, call.where});
    }
    case PickleGlobal::kNone:
    case PickleGlobal::kStorage:
    case PickleGlobal::kDtype:
      break;
  }
  call.fail("is not something to call");
}

// (storage, offset, size, stride, …): gradients and hooks, which follow, do not matter here.
PickleNode PickleCalls::rebuild_tensor(const Call& call) {
  TensorRef tensor;
  tensor.storage = static_cast<std::uint32_t>(call.at(0, Kind::kStorage).integer);
  tensor.offset = static_cast<std::uint64_t>(call.size(call.at(1), "its offset"));
  tensor.shape = call.sizes(2, "its shape");
  tensor.strides = call.sizes(3, "its stride");
  if (tensor.shape.size() != tensor.strides.size()) call.fail("shape and stride are not equally long");
  pickle_.tensors.push_back(std::move(tensor));
  return {.kind = Kind::kTensor, .integer = static_cast<std::int64_t>(pickle_.tensors.size() - 1)};
}

// OrderedDict(), and OrderedDict([[key, value], …]) as Python 2 wrote it.
PickleNode PickleCalls::ordered_dict(const Call& call) {
  PickleNode dict{.kind = Kind::kDict, .ordered = true};
  if (call.arguments.empty()) return dict;
  const std::vector<NodeIndex>& pairs = call.at(0, Kind::kList).items;
  copied_ += pairs.size();  // one list may be asked for many times
  if (copied_ > kMaxCopied) call.fail("more items than a file of tensors should hold");
  for (const NodeIndex pair : pairs) {
    const PickleNode& items = node(pair);
    if ((items.kind != Kind::kList && items.kind != Kind::kTuple) || items.items.size() != 2) {
      call.fail("an item is no pair");
    }
    dict.items.insert(dict.items.end(), items.items.begin(), items.items.end());
  }
  return dict;
}

PickleNode PickleCalls::storage(NodeIndex id, const std::string& where) {
  const std::string name = "storage";
  if (node(id).kind != Kind::kTuple) throw Error(ErrorCode::kFormat, where + "a storage's id is no tuple");
  const Call call{pickle_, node(id).items, name, where};
  if (call.at(0, Kind::kString).text != "storage") call.fail("is not what the id names");
  const PickleNode& type = call.at(1, Kind::kGlobal);
  if (type.global != PickleGlobal::kStorage) call.fail(type.text + " is no class of storages");
  StorageRef storage;
  storage.key = call.at(2, Kind::kString).text;
  storage.dtype = type.dtype;
  call.at(3, Kind::kString);  // "cpu", "cuda:0": where it lay when it was saved
  storage.elements = static_cast<std::uint64_t>(call.size(call.at(4), "its number of elements"));
  storage.view_elements = storage.elements;
  if (call.arguments.size() > 5 && call.at(5).kind != Kind::kNone) {  // (key of the view, offset, elements)
    const Call view{pickle_, call.at(5, Kind::kTuple).items, name, where};
    storage.view_begin = static_cast<std::uint64_t>(view.size(view.at(1), "its view's offset"));
    storage.view_elements = static_cast<std::uint64_t>(view.size(view.at(2), "its view's size"));
    if (storage.view_begin > storage.elements ||
        storage.view_elements > storage.elements - storage.view_begin) {
      view.fail("its view goes beyond it");
    }
  }
  pickle_.storages.push_back(std::move(storage));
  return {.kind = Kind::kStorage, .integer = static_cast<std::int64_t>(pickle_.storages.size() - 1)};
}

}  // namespace kvasir::formats
