// A reader of pickles that builds descriptions of tensors and nothing else. Python's pickle is a program that
// may call anything; this reader knows the few instructions and names that torch.save needs (spec:
// training-formats-hub §5), calls nothing, and refuses the rest by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/view.h"

namespace kvasir::formats {

// What pickles of tensors may name.
enum class PickleGlobal {
  kNone,  // not a global
  kOrderedDict,
  kSize,
  kParameter,
  kRebuildTensor,
  kRebuildTensorV2,
  kRebuildParameter,
  kRebuildParameterWithState,
  kRebuildFromTypeV2,
  kStorage,  // a class of storages: PickleNode::dtype tells which
  kDtype,
};

// A storage that a pickle refers to: a run of elements that lies elsewhere in the file.
struct StorageRef {
  std::string key;
  tensor::DType dtype = tensor::DType::kF32;
  std::uint64_t elements = 0;
  // A part of it (files of PyTorch before 0.4): these elements of the storage, else all.
  std::uint64_t view_begin = 0, view_elements = 0;
};

struct TensorRef {
  std::uint32_t storage = 0;  // index into Pickle::storages
  std::uint64_t offset = 0;   // elements
  tensor::Shape shape;
  std::vector<std::int64_t> strides;  // as many as sizes
};

// A value of a pickle. Nodes refer to each other by index, so lists that contain themselves do no harm.
using NodeIndex = std::uint32_t;
struct PickleNode {
  enum class Kind {
    kNone,
    kBool,
    kInteger,
    kFloat,
    kString,
    kTuple,
    kList,
    kDict,
    kSet,
    kGlobal,
    kStorage,
    kTensor
  };
  Kind kind = Kind::kNone;
  bool ordered = false;                       // a dict that is an OrderedDict
  PickleGlobal global = PickleGlobal::kNone;  // kGlobal
  tensor::DType dtype = tensor::DType::kF32;  // kGlobal that is a kStorage
  std::int64_t integer = 0;                   // kBool, kInteger; kStorage, kTensor: index into Pickle
  std::string text = {};                      // kString; kGlobal: its name
  std::vector<NodeIndex> items = {};          // kTuple, kList; kDict: key, value, key, value, …
};

struct Pickle {
  std::vector<PickleNode> nodes;
  std::vector<StorageRef> storages;
  std::vector<TensorRef> tensors;
  NodeIndex root = 0;
  std::size_t size = 0;  // bytes read

  const PickleNode& top() const { return nodes[root]; }
};

// Reads the pickle at the beginning of `bytes`. Sizes, strides and offsets are checked to be non-negative,
// and nothing more. Throws kFormat for a damaged pickle, kUnsupported for one that needs anything else of
// Python.
Pickle read_pickle(std::span<const std::byte> bytes, const std::string& origin);

}  // namespace kvasir::formats
