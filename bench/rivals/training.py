"""Kvasir and PyTorch by turns: steps of fine-tuning a reader.

    training.py --model DIR [--threads 2] [--batch 16] [--batches 6] [--rounds 3] [--no-compile] [--json FIGURES]

DIR is a folder of BERT's family, such as MiniLM-L6 or BERT-base. Needs the packages of requirements.txt and
build/release/bench/kvasir_training (./dev build release --target kvasir_training). Batches of windows whose lengths are those of
SQuAD (log-normal: median 165 tokens, mean 186, at most 384), random tokens, AdamW with clipping, dropout as the model's
config.json says. PyTorch: eager, each batch padded to its longest; and with the windows sorted by length into batches and
torch.compile, which compiles for some minutes first. Useful tokens a second, pads not counted; each engine is a process of its
own that is asked by turns. Only ratios within one run mean anything.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

import compare
import report
from contenders import HERE, ROOT, Engine, NotStarted

BINARY = ROOT / "build/release/bench/kvasir_training"


def draw_lengths(batches, size):
    chance = random.Random(1)
    return [[int(min(max(chance.lognormvariate(5.1059, 0.45), 40), 384)) for _ in range(size)] for _ in range(batches)]


def by_length(batches):
    """The same windows, sorted into batches of like length: what a sampler that groups by length comes to at best."""
    size = len(batches[0])
    flat = sorted(length for batch in batches for length in batch)
    return [flat[i:i + size] for i in range(0, len(flat), size)]


def write(path, batches):
    path.write_text("\n".join(" ".join(map(str, batch)) for batch in batches) + "\n")
    return path


def start(arguments):
    batches = draw_lengths(arguments.batches, arguments.batch)
    as_drawn = write(arguments.work / "lengths.txt", batches)
    sorted_ones = write(arguments.work / "lengths-sorted.txt", by_length(batches))
    worker = [sys.executable, HERE / "training_worker.py"]
    engines = [Engine("kvasir", "fp32", [BINARY, arguments.model, as_drawn, arguments.threads]),
               Engine("pytorch-padded", "fp32", [*worker, "eager", arguments.model, as_drawn, arguments.threads]),
               Engine("pytorch-sorted", "fp32", [*worker, "eager", arguments.model, sorted_ones, arguments.threads])]
    if arguments.compile:
        engines.append(Engine("pytorch-sorted-compiled", "fp32",
                              [*worker, "compile", arguments.model, sorted_ones, arguments.threads]))
    return engines, sum(map(sum, batches))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the encoder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="windows of a step")
    parser.add_argument("--batches", type=int, default=6, help="steps of a turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each engine")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="without torch.compile")
    parser.add_argument("--work", type=Path, default=ROOT / "build/rivals/training")
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    arguments = parser.parse_args()
    arguments.isa = ""
    if not BINARY.exists():
        sys.exit(f"training.py: needs {BINARY.relative_to(ROOT)}: ./dev build release --target kvasir_training")
    arguments.work.mkdir(parents=True, exist_ok=True)
    machine = compare.describe_machine(arguments, compare.VERSIONS)
    report.print_machine(machine)
    try:
        engines, tokens = start(arguments)
    except NotStarted as name:
        sys.exit(f"training.py: {name} did not start; its words are above")
    rates, memory = {engine.name: [] for engine in engines}, {}
    for done in range(1, arguments.rounds + 1):
        for engine in engines:
            seconds, peak = engine.ask("run").split()
            rates[engine.name].append(tokens / float(seconds))
            memory[engine.name] = float(peak)
        print(f"round {done} of {arguments.rounds}: " + ", ".join(f"{n} {max(r):.0f}/s" for n, r in rates.items()),
              file=sys.stderr, flush=True)
    for engine in engines:
        engine.stop()
    own = rates["kvasir"]
    print(f"\n{arguments.model.name}, {arguments.batches} steps of {arguments.batch} windows, {tokens} useful tokens\n")
    report.table(["engine", "tokens/s, best", "median", "Kvasir / this", "by medians", "peak memory, MB"],
                 [[name, report.number(max(r), 0), report.number(statistics.median(r), 0),
                   *("-" if name == "kvasir" else report.number(f(own) / f(r)) for f in (max, statistics.median)),
                   report.number(memory[name], 0)] for name, r in rates.items()])
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine, "model": arguments.model.name, "tokens": tokens,
                                              "rates": rates, "memory": memory}, indent=1) + "\n")


if __name__ == "__main__":
    main()
