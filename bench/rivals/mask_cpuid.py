"""Makes ONNX Runtime and OpenVINO of a virtual environment take the processor for one with AVX2 and no more.

    python3 bench/rivals/mask_cpuid.py VENV        an environment of its own: it is changed for good
    bench/rivals/run --venv VENV --isa avx2

ONNX Runtime has no switch for the instruction set, and part of OpenVINO (MLAS) does not listen to oneDNN's: with --isa avx2
alone both ran faster than AVX2 allows. So each cpuid instruction in their libraries becomes a ud2, and a small library
(mask_cpuid.c, built into VENV, which contenders.py loads before them) answers in its place. Needs gcc and binutils.
"""

import re
import subprocess
import sys
from pathlib import Path

CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
LIBRARIES = ["onnxruntime/capi/onnxruntime_pybind11_state*.so", "openvino/libs/libopenvino.so*",
             "openvino/libs/libopenvino_intel_cpu_plugin.so"]
SECTION = re.compile(r"\s*\[\s*\d+\]\s+\S+\s+PROGBITS\s+([0-9a-f]+)\s+([0-9a-f]+)\s+([0-9a-f]+)\s")


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def offsets_of_cpuid(library):
    """Where in the file its cpuid instructions are."""
    sections = [tuple(int(field, 16) for field in match.groups())
                for match in map(SECTION.match, output_of("readelf", "-SW", library).splitlines()) if match]
    for line in output_of("objdump", "-d", "--no-show-raw-insn", library).splitlines():
        if not line.endswith("\tcpuid"):
            continue
        address = int(line.split(":")[0], 16)
        begin, offset, _ = next(s for s in sections if s[0] <= address < s[0] + s[2])
        yield offset + address - begin


def mask(library):
    data, count = bytearray(library.read_bytes()), 0
    for offset in offsets_of_cpuid(library):
        if data[offset:offset + 2] != CPUID:
            sys.exit(f"mask_cpuid.py: {library}: no cpuid at {offset:#x}, and objdump says there is")
        data[offset:offset + 2] = UD2
        count += 1
    library.write_bytes(data)
    print(f"{library.name}: {count} instructions masked")


def main():
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "pyvenv.cfg").exists():
        sys.exit("usage: mask_cpuid.py VENV, a virtual environment that bench/rivals/run has filled")
    venv = Path(sys.argv[1])
    packages = next(venv.glob("lib/python3*/site-packages"))
    for pattern in LIBRARIES:
        found = list(packages.glob(pattern))
        if not found:
            sys.exit(f"mask_cpuid.py: {packages} has no {pattern}")
        for library in found:
            mask(library)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", Path(__file__).with_name("mask_cpuid.c"), "-o",
                    venv / "mask_cpuid.so"], check=True)


if __name__ == "__main__":
    main()
