#include "grammar/byte_matcher.h"

#include <algorithm>
#include <utility>

namespace kvasir::grammar {

using Type = ByteGrammar::Node::Type;

std::size_t ByteMatcher::FrameHash::operator()(const Frame& frame) const noexcept {
  std::uint64_t hash = frame.node * 0x9E3779B97F4A7C15 + frame.count;
  hash = (hash ^ hash >> 29) * 0xBF58476D1CE4E5B9 + frame.next;
  return static_cast<std::size_t>((hash ^ hash >> 32) * 0x94D049BB133111EB);
}

ByteMatcher::ByteMatcher(const ByteGrammar& grammar, NodeId root) : grammar_(grammar) {
  frames_.push_back({0, 0, kEnd});
  number({});  // kDead
  State state;
  enter(root, kEnd, state);
  start_ = number(std::move(state));
}

std::uint32_t ByteMatcher::push(const Frame& frame) {
  const auto [at, is_new] = frame_numbers_.try_emplace(frame, static_cast<std::uint32_t>(frames_.size()));
  if (is_new) frames_.push_back(frame);
  return at->second;
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

StateId ByteMatcher::number(State state) {
  std::uint64_t hash = state.complete ? 1 : 0;
  for (const Thread& thread : state.threads)
    hash = hash * 31 + FrameHash()({thread.node, thread.offset, thread.next});
  const auto [first, last] = state_numbers_.equal_range(hash);
  for (auto at = first; at != last; ++at) {
    const State& known = states_[at->second];
    if (known.complete == state.complete && known.threads == state.threads) return at->second;
  }
  const auto id = static_cast<StateId>(states_.size());
  states_.push_back(std::move(state));
  tables_.emplace_back().fill(kUnknown);
  state_numbers_.emplace(hash, id);
  return id;
}

StateId ByteMatcher::find_next(StateId from, std::uint8_t byte) {
  State to;
  const State& state = states_[from];
  for (const Thread& thread : state.threads) {
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
  const StateId id = number(std::move(to));
  tables_[from][byte] = id;
  return id;
}

ByteSet ByteMatcher::next_bytes(StateId id) const {
  ByteSet out;
  for (const Thread& thread : states_[id].threads) {
    const ByteGrammar::Node& node = grammar_.node(thread.node);
    if (node.type == Type::kSet) {
      out |= node.set;
    } else {
      out.set(static_cast<std::uint8_t>(node.bytes[thread.offset]));
    }
  }
  return out;
}

// The number of an old continuation among the new ones; from its end, so that each finds what follows it.
std::uint32_t ByteMatcher::keep(const std::vector<Frame>& old, std::uint32_t continuation) {
  std::vector<Frame> chain;
  for (; continuation != kEnd; continuation = old[continuation].next) chain.push_back(old[continuation]);
  std::uint32_t out = kEnd;
  for (auto frame = chain.rbegin(); frame != chain.rend(); ++frame)
    out = push({frame->node, frame->count, out});
  return out;
}

StateId ByteMatcher::forget_all_but(StateId id) {
  State start = states_[start_], state = states_[id];
  const std::vector<Frame> old = std::exchange(frames_, {});
  frames_.push_back({0, 0, kEnd});
  frame_numbers_.clear();
  states_.clear();
  tables_.clear();
  state_numbers_.clear();
  number({});
  for (Thread& thread : start.threads) thread.next = keep(old, thread.next);
  for (Thread& thread : state.threads) thread.next = keep(old, thread.next);
  start_ = number(std::move(start));
  return number(std::move(state));
}

}  // namespace kvasir::grammar
