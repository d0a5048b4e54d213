#include "runtime/byte_grammar.h"

#include <algorithm>
#include <utility>

namespace kvasir::runtime {

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

ByteMatcher::ByteMatcher(const ByteGrammar& grammar, NodeId root) : grammar_(grammar) {
  frames_.push_back({0, 0, kEnd});
  enter(root, kEnd, state_);
}

std::uint32_t ByteMatcher::push(const Frame& frame) {
  const auto [at, is_new] = numbers_.try_emplace(frame, static_cast<std::uint32_t>(frames_.size()));
  if (is_new) frames_.push_back(frame);
  return at->second;
}

void ByteMatcher::release(std::size_t mark) {
  while (frames_.size() > mark) {
    numbers_.erase(frames_.back());
    frames_.pop_back();
  }
}

// Adds the threads that begin with the node and go on with the continuation.
void ByteMatcher::enter(NodeId id, std::uint32_t next, State& out) {
  const ByteGrammar::Node& node = grammar_.node(id);
  switch (node.type) {
    case Type::kLiteral:
      if (node.bytes.empty()) return leave(next, out);
      break;
    case Type::kSet:
      break;
    case Type::kSequence:
      if (node.children.empty()) return leave(next, out);
      // The last child goes on with what follows the sequence: a list of lists does not pile up
      // continuations.
      return enter(node.children[0], node.children.size() == 1 ? next : push({id, 1, next}), out);
    case Type::kChoice:
      for (const NodeId child : node.children) enter(child, next, out);
      return;
    case Type::kRepeat:
      return repeat(id, 0, next, out);
  }
  const Thread thread{id, 0, next};
  if (std::find(out.threads.begin(), out.threads.end(), thread) == out.threads.end())
    out.threads.push_back(thread);
}

// The node has matched `count` times.
void ByteMatcher::repeat(NodeId id, std::uint32_t count, std::uint32_t next, State& out) {
  const ByteGrammar::Node& node = grammar_.node(id);
  if (count < node.max) {
    // Without a limit it does not matter how often beyond min, so that states come back.
    const std::uint32_t after =
        node.max == ByteGrammar::kUnlimited ? std::min(count + 1, node.min) : count + 1;
    enter(node.children[0], push({id, after, next}), out);
  }
  if (count >= node.min) leave(next, out);
}

void ByteMatcher::leave(std::uint32_t continuation, State& out) {
  if (continuation == kEnd) {
    out.complete = true;
    return;
  }
  const Frame frame = frames_[continuation];
  const ByteGrammar::Node& node = grammar_.node(frame.node);
  if (node.type == Type::kRepeat) return repeat(frame.node, frame.count, frame.next, out);
  const bool last = frame.count + 1 == node.children.size();
  enter(node.children[frame.count], last ? frame.next : push({frame.node, frame.count + 1, frame.next}), out);
}

void ByteMatcher::step(const State& from, std::uint8_t byte, State& to) {
  to.threads.clear();
  to.complete = false;
  for (const Thread& thread : from.threads) {
    const ByteGrammar::Node& node = grammar_.node(thread.node);
    if (node.type == Type::kSet) {
      if (node.set[byte]) leave(thread.next, to);
    } else if (static_cast<std::uint8_t>(node.bytes[thread.offset]) == byte) {
      if (thread.offset + 1 < node.bytes.size()) {
        to.threads.push_back({thread.node, thread.offset + 1, thread.next});
      } else {
        leave(thread.next, to);
      }
    }
  }
}

void ByteMatcher::advance(std::uint8_t byte) {
  step(state_, byte, scratch_);
  std::swap(state_, scratch_);
}

ByteSet ByteMatcher::next_bytes() const {
  ByteSet out;
  for (const Thread& thread : state_.threads) {
    const ByteGrammar::Node& node = grammar_.node(thread.node);
    if (node.type == Type::kSet) {
      out |= node.set;
    } else {
      out.set(static_cast<std::uint8_t>(node.bytes[thread.offset]));
    }
  }
  return out;
}

}  // namespace kvasir::runtime
