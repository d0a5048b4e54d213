// A grammar over bytes: nodes that refer to each other by number. ByteMatcher (byte_matcher.h) matches texts
// against it.
//
//   ByteGrammar grammar;
//   const NodeId digit = grammar.set(digits);
//   const NodeId number = grammar.repeat(digit, 1);
//   if (!grammar.prune(number)) …    // no text matches
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
      kRepeat,    // children[0], at least min and at most max times
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
  // A node whose meaning is given later, by define(), so that a grammar can refer to itself.
  NodeId declare() { return choice({}); }
  void define(NodeId declared, NodeId meaning) { nodes_[declared].children = {meaning}; }

  // Removes alternatives and repetitions that no finite text can match. Afterwards every prefix that the
  // grammar accepts can be completed. Returns whether any text matches `root`.
  bool prune(NodeId root);

  const Node& node(NodeId id) const noexcept { return nodes_[id]; }
  std::size_t size() const noexcept { return nodes_.size(); }

 private:
  NodeId add(Node node);
  std::vector<Node> nodes_;
};

}  // namespace kvasir::grammar
