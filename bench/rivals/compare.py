"""Measures Kvasir and its rivals by turns and prints tables of ratios. Started by ./run; see README.md.

A round asks every engine for every shape once; the figure of a cell is the best of all rounds (and the median beside it),
and ratios compare figures of the same run and the same precision only.
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

import prepare
import report
from contenders import (HERE, LATENCY, PRECISIONS, RIVALS, ROOT, SQUAD, NotStarted, cpu_field, cpu_flags, kvasir_name,
                        start_kvasir, start_rivals, with_precision)

SHIPPED = ROOT / "models/kvasir-base"  # in int8
VERSIONS = ("torch", "onnxruntime", "openvino", "nncf", "ctranslate2", "transformers", "tokenizers")
SHAPES = ["1x32", "1x128", "1x384", "8x128", "8x384"]
TURN_MS = 60  # a turn repeats short passes until it has lasted about so long
FEW = 200  # a part of so many is about thirty questions
SAME_FP32 = 2e-3  # largest difference of logits in fp32, as a share of the largest logit, before a run stops


def describe_machine(arguments, names=VERSIONS):
    return {
        "processor": f"{cpu_field('model name')} (family {cpu_field('cpu family')}, model {cpu_field('model')})",
        "cores": len(os.sched_getaffinity(0)), "flags": cpu_flags(), "system": f"{platform.system()} {platform.release()}",
        "versions": {name: metadata.version(name) for name in names}, "python": platform.python_version(),
        "threads": arguments.threads, "isa": arguments.isa, "load_at_start": round(os.getloadavg()[0], 1),
    }


def environment_of_ours(arguments):
    return {**os.environ, **({"KVASIR_ISA": arguments.isa} if arguments.isa else {})}


def measure_ceilings(arguments):
    """Multiply-adds per second of register-only loops, by precision: what `kvasir bench` calls a ceiling."""
    output = subprocess.run([ROOT / "build/release/kvasir", "bench", "--json", "--threads", str(arguments.threads)],
                            env=environment_of_ours(arguments), check=True, capture_output=True, text=True).stdout
    ceilings = {}
    for figure in json.loads(output)["figures"]:
        name = f"{figure['section']} {figure['name']}".lower()
        if "ceiling" not in name or figure["unit"] != "GMAC/s":
            continue
        precision = "int8" if "int8" in name or "vnni" in name else "bf16" if "bf16" in name else "fp32"
        ceilings[precision] = max(ceilings.get(precision, 0), figure["value"] * 1e9)
    return ceilings


def multiply_adds(model, batch, tokens):
    config = json.loads((model / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    per_token = config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * inner + 2 * tokens * hidden) + 2 * hidden
    return batch * tokens * per_token


def prepared(arguments, name, work):
    """(model folder, exported graphs) of a model, made on first use."""
    model = arguments.reader or work / "kvasir-base" if name == "kvasir-base" else work / name
    if name == "kvasir-base" and not (model / "config.json").exists():
        prepare.as_floats(SHIPPED, model)
    steps = [sys.executable, str(HERE / "prepare.py")]
    if not (model / "config.json").exists():
        subprocess.run([*steps, "--bert-base", str(model)], check=True)
    graphs = work / f"{name}-graphs"
    if not prepare.is_complete(graphs):
        print(f"exporting and quantising {name} for the rivals, some minutes", file=sys.stderr, flush=True)
        subprocess.run([*steps, str(model), str(graphs)], check=True, stdout=subprocess.DEVNULL)
    return model, graphs


def our_folders(arguments, name, model):
    """Where ours reads its weights, by precision: int8 may have a folder that `kvasir quantize` wrote."""
    quantised = arguments.reader_int8 if name == "kvasir-base" else arguments.bert_base_int8
    return {precision: quantised if precision == "int8" and quantised else model for precision in PRECISIONS}


def measure_shape(engines, shape, rounds):
    """All times of each engine, and the largest difference of its logits from those of fp32, as a share."""
    times, differences, expected = {e.name: [] for e in engines}, {e.name: 0.0 for e in engines}, None
    for _ in range(rounds):
        for engine in engines:
            known = times[engine.name]
            measured, logits = engine.run(*shape, 1 if not known else max(1, min(20, math.ceil(TURN_MS / min(known)))))
            known += measured
            expected = expected or logits  # the first engine's, which computes in fp32 where any does
            difference = max(abs(a - b) for a, b in zip(logits, expected, strict=True)) / max(1, *map(abs, expected))
            differences[engine.name] = max(differences[engine.name], difference)
            if engine.precision == engines[0].precision == "fp32" and difference > SAME_FP32:
                sys.exit(f"compare.py: {engine.name} computes something else at {shape}: differs by {difference:.4f}")
    return times, differences


def measure_latency(arguments, name, work, ceilings):
    model, graphs = prepared(arguments, name, work)
    for precision, rate in measure_ceilings(arguments).items():
        ceilings[precision] = max(ceilings.get(precision, 0), rate)
    ours = start_kvasir(arguments, our_folders(arguments, name, model))
    engines = ours + start_rivals(arguments, model, graphs, LATENCY)
    engines.sort(key=lambda e: PRECISIONS.index(e.precision))
    cells = []
    for shape in arguments.shapes:
        batch, tokens = map(int, shape.split("x"))
        times, differences = measure_shape(engines, (batch, tokens), arguments.rounds)
        cells.append({"model": name, "batch": batch, "tokens": tokens, "multiply_adds": multiply_adds(model, batch, tokens),
                      "engines": {e.name: {"precision": e.precision, "ms": min(times[e.name]),
                                           "median_ms": statistics.median(times[e.name]),
                                           "logit_difference": differences[e.name]} for e in engines}})
        print(f"{name} {shape}: " + ", ".join(f"{e} {min(t):.2f}" for e, t in times.items()), file=sys.stderr, flush=True)
    for engine in engines:
        engine.stop()
    return cells


def kvasir_squad(arguments, model, file, precision):
    def start(option):
        run = subprocess.run([ROOT / "build/release/kvasir", "eval", "squad", "--model", model, "--data", file, "--decode",
                              "squad", "--threads", str(arguments.threads), "--json", *option],
                             env=environment_of_ours(arguments), capture_output=True, text=True)
        if run.returncode != 0:
            raise NotStarted(run.stderr.strip().splitlines()[0] if run.stderr.strip() else "no word of why")
        return json.loads(run.stdout)

    result = with_precision(start, precision)
    return result["seconds"], result["questions"], result["f1"]


def write_part(file, part, parts, out):
    """The same paragraphs that a worker takes, as a file of its own for us."""
    data = json.load(open(file, encoding="utf-8"))
    paragraphs = [p for article in data["data"] for p in article["paragraphs"]][part::parts]
    out.write_text(json.dumps({"version": data["version"], "data": [{"title": "part", "paragraphs": paragraphs}]}))


def our_precisions(arguments, folders, file, work):
    """The precisions that our program answers in."""
    few, can = work / "few.json", []
    write_part(file, 0, FEW, few)
    for precision in arguments.precisions:
        try:
            kvasir_squad(arguments, folders[precision], few, precision)
            can.append(precision)
        except NotStarted as refusal:
            print(f"compare.py: without kvasir in {precision}: {refusal}", file=sys.stderr, flush=True)
    return can


def measure_squad(arguments, work):
    """The file is cut into parts; each engine does a part in its turn, so noise falls on all of them alike."""
    model, graphs = prepared(arguments, "kvasir-base", work)
    folders, file = our_folders(arguments, "kvasir-base", model), Path(arguments.data)
    ours = our_precisions(arguments, folders, file, work)
    rivals = start_rivals(arguments, model, graphs, SQUAD)
    for engine in rivals:  # warm: one or two batches
        engine.ask(f"squad {file} 0 {FEW} 32 sorted")
    totals = {}

    def add(name, precision, order, seconds, questions, f1):
        total = totals.setdefault((name, order), {"engine": name, "precision": precision, "order": order, "seconds": 0.0,
                                                  "questions": 0, "f1": 0.0})
        total["seconds"] += float(seconds)
        total["f1"] = (total["f1"] * total["questions"] + float(f1) * int(questions)) / (total["questions"] + int(questions))
        total["questions"] += int(questions)

    for part in range(arguments.squad_parts)[:arguments.squad_limit]:
        own_file = work / "part.json"
        write_part(file, part, arguments.squad_parts, own_file)
        for precision in ours:
            add(kvasir_name(precision), precision, "any", *kvasir_squad(arguments, folders[precision], own_file, precision))
        for order in ("sorted", "file"):
            for engine in rivals:
                reply = engine.ask(f"squad {file} {part} {arguments.squad_parts} 32 {order}")
                add(engine.name, engine.precision, order, *reply.split())
        print(f"part {part + 1} of {arguments.squad_parts}: " + ", ".join(
            f"{name} {order} {t['questions'] / t['seconds']:.1f}/s" for (name, order), t in totals.items()),
            file=sys.stderr, flush=True)
    for engine in rivals:
        engine.stop()
    return [{**total, "questions_per_second": total["questions"] / total["seconds"]} for total in totals.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each engine for each shape")
    parser.add_argument("--isa", default="", help="instruction set of ours, and of the rivals that can be told")
    parser.add_argument("--only", choices=["latency", "squad"])
    parser.add_argument("--models", nargs="+", default=["kvasir-base", "bert-base"], choices=["kvasir-base", "bert-base"])
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="BATCHxTOKENS, full sequences")
    parser.add_argument("--rivals", nargs="+", default=RIVALS, choices=RIVALS)
    parser.add_argument("--compile", action="store_true", help="also try torch.compile (slow to start)")
    parser.add_argument("--reader", type=Path, help="the reader, as floats (default: the shipped one's bytes times scales)")
    parser.add_argument("--reader-int8", type=Path, default=SHIPPED, help="folder of the reader that ours reads in int8")
    parser.add_argument("--bert-base-int8", type=Path, help="the same of the random model")
    parser.add_argument("--data", default=str(ROOT / "tests/data/squad/dev-v2.0-half.json"))
    parser.add_argument("--squad-parts", type=int, default=4, help="parts into which the questions are cut")
    parser.add_argument("--squad-limit", type=int, default=None, help="only so many of the parts")
    parser.add_argument("--work", default=str(ROOT / "build/rivals"), help="where the random model and the graphs are kept")
    parser.add_argument("--json", type=Path, help="file to write all figures to, for report.py and plot.py")
    arguments = parser.parse_args()
    if arguments.compile:
        LATENCY["fp32"]["PyTorch"].append("pytorch-compiled")
    arguments.precisions = [p for p in PRECISIONS if p in arguments.precisions]
    work = Path(arguments.work)
    work.mkdir(parents=True, exist_ok=True)

    figures = {"machine": describe_machine(arguments), "rounds": arguments.rounds, "ceilings": {}, "latency": [], "squad": []}

    def keep():
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=1) + "\n")

    report.print_machine(figures["machine"])
    for name in arguments.models if arguments.only != "squad" else []:
        figures["latency"] += measure_latency(arguments, name, work, figures["ceilings"])
        keep()
        report.print_latency(figures, name)
    if arguments.only != "latency":
        figures["squad"] = measure_squad(arguments, work)
        keep()
        report.print_squad(figures)


if __name__ == "__main__":
    main()
