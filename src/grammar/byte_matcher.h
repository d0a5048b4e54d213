// Matches a text against a grammar byte by byte.
//
// A state is the set of all ways to parse the text so far. Each is a thread: a place in the grammar and its
// continuation, that is, what has to follow. Continuations are shared and numbered, so a thread is three
// numbers, and equal states can be recognised. States and the steps between them are kept: a step that was
// taken before is a look-up in a table, 2 ns instead of 300 within a string.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "grammar/byte_grammar.h"

namespace kvasir::grammar {

using StateId = std::uint32_t;

class ByteMatcher {
 public:
  // Precondition: the grammar is pruned and outlives the matcher; no repeated node matches the empty text,
  // and no node begins with itself.
  ByteMatcher(const ByteGrammar& grammar, NodeId root);

  static constexpr StateId kDead = 0;  // nothing matches
  StateId start() const noexcept { return start_; }
  StateId next(StateId from, std::uint8_t byte) {
    const StateId known = tables_[from][byte];
    return known != kUnknown ? known : find_next(from, byte);
  }
  bool complete(StateId id) const noexcept { return states_[id].complete; }  // the text may end here
  bool can_go_on(StateId id) const noexcept { return !states_[id].threads.empty(); }
  ByteSet next_bytes(StateId id) const;

  std::size_t states() const noexcept { return states_.size(); }
  // Removes all states except the start and one other, which gets a new number, and all continuations that
  // these two do not use.
  StateId forget_all_but(StateId id);

 private:
  struct Thread {
    NodeId node;
    std::uint32_t offset;  // in a literal
    std::uint32_t next;    // continuation
    friend bool operator==(const Thread&, const Thread&) = default;
  };
  struct Frame {
    NodeId node;
    std::uint32_t count;  // children matched of a sequence, times of a repetition
    std::uint32_t next;
    friend bool operator==(const Frame&, const Frame&) = default;
  };
  struct FrameHash {
    std::size_t operator()(const Frame& frame) const noexcept;
  };
  using Table = std::array<StateId, 256>;
  struct State {
    std::vector<Thread> threads;
    bool complete = false;
  };
  static constexpr std::uint32_t kEnd = 0;  // the continuation of the whole text
  static constexpr StateId kUnknown = 0xFFFFFFFF;

  std::uint32_t push(const Frame& frame);
  void enter(NodeId node, std::uint32_t next, State& out);
  void repeat(NodeId node, std::uint32_t count, std::uint32_t next, State& out);
  void leave(std::uint32_t continuation, State& out);
  StateId find_next(StateId from, std::uint8_t byte);
  StateId number(State state);
  std::uint32_t keep(const std::vector<Frame>& old, std::uint32_t continuation);

  const ByteGrammar& grammar_;
  std::vector<Frame> frames_;
  std::unordered_map<Frame, std::uint32_t, FrameHash> frame_numbers_;
  std::vector<State> states_;
  std::vector<Table> tables_;                                      // for each state, the known steps
  std::unordered_multimap<std::uint64_t, StateId> state_numbers_;  // by hash
  StateId start_ = kDead;
};

}  // namespace kvasir::grammar
