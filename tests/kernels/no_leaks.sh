#!/bin/sh
# no_leaks.sh OBJECT...: fails if an object of an instruction set defines a weak symbol. Such a symbol (an inline
# function or template that all files share) may be the copy that the linker keeps for the whole program, and that copy
# was compiled for instructions that not every processor has.
status=0
for object in "$@"; do
  case $object in
  */kernels/avx*) ;;
  *) continue ;;
  esac
  seen=1
  # DW.ref.*: data that g++ makes for stack unwinding.
  leaks=$(nm -C "$object" | grep -E '^[0-9a-f]+ [WVu] ' | grep -v ' DW\.ref\.')
  if [ -n "$leaks" ]; then
    printf '%s:\n%s\n' "$object" "$leaks"
    status=1
  fi
done
[ -n "$seen" ] || { echo "no_leaks.sh: no objects of avx2 or avx512 given"; exit 1; }
exit $status
