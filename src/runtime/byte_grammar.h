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
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace kvasir::runtime {

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

class ByteMatcher {
 public:
  // Precondition: the grammar is pruned and outlives the matcher; nothing that repeats matches the empty
  // text, and nothing contains itself at its beginning.
  ByteMatcher(const ByteGrammar& grammar, NodeId root);

  struct Thread {
    NodeId node;
    std::uint32_t offset;  // in a literal
    std::uint32_t next;    // continuation
    friend bool operator==(const Thread&, const Thread&) = default;
  };
  struct State {
    std::vector<Thread> threads;
    bool complete = false;  // the text may end here
    bool dead() const noexcept { return threads.empty() && !complete; }
  };
  const State& state() const noexcept { return state_; }
  // `to` becomes the state after the byte; dead if it does not match.
  void step(const State& from, std::uint8_t byte, State& to);
  void advance(std::uint8_t byte);
  ByteSet next_bytes() const;

  // Continuations made after this place can be taken back: what a look ahead leaves.
  std::size_t mark() const noexcept { return frames_.size(); }
  void release(std::size_t mark);

 private:
  static constexpr std::uint32_t kEnd = 0;  // the continuation of the whole text
  struct Frame {
    NodeId node;
    std::uint32_t count;  // children matched of a sequence, times of a repetition
    std::uint32_t next;
    friend bool operator==(const Frame&, const Frame&) = default;
  };
  struct FrameHash {
    std::size_t operator()(const Frame& frame) const noexcept {
      std::uint64_t hash = frame.node * 0x9E3779B97F4A7C15 + frame.count;
      hash = (hash ^ hash >> 29) * 0xBF58476D1CE4E5B9 + frame.next;
      return static_cast<std::size_t>((hash ^ hash >> 32) * 0x94D049BB133111EB);
    }
  };
  std::uint32_t push(const Frame& frame);
  void enter(NodeId node, std::uint32_t next, State& out);
  void repeat(NodeId node, std::uint32_t count, std::uint32_t next, State& out);
  void leave(std::uint32_t continuation, State& out);

  const ByteGrammar& grammar_;
  std::vector<Frame> frames_;
  std::unordered_map<Frame, std::uint32_t, FrameHash> numbers_;
  State state_, scratch_;
};

}  // namespace kvasir::runtime
