// A grammar over bytes, and a matcher that goes through it byte by byte.
//
// The matcher keeps all ways in which the text so far can be read: threads, each a place in the grammar and
// what is to follow it. Continuations are shared and numbered, so that a thread is three numbers and equal
// states are equal.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace kvasir::grammar {

using ByteSet = std::bitset<256>;
using NodeId = std::uint32_t;

class ByteGrammar {
 public:
  static constexpr std::uint32_t kUnlimited = std::numeric_limits<std::uint32_t>::max();

  struct Node {
    enum class Type {
      kLiteral,   // bytes
      kSet,       // one byte of set
      kSequence,  // children in order
      kChoice,    // one of the children; none: nothing matches
      kRepeat     // children[0], at least min and at most max times
    };
    Type type = Type::kChoice;
    std::string bytes;
    ByteSet set;
    std::vector<NodeId> children;
    std::uint32_t min = 0, max = 0;
  };

  NodeId literal(std::string bytes);
  NodeId set(const ByteSet& bytes);
  NodeId sequence(std::vector<NodeId> children);
  NodeId choice(std::vector<NodeId> children);
  NodeId repeat(NodeId child, std::uint32_t min, std::uint32_t max = kUnlimited);
  NodeId optional(NodeId child) { return choice({child, literal("")}); }
  // A node that is filled in later: how a grammar refers to itself.
  NodeId declare() { return choice({}); }
  void define(NodeId declared, NodeId meaning) { nodes_[declared].children = {meaning}; }

  // Takes out what can never come to an end: what is left goes on from every place that it lets a text come
  // to. Returns whether anything matches root.
  bool prune(NodeId root);

  const Node& node(NodeId id) const noexcept { return nodes_[id]; }
  std::size_t size() const noexcept { return nodes_.size(); }

 private:
  NodeId add(Node node);
  std::vector<Node> nodes_;
};

}  // namespace kvasir::grammar
