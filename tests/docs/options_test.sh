#!/bin/sh
# The manual page and the completion know each option of --help, and no others. Arguments: the checkout, the program.
set -eu
root=$1
kvasir=$2
wrong=0
options() { grep -oE -e '(^|[^a-z-])--[a-z][a-z-]*' | sed 's/^[^-]*//' | sort -u; }

all=$(for command in '' ask embed rerank generate chat 'train qa' 'train plot' merge 'eval squad' 'eval score' tokenize logits bench pull list show quantize rm; do
  "$kvasir" $command --help
done | grep -E '^ +(-[a-z], )?--' | sed 's/^\( *\)\(-[a-z], \)\{0,1\}\(--[a-z-]*\).*/\3/' | sort -u)
[ "$(echo "$all" | wc -l)" -ge 20 ] || { echo "--help lists hardly any option: $all"; exit 1; }

for file in docs/kvasir.1 docs/completions/kvasir.bash; do
  known=$(sed 's/\\-/-/g; s/\\f[BIR]/ /g' "$root/$file" | options)
  for option in $all; do
    echo "$known" | grep -qxe "$option" || { echo "$file: lacks $option"; wrong=1; }
  done
  for option in $known; do
    echo "$all" | grep -qxe "$option" || case $option in --help | --version) ;; *) echo "$file: $option is not in --help"; wrong=1 ;; esac
  done
done
[ "$wrong" = 0 ] && echo "$(echo "$all" | wc -l) options stand in the manual page and in the completion"
exit "$wrong"
