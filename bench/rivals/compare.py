"""Measures Kvasir and its rivals by turns and prints tables of ratios. Started by ./run; see README.md.

Every engine is a process of its own that sleeps between its turns, so spinning threads of one do not slow another. A round
asks every engine for every shape once; the figure of a cell is the best of all rounds (and the median beside it), and
ratios compare figures of the same run only.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHAPES = [(1, 32), (1, 128), (1, 384), (8, 128), (8, 384)]
# The variants of a rival; the table shows, per cell, the fastest of them.
RIVALS = {
    "PyTorch": ["pytorch"],
    "ONNX Runtime": ["onnxruntime-attention", "onnxruntime-mha"],
    "OpenVINO": ["openvino", "openvino-fixed"],
}
SQUAD_RIVALS = {
    "PyTorch": ["pytorch"],
    "ONNX Runtime": ["onnxruntime-attention"],
    "OpenVINO": ["openvino", "openvino-streams"],
}
# What the rivals listen to when they are to stay within an instruction set. ONNX Runtime has nothing of the kind.
ISA_ENVIRONMENT = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
             "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
TURN_MS = 60  # a turn repeats short passes until it has lasted about so long


class Engine:
    def __init__(self, name, command, environment):
        self.name = name
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})
        self.ready = self.process.stdout.readline().strip()
        if not self.ready.startswith("ready"):
            sys.exit(f"compare.py: {name} did not start; its words are above")

    def ask(self, line):
        print(line, file=self.process.stdin, flush=True)
        reply = self.process.stdout.readline()
        if not reply:
            sys.exit(f"compare.py: {self.name} stopped at \"{line}\"; its words are above")
        return reply.strip()

    def run(self, batch, tokens, repeats):
        times, logits = self.ask(f"run {batch} {tokens} {repeats}").split("|")
        return [float(t) for t in times.split()], [float(x) for x in logits.split()]

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def describe_machine(arguments):
    info = Path("/proc/cpuinfo").read_text()
    field = lambda key: next((l.split(":", 1)[1].strip() for l in info.splitlines() if l.startswith(key)), "?")
    flags = [f for f in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if f" {f}" in field("flags")]
    versions = [f"{n} {metadata.version(n)}" for n in ("torch", "onnxruntime", "openvino", "transformers", "tokenizers")]
    print(f"machine: {field('model name')} (family {field('cpu family')}, model {field('model')}), "
          f"{len(os.sched_getaffinity(0))} cores, {' '.join(flags)}; {platform.system()} {platform.release()}")
    print(f"rivals: {', '.join(versions)}; Python {platform.python_version()}")
    print(f"threads: {arguments.threads}; fp32; load average at the start: {os.getloadavg()[0]:.1f}"
          + (f"; instruction set: {arguments.isa}" if arguments.isa else ""), flush=True)


def table(header, rows):
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in (header, ["-" * w for w in widths], *rows):
        print("| " + " | ".join(str(cell).rjust(w) if i else str(cell).ljust(w)
                                for i, (cell, w) in enumerate(zip(row, widths))) + " |")
    print(flush=True)


def prepared(name, work):
    """(model folder, exported graphs) of a model, made on first use."""
    model = ROOT / "models/kvasir-base" if name == "kvasir-base" else work / name
    prepare = [sys.executable, str(HERE / "prepare.py")]
    if not (model / "config.json").exists():
        subprocess.run([*prepare, "--bert-base", str(model)], check=True)
    graphs = work / f"{name}-graphs"
    if not (graphs / "done.json").exists():
        print(f"exporting {name} for the rivals", file=sys.stderr, flush=True)
        subprocess.run([*prepare, str(model), str(graphs)], check=True, stdout=subprocess.DEVNULL)
    return model, graphs


def start_rivals(arguments, model, graphs, rivals):
    environment = ISA_ENVIRONMENT.get(arguments.isa, {})
    return [Engine(variant, [sys.executable, HERE / "worker.py", variant, model, graphs, arguments.threads], environment)
            for rival in rivals if rival in arguments.rivals for variant in rivals[rival]]


def measure_latency(arguments, name, work):
    model, graphs = prepared(name, work)
    ours = [ROOT / "build/release/bench/kvasir_latency", model, arguments.threads] + ([arguments.isa] if arguments.isa else [])
    engines = [Engine("kvasir", ours, {})] + start_rivals(arguments, model, graphs, RIVALS)
    times = {(e.name, shape): [] for e in engines for shape in SHAPES}
    for shape in SHAPES:
        expected = None
        for round_number in range(arguments.rounds):
            for engine in engines:
                known = times[engine.name, shape]
                repeats = 1 if not known else max(1, min(20, math.ceil(TURN_MS / min(known))))
                measured, logits = engine.run(*shape, repeats)
                known += measured
                expected = expected or logits
                if max(abs(a - b) for a, b in zip(logits, expected)) > 2e-3 * max(1, *map(abs, expected)):
                    sys.exit(f"compare.py: {engine.name} computes something else at {shape}: {logits}, not {expected}")
    ready = engines[0].ready
    for engine in engines:
        engine.stop()

    print(f"\n{name}, one forward pass, ms (best of {arguments.rounds} rounds; ours is \"{ready}\")\n")
    rows, results = [], []
    for shape in SHAPES:
        own = times["kvasir", shape]
        best = {rival: min((min(times[v, shape]), v) for v in RIVALS[rival]) for rival in RIVALS if rival in arguments.rivals}
        fastest, variant = min(best.values())
        median = min(statistics.median(times[v, shape]) for rival in best for v in RIVALS[rival])
        rows.append([f"B{shape[0]} S{shape[1]}", f"{min(own):.2f}"] + [f"{best[r][0]:.2f}" for r in best]
                    + [f"{fastest / min(own):.2f}", f"{median / statistics.median(own):.2f}", variant])
        results.append({"model": name, "batch": shape[0], "tokens": shape[1], "ratio_best": fastest / min(own),
                        "ratio_median": median / statistics.median(own),
                        "ms": {e: min(t) for (e, s), t in times.items() if s == shape}})
    table(["shape", "Kvasir", *best, "fastest rival / Kvasir", "by medians", "fastest rival"], rows)
    return results


def kvasir_squad(arguments, model, file):
    environment = {**os.environ, **({"KVASIR_ISA": arguments.isa} if arguments.isa else {})}
    output = subprocess.run([ROOT / "build/release/kvasir", "eval", "squad", "--model", model, "--data", file, "--decode", "squad",
                             "--threads", str(arguments.threads), "--json"], env=environment, check=True,
                            capture_output=True, text=True).stdout
    result = json.loads(output)
    return result["seconds"], result["questions"], result["f1"]


def write_part(file, part, parts, out):
    """The same paragraphs that a worker takes, as a file of its own for us."""
    data = json.load(open(file, encoding="utf-8"))
    paragraphs = [p for article in data["data"] for p in article["paragraphs"]][part::parts]
    out.write_text(json.dumps({"version": data["version"], "data": [{"title": "part", "paragraphs": paragraphs}]}))


def measure_squad(arguments, work):
    """The file is cut into parts; each engine does a part in its turn, so noise falls on all of them alike."""
    model, graphs = prepared("kvasir-base", work)
    rivals = start_rivals(arguments, model, graphs, SQUAD_RIVALS)
    totals = {}

    def add(key, seconds, questions, f1):
        total = totals.setdefault(key, [0.0, 0, 0.0])
        total[0] += float(seconds)
        total[1] += int(questions)
        total[2] += float(f1) * int(questions)

    file = Path(arguments.data)
    warm_up = "squad {} 0 40 32 sorted"
    for engine in rivals:
        engine.ask(warm_up.format(file))
    for part in range(arguments.squad_parts)[:arguments.squad_limit]:
        own_file = work / "part.json"
        write_part(file, part, arguments.squad_parts, own_file)
        add(("kvasir", "file"), *kvasir_squad(arguments, model, own_file))
        for order in ("sorted", "file"):
            for engine in rivals:
                reply = engine.ask(f"squad {file} {part} {arguments.squad_parts} 32 {order}")
                add((engine.name, order), *reply.split())
        print(f"part {part + 1} of {arguments.squad_parts}: " + ", ".join(
            f"{name} {order} {t[1] / t[0]:.1f}/s" for (name, order), t in totals.items()), file=sys.stderr, flush=True)
    for engine in rivals:
        engine.stop()

    own = totals["kvasir", "file"]
    print(f"\nkvasir-base, {own[1]} SQuAD questions end to end (tokenise, windows of 384/128, batches of 32, run_qa decoding)\n")
    rows, results = [["Kvasir", "-", f"{own[1] / own[0]:.1f}", f"{own[2] / own[1]:.2f}", "-"]], []
    for (name, order), total in sorted(totals.items(), key=lambda item: item[1][0]):
        if name == "kvasir":
            continue
        ratio = (own[1] / own[0]) / (total[1] / total[0])
        rows.append([name, order, f"{total[1] / total[0]:.1f}", f"{total[2] / total[1]:.2f}", f"{ratio:.2f}"])
        results.append({"rival": name, "order": order, "questions_per_second": total[1] / total[0], "ratio": ratio})
    table(["engine", "order of batches", "questions/s", "F1", "Kvasir / this"], rows)
    return [{"rival": "kvasir", "questions_per_second": own[1] / own[0], "f1": own[2] / own[1]}, *results]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each engine for each shape")
    parser.add_argument("--isa", default="", help="instruction set of ours, and of the rivals that can be told")
    parser.add_argument("--only", choices=["latency", "squad"])
    parser.add_argument("--models", nargs="+", default=["kvasir-base", "bert-base"], choices=["kvasir-base", "bert-base"])
    parser.add_argument("--rivals", nargs="+", default=list(RIVALS), choices=list(RIVALS))
    parser.add_argument("--compile", action="store_true", help="also try torch.compile (slow to start)")
    parser.add_argument("--data", default=str(ROOT / "tests/data/squad/dev-v2.0-half.json"))
    parser.add_argument("--squad-parts", type=int, default=4, help="parts into which the questions are cut")
    parser.add_argument("--squad-limit", type=int, default=None, help="only so many of the parts")
    parser.add_argument("--work", default=str(ROOT / "build/rivals"), help="where the random model and the graphs are kept")
    parser.add_argument("--json", help="file to write all figures to")
    arguments = parser.parse_args()
    if arguments.compile:
        RIVALS["PyTorch"].append("pytorch-compiled")
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)

    describe_machine(arguments)
    figures = {}
    if arguments.only != "squad":
        figures["latency"] = [cell for name in arguments.models for cell in measure_latency(arguments, name, work)]
    if arguments.only != "latency":
        figures["squad"] = measure_squad(arguments, work)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
