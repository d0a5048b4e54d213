"""Who takes part, in which precision, and the processes that are asked by turns."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PRECISIONS = ["fp32", "bf16", "int8"]

# The variants of each rival in each precision; a table shows, per cell, the fastest of them.
LATENCY = {
    "fp32": {
        "PyTorch": ["pytorch"],
        "ONNX Runtime": ["onnxruntime-attention", "onnxruntime-mha"],
        "OpenVINO": ["openvino", "openvino-fixed"],
        "CTranslate2": ["ctranslate2"],
    },
    "bf16": {
        "PyTorch": ["pytorch-bf16"],
        "OpenVINO": ["openvino-bf16", "openvino-fixed-bf16"],
    },
    "int8": {
        "ONNX Runtime": ["onnxruntime-attention-int8", "onnxruntime-attention-int8-channel", "onnxruntime-mha-int8",
                         "onnxruntime-mha-int8-channel"],
        "OpenVINO": ["openvino-int8", "openvino-fixed-int8", "openvino-int8-bf16", "openvino-fixed-int8-bf16"],
        "CTranslate2": ["ctranslate2-int8"],
    },
}
SQUAD = {
    "fp32": {
        "PyTorch": ["pytorch"],
        "ONNX Runtime": ["onnxruntime-attention"],
        "OpenVINO": ["openvino", "openvino-streams"],
        "CTranslate2": ["ctranslate2"],
    },
    "bf16": {
        "PyTorch": ["pytorch-bf16"],
        "OpenVINO": ["openvino-bf16", "openvino-streams-bf16"],
    },
    "int8": {
        "ONNX Runtime": ["onnxruntime-attention-int8", "onnxruntime-attention-int8-channel"],
        "OpenVINO": ["openvino-int8", "openvino-streams-int8", "openvino-int8-bf16", "openvino-streams-int8-bf16"],
        "CTranslate2": ["ctranslate2-int8"],
    },
}
RIVALS = list(LATENCY["fp32"])

# What the rivals listen to when they are to stay within an instruction set. ONNX Runtime has nothing of the kind, and
# OpenVINO does in part: see mask_cpuid.py.
ISA_ENVIRONMENT = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2", "CT2_FORCE_CPU_ISA": "AVX2"},
}


def cpu_field(key):
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "?")


def cpu_flags():
    known = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return [flag for flag in known if flag in cpu_field("flags").split()]


def has_bf16(isa):
    return not isa.startswith(("scalar", "avx2")) and bool({"avx512_bf16", "amx_bf16"} & set(cpu_flags()))


class NotStarted(Exception):
    pass


class Engine:
    """One process that sleeps between its turns, so that spinning threads of one do not slow another."""

    def __init__(self, name, precision, command, environment={}):
        self.name, self.precision = name, precision
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})
        self.ready = self.process.stdout.readline().strip()
        if not self.ready.startswith("ready"):
            self.stop()
            raise NotStarted(name)

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        reply = self.process.stdout.readline()
        if not reply:
            sys.exit(f"{Path(sys.argv[0]).name}: {self.name} stopped at \"{line}\"; its words are above")
        return reply.strip()

    def run(self, batch, tokens, repeats):
        """Milliseconds of each repeat, and the logits of the last sequence."""
        times, logits = self.ask(f"run {batch} {tokens} {repeats}").split("|")
        return [float(t) for t in times.split()], [float(x) for x in logits.split()]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def kvasir_name(precision):
    return f"kvasir-{precision}"


def with_precision(start, precision):
    """start(arguments) of a program of ours. One that has no --precision computes in fp32."""
    try:
        return start(["--precision", precision])
    except NotStarted:
        if precision != "fp32":
            raise
    return start([])


def start_kvasir(arguments, models):
    """An engine for each precision that our program does not refuse. models: the folder by precision."""
    engines = []
    for precision in arguments.precisions:
        command = [ROOT / "build/release/bench/kvasir_latency", models[precision], arguments.threads]
        command += [arguments.isa] if arguments.isa else []
        try:
            engines.append(with_precision(
                lambda option: Engine(kvasir_name(precision), precision, command + option), precision))
        except NotStarted:
            print(f"compare.py: kvasir_latency refuses {precision}, which is left out", file=sys.stderr, flush=True)
    return engines


def environment_of_rivals(isa):
    environment = dict(ISA_ENVIRONMENT.get(isa, {}))
    mask = Path(sys.prefix) / "mask_cpuid.so"
    if mask.exists():
        environment["LD_PRELOAD"] = str(mask)
    return environment


def start_rivals(arguments, model, graphs, table):
    environment, engines = environment_of_rivals(arguments.isa), []
    for precision in arguments.precisions:
        for rival, variants in table[precision].items():
            for variant in variants if rival in arguments.rivals else []:
                if "bf16" in variant and not has_bf16(arguments.isa):
                    continue
                try:
                    engines.append(Engine(variant, precision, [sys.executable, HERE / "worker.py", variant, model, graphs,
                                                               arguments.threads], environment))
                except NotStarted:
                    sys.exit(f"compare.py: {variant} did not start; its words are above")
    return engines
