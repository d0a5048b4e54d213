// The grammar of JSON texts without a schema, from which those with one are built.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "grammar/byte_grammar.h"

namespace kvasir::grammar {

// The nodes that all schemas share.
class JsonText {
 public:
  JsonText(ByteGrammar& grammar, bool ascii_only);

  struct Bounds {
    std::uint32_t min = 0, max = ByteGrammar::kUnlimited;
  };
  NodeId gap() const noexcept { return gap_; }  // white space where it may be
  NodeId integer() const noexcept { return integer_; }
  NodeId number() const noexcept { return number_; }
  NodeId any() const noexcept { return any_; }
  NodeId any_object() const noexcept { return any_object_; }
  NodeId string(Bounds characters);
  NodeId array(NodeId item, Bounds items);
  // A name of plain ASCII that is not one of these.
  NodeId name_except(const std::vector<std::string>& names);
  NodeId literal(std::string_view text) { return grammar_.literal(std::string(text)); }
  // A value, written in one fixed way.
  NodeId value(const base::json::value& value);
  std::string quoted(std::string_view text) const;

 private:
  NodeId make_character();
  void make_numbers();
  void make_any();
  void append(const base::json::value& value, std::string& out) const;
  NodeId name_after(const std::vector<std::string>& names, std::size_t length);

  ByteGrammar& grammar_;
  bool ascii_only_;
  NodeId gap_ = 0, character_ = 0, digit_ = 0, integer_ = 0, number_ = 0, any_ = 0, any_object_ = 0;
};

}  // namespace kvasir::grammar
