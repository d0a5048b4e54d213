#!/bin/sh
# The examples of README.md print what it shows. Arguments: the checkout, the folder of the program.
set -eu
now=$(mktemp)
trap 'rm -f "$now"*' EXIT
"$1/scripts/run-examples" "$1/README.md" "$2" >"$now"
count=$(grep -c '^\$ kvasir\|^\$ .*| kvasir' "$now")
[ "$count" -ge 5 ] || { echo "README.md has $count examples, not 5"; exit 1; }
# Scores in JSON have more digits than instruction sets agree on.
short() { sed -E 's/(\.[0-9]{3})[0-9]+/\1/g' "$1"; }
short "$1/README.md" >"$now.shown"
short "$now" >"$now.printed"
diff -u "$now.shown" "$now.printed" || { echo "README.md shows other outputs than the program prints; if the new ones are right: ./dev docs"; exit 1; }
echo "$count examples print what README.md shows"
