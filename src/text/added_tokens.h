// Added tokens: tokens that are cut out of a text before the model sees it, such as [SEP] or a user's own.
//
// Some are searched for in the text as it is, the others ("normalized") in the output of the normaliser. In
// both the leftmost match counts, and of those that begin there the longest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "text/normalizers/normalizer.h"
#include "text/pre_tokenizers/pre_tokenizer.h"
#include "text/vocabulary.h"

namespace kvasir::text {

struct AddedToken {
  std::string content;
  bool single_word = false;  // only where neither side continues a word (\w)
  bool lstrip = false;       // includes the white space before it
  bool rstrip = false;       // includes the white space after it
  bool normalized = true;    // searched for in the normalised text
  bool special = false;      // left out by decode(skip_special_tokens)

  friend bool operator==(const AddedToken&, const AddedToken&) = default;
};

// Finds the leftmost-longest of a set of strings.
class StringMatcher {
 public:
  StringMatcher() { nodes_.emplace_back(); }
  // Of equal patterns the first one counts. Precondition: pattern is not empty.
  void add(std::string_view pattern, std::int32_t value);
  bool empty() const noexcept { return nodes_.size() == 1; }

  struct Match {
    std::size_t begin, end;
    std::int32_t value;
  };
  std::optional<Match> find(std::string_view text, std::size_t from) const;
  // Whether a pattern begins with the byte.
  bool begins(std::uint8_t byte) const noexcept { return starts_[byte]; }

 private:
  struct Node {
    std::map<std::uint8_t, std::size_t> children;
    std::int32_t value = kNoToken;
  };
  std::optional<Match> match_at(std::string_view text, std::size_t begin) const;

  std::vector<Node> nodes_;
  std::array<bool, 256> starts_{};  // first bytes of the patterns
  int first_bytes_ = 0;             // how many
  char first_byte_ = 0;             // the last of them
};

class AddedTokens {
 public:
  // Adds tokens as the reference does: a token of the vocabulary keeps its id, others get the next ids; a
  // token that was added before with other flags is replaced. `normalizer` (may be null) is applied to the
  // content of normalized tokens. Throws kFormat for a token whose content vanishes when it is normalised.
  void add(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary, const Normalizer* normalizer,
           const std::string& origin);

  // A part of a text: an added token, or what lies between two of them (id kNoToken). Never empty.
  struct Part {
    Piece piece;
    std::int32_t id;
  };
  enum class Pass { kRaw, kNormalized };
  bool has(Pass pass) const noexcept { return !matcher(pass).empty(); }
  // Whether a token that is searched for in the normalised text might begin with what BERT's normaliser makes
  // of one of the text's characters.
  bool may_begin_in(std::string_view text) const noexcept;
  // Visits the parts of a text in order.
  void split(std::string_view text, Pass pass, const std::function<void(const Part&)>& visit) const;

  std::optional<std::int32_t> id(std::string_view content) const;
  const AddedToken* token(std::int32_t id) const;  // nullptr if there is none
  bool is_special(std::string_view content) const { return special_.contains(std::string(content)); }
  const std::map<std::int32_t, AddedToken>& by_id() const noexcept { return by_id_; }

 private:
  const StringMatcher& matcher(Pass pass) const noexcept { return pass == Pass::kRaw ? raw_ : normalized_; }
  void rebuild_matchers(const Normalizer* normalizer, const std::string& origin);

  std::vector<AddedToken> special_list_,
      plain_list_;  // in the order of adding; they determine what is searched for where
  std::unordered_set<std::string> special_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::map<std::int32_t, AddedToken> by_id_;  // the latest flags of each id
  StringMatcher raw_, normalized_;
  bool begins_beyond_ascii_ = false;  // one of normalized_
};

}  // namespace kvasir::text
