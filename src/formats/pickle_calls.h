// What the names in a pickle of tensors mean, and what "calling" them yields: descriptions, no calls.
#pragma once

#include <string>
#include <string_view>

#include "formats/pickle.h"

namespace kvasir::formats {

// Each returns the value that takes the place of its arguments. `where` begins the message of an error.
class PickleCalls {
 public:
  explicit PickleCalls(Pickle& pickle) : pickle_(pickle) {}

  // GLOBAL: throws kUnsupported, naming it, for any name that is not on the list.
  PickleNode global(const std::string& module, const std::string& name, const std::string& where) const;
  // REDUCE and NEWOBJ.
  PickleNode reduce(NodeIndex callable, NodeIndex arguments, const std::string& where);
  PickleNode new_object(NodeIndex type, NodeIndex arguments, const std::string& where);
  // BINPERSID: ('storage', class, key, location, elements[, view]).
  PickleNode storage(NodeIndex id, const std::string& where);

 private:
  struct Call;
  PickleNode call(PickleGlobal global, const Call& call);
  PickleNode rebuild_tensor(const Call& call);
  PickleNode ordered_dict(const Call& call);
  const PickleNode& node(NodeIndex index) const { return pickle_.nodes[index]; }

  Pickle& pickle_;
  std::size_t copied_ = 0;
};

}  // namespace kvasir::formats
