#!/bin/sh
# Each line of the examples in the public headers is in the program that the install test compiles. Argument: the checkout.
set -eu
consumer=$1/tests/install/consumer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
code() { sed -E 's|[[:space:]]*//.*$||; s/^[[:space:]]+//' "$@"; }
code "$consumer"/*.cpp | sort -u >"$work/compiled"
missing=0
for header in "$1"/include/kvasir/*.h; do
  # An example is indented in its comment; the argument of load() is a place of ours; JSON is no code.
  sed -n 's|^ *//   ||p' "$header" | code | grep -v -e '^{"' -e 'Reader::load("models/kvasir-base")' >"$work/shown" || true
  [ -s "$work/shown" ] || { echo "$header has no example"; missing=1; }
  while IFS= read -r line; do
    grep -qxF -e "$line" "$work/compiled" || { echo "$header: not compiled: $line"; missing=1; }
  done <"$work/shown"
done
exit $missing
