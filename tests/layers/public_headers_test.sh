#!/bin/sh
# Each public header compiles alone, without a warning, and includes what it uses of the standard library itself.
# Arguments: the checkout, the compiler.
set -eu
root=$1
compiler=$2
wrong=0

# needs HEADER NAMES INCLUDE: where one of the NAMES (an expression of grep) is used, INCLUDE is there.
needs() {
  code=$(sed 's|//.*||' "$1")
  if printf '%s\n' "$code" | grep -qE "std::($2)\\b" && ! printf '%s\n' "$code" | grep -qxF "#include <$3>"; then
    echo "$1: uses std:: $2 and does not include <$3>"
    wrong=1
  fi
}

for header in "$root"/include/kvasir/*.h; do
  "$compiler" -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -I"$root/include" \
    -include "$header" -x c++ /dev/null || { echo "$header: does not compile alone"; wrong=1; }
  needs "$header" 'move|exchange|pair|forward|swap' utility
  needs "$header" 'shared_ptr|unique_ptr|make_shared|make_unique' memory
  needs "$header" 'u?int(8|16|32|64)_t' cstdint
  needs "$header" 'size_t' cstddef
  needs "$header" 'runtime_error' stdexcept
  needs "$header" 'filesystem::path' filesystem
  for name in atomic function:functional map optional span string string_view vector; do
    needs "$header" "${name%:*}" "${name#*:}"
  done
done
[ "$wrong" = 0 ] && echo "the public headers stand alone"
exit "$wrong"
