#include "grammar/byte_grammar.h"

#include <algorithm>
#include <utility>

namespace kvasir::grammar {

using Type = ByteGrammar::Node::Type;

NodeId ByteGrammar::add(Node node) {
  nodes_.push_back(std::move(node));
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId ByteGrammar::literal(std::string bytes) {
  Node node;
  node.type = Type::kLiteral;
  node.bytes = std::move(bytes);
  return add(std::move(node));
}

NodeId ByteGrammar::set(const ByteSet& bytes) {
  Node node;
  node.type = Type::kSet;
  node.set = bytes;
  return add(std::move(node));
}

NodeId ByteGrammar::sequence(std::vector<NodeId> children) {
  Node node;
  node.type = Type::kSequence;
  node.children = std::move(children);
  return add(std::move(node));
}

NodeId ByteGrammar::choice(std::vector<NodeId> children) {
  Node node;
  node.type = Type::kChoice;
  node.children = std::move(children);
  return add(std::move(node));
}

NodeId ByteGrammar::repeat(NodeId child, std::uint32_t min, std::uint32_t max) {
  Node node;
  node.type = Type::kRepeat;
  node.children = {child};
  node.min = min;
  node.max = max;
  return add(std::move(node));
}

bool ByteGrammar::prune(NodeId root) {
  // What ends is found from the inside out, until nothing is added.
  std::vector<bool> ends(nodes_.size());
  const auto can_end = [&](const Node& node) {
    const auto ended = [&](NodeId child) { return ends[child]; };
    switch (node.type) {
      case Type::kLiteral:
        return true;
      case Type::kSet:
        return node.set.any();
      case Type::kSequence:
        return std::all_of(node.children.begin(), node.children.end(), ended);
      case Type::kChoice:
        return std::any_of(node.children.begin(), node.children.end(), ended);
      case Type::kRepeat:
        return node.min <= node.max && (node.min == 0 || ends[node.children[0]]);
    }
    return false;
  };
  for (bool added = true; added;) {
    added = false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (ends[i] || !can_end(nodes_[i])) continue;
      ends[i] = true;
      added = true;
    }
  }
  for (Node& node : nodes_) {
    if (node.type == Type::kChoice) std::erase_if(node.children, [&](NodeId child) { return !ends[child]; });
    if (node.type == Type::kRepeat && !ends[node.children[0]]) node.max = 0;
  }
  return ends[root];
}

}  // namespace kvasir::grammar
