// Any bytes as a JSON schema: refused with a kvasir::Error in one line, or a grammar. Bytes chosen of those
// that it allows, by a generator that the input seeds, never come to a dead end; and where the text may end
// it is JSON.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "grammar/byte_matcher.h"
#include "grammar/json_schema.h"
#include "kvasir/error.h"

namespace {

void check(const kvasir::grammar::JsonGrammar& grammar, std::uint64_t seed) {
  kvasir::grammar::ByteMatcher matcher(grammar.grammar, grammar.root);
  auto state = matcher.start();
  std::string text;
  for (int step = 0; step < 400; ++step) {
    if (state == kvasir::grammar::ByteMatcher::kDead) __builtin_trap();
    if (matcher.complete(state)) {
      boost::system::error_code error;
      boost::json::parse_options options;
      options.max_depth = 1000;
      boost::json::parse(text, error, {}, options);
      if (error) __builtin_trap();
    }
    const auto bytes = matcher.next_bytes(state);
    if (bytes.none()) return;
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    auto nth = (seed >> 33) % bytes.count();
    std::size_t byte = 0;
    while (!bytes[byte] || nth-- > 0) ++byte;
    state = matcher.next(state, static_cast<std::uint8_t>(byte));
    if (step % 50 == 49) state = matcher.forget_all_but(state);
    text += static_cast<char>(byte);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kvasir;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const auto schema = base::parse_json(input, "schema");
    for (const bool ascii_only : {false, true}) {
      const auto grammar = grammar::compile_json_schema(schema, {.ascii_only = ascii_only}, "schema");
      check(grammar, size + (size > 0 ? data[size / 2] : 0));
    }
  } catch (const Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos) __builtin_trap();
  }
  return 0;
}
