#!/bin/sh
# Each breach of the ladder must be found by scripts/check-layers, and a clean tree must pass. Argument: the checkout.
set -eu
root=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/src/base" "$tree/src/kernels" "$tree/include/kvasir"
cat >"$tree/src/CMakeLists.txt" <<'END'
kvasir_folder(base LIBS Threads::Threads)
kvasir_folder(tensor USES base)
kvasir_folder(kernels USES tensor LIBS Threads::Threads)
kvasir_folder(qa USES kernels)
END

failures=0
# expect FILE LINE WORDS: with LINE alone in FILE, check-layers fails and says WORDS; without WORDS it passes.
expect() {
  printf '%s\n' "$2" >"$tree/$1"
  if output=$("$root/scripts/check-layers" "$tree" 2>&1); then status=0; else status=1; fi
  if [ -z "${3:-}" ]; then
    [ "$status" = 0 ] || { echo "refused, but allowed: $1: $2: $output"; failures=$((failures + 1)); }
  else
    case "$status $output" in
      "1 $1:1: "*"$3"*) ;;
      *) echo "not refused as it should be: $1: $2: $output"; failures=$((failures + 1)) ;;
    esac
  fi
  rm "$tree/$1"
}

expect src/kernels/a.cpp '#include "base/cpu.h"'  # through tensor
expect src/kernels/a.cpp '#include "kvasir/error.h"'
expect src/kernels/a.cpp '#include <vector>'
expect src/kernels/a.cpp 'std::snprintf(text, 10, "exit(1) and printf(x)");  // abort()'
expect include/kvasir/a.h '#include "kvasir/error.h"'
expect src/kernels/a.cpp '#include "qa/squad.h"' 'kernels may not use qa/squad.h'
expect src/base/a.h '#include "tensor/view.h"' 'base may not use tensor/view.h'
expect src/kernels/a.cpp '#include "../qa/squad.h"' 'relative path'
expect src/kernels/a.cpp '#include <iostream>' 'never prints'
expect src/kernels/a.cpp '  std::cerr << x;' 'never prints'
expect src/kernels/a.cpp '  std::fprintf(file, "x");' 'never prints'
expect src/kernels/a.cpp '  if (bad) abort();' 'never exits'
expect src/kernels/a.cpp '  std::exit(1);' 'never exits'
expect src/kernels/a.cpp 'auto* x = std::getenv("HOME");' 'only cli/'
expect include/kvasir/a.h '#include <boost/json.hpp>' 'another library'
expect include/kvasir/a.h '#include "base/cpu.h"' 'only kvasir/'
mkdir "$tree/src/extra"
expect src/extra/a.cpp 'int x;' 'is not a kvasir_folder'

[ "$failures" = 0 ] && echo "check-layers finds every breach"
exit "$failures"
