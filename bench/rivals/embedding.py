"""Kvasir and its rivals by turns: texts made into vectors by a sentence model, and passages scored by a cross-encoder.

    embedding.py --model DIR [--threads 2] [--rounds 5] [--only embed|rerank] [--json FIGURES]

DIR is a folder in the layout of sentence-transformers of BERT's family that takes the mean of all tokens, such as
all-MiniLM-L6-v2. Needs the packages of requirements.txt and build/release/bench/kvasir_texts (./dev build release --target
kvasir_texts). The first run exports and quantises the model for the rivals, some minutes; build/rivals/embedding keeps it.

2000 passages, questions and sentences of SQuAD, 10 to 250 words in mixed order, become vectors; then 100 passages are scored
for one question, 128 tokens a pair, by the same model under a random head. Each round asks every engine for all of them,
tokenising included, each a process of its own with its model loaded. Only ratios within one run mean anything.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
from pathlib import Path

import compare
import embedding_prepare
import report
from contenders import HERE, ROOT, SQUAD, Engine, NotStarted, environment_of_rivals, has_bf16, kvasir_name

PRECISIONS = ["fp32", "int8"]
REFERENCE = "sentence-transformers"  # in fp32
DATA = ROOT / "tests/data/squad/dev-v2.0-half.json"
BINARY = ROOT / "build/release/bench/kvasir_texts"
SHORTEST, LONGEST = 10, 250  # words
PAIR_TOKENS = 128
SAME_COSINE = 0.99999  # least cosine in fp32 before a run stops

# Those that answer SQuAD, sentence-transformers in place of its PyTorch; for pairs of one length also the fixed shapes.
EMBED = {precision: [variant.replace("pytorch", REFERENCE) for variants in SQUAD[precision].values() for variant in variants]
         for precision in PRECISIONS}
RERANK = {
    "fp32": [*EMBED["fp32"], "onnxruntime-mha", "openvino-fixed"],
    "int8": [*EMBED["int8"], "onnxruntime-mha-int8", "onnxruntime-mha-int8-channel", "openvino-fixed-int8",
             "openvino-fixed-int8-bf16"],
}
TASKS = {"embed": EMBED, "rerank": RERANK}


def in_one_line(text):
    return " ".join(text.split())


def contexts_and_questions():
    paragraphs = [p for article in json.loads(DATA.read_text(encoding="utf-8"))["data"] for p in article["paragraphs"]]
    return [in_one_line(p["context"]) for p in paragraphs], [in_one_line(qa["question"]) for p in paragraphs for qa in p["qas"]]


def mixed_texts(count):
    """Questions, sentences, runs of sentences and whole passages, a quarter each, none twice; the same whenever asked."""
    chance = random.Random(1)
    contexts, questions = contexts_and_questions()
    by_context = [re.split(r"(?<=[.!?]) ", context) for context in contexts]
    runs = [" ".join(sentences[begin:begin + chance.randint(2, 5)]) for sentences in by_context for begin in range(len(sentences))]
    texts = []
    for i, kind in enumerate((questions, [s for sentences in by_context for s in sentences], runs, contexts)):
        fit = sorted({text for text in kind if SHORTEST <= len(text.split()) <= LONGEST} - set(texts))
        wanted = (count + i) // 4
        if wanted > len(fit):
            sys.exit(f"embedding.py: --texts {count} is more than {DATA.name} has")
        texts += chance.sample(fit, wanted)
    chance.shuffle(texts)
    return texts


def equal_pairs(count, model):
    """A question and a passage that are just PAIR_TOKENS long together, so that nobody pads or cuts; the same question for all."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    contexts, questions = contexts_and_questions()
    query, pairs = questions[0], []
    for context in random.Random(2).sample(contexts, len(contexts)):
        encoding = tokenizer.encode(query, context)
        if len(encoding.ids) < PAIR_TOKENS or len(pairs) == count:
            continue
        passage = context[:encoding.offsets[PAIR_TOKENS - 2][1]]  # the last token is [SEP]
        if len(tokenizer.encode(query, passage).ids) == PAIR_TOKENS:
            pairs.append(f"{query}\t{passage}")
    if len(pairs) < count:
        sys.exit(f"embedding.py: --passages {count} is more than {DATA.name} has")
    return pairs


def check_model(model):
    def read(name):
        file = model / name
        return json.loads(file.read_text()) if file.exists() else {}

    kind, pooling = read("config.json").get("model_type"), read("1_Pooling/config.json")
    modes = [mode for mode, on in pooling.items() if mode.startswith("pooling_mode") and on is True]
    if kind != "bert" or modes != ["pooling_mode_mean_tokens"]:
        sys.exit(f"embedding.py: {model} is {kind} with {modes or 'no pooling'}; this compares BERT with the mean of all tokens")


def prepared(arguments, task):
    """(model folder, file of texts, exported graphs), made on first use."""
    def prepare(*words):
        subprocess.run([sys.executable, HERE / "embedding_prepare.py", *words], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "TRANSFORMERS_VERBOSITY": "error"})

    model = arguments.model
    lines = mixed_texts(arguments.texts) if task == "embed" else equal_pairs(arguments.passages, model)
    texts, graphs = arguments.work / f"{task}-{len(lines)}.txt", arguments.work / f"{task}-{len(lines)}-graphs"
    texts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if task == "rerank":
        model = arguments.work / "cross-encoder"
        prepare("cross-encoder", arguments.model, model)
    if not embedding_prepare.is_complete(model, texts, graphs):
        print(f"exporting and quantising for the rivals, {task}", file=sys.stderr, flush=True)
        prepare(task, model, texts, graphs)
    return model, texts, graphs


def start_engines(arguments, task, model, texts, graphs):
    environment, engines = environment_of_rivals(arguments.isa), []
    isa = [arguments.isa] if arguments.isa else []
    try:
        for precision in PRECISIONS:
            engines.append(Engine(kvasir_name(precision), precision, [BINARY, task, model, texts, arguments.threads, *isa,
                                                                      "--precision", precision]))
            for name in TASKS[task][precision]:
                if "bf16" not in name or has_bf16(arguments.isa):
                    engines.append(Engine(name, precision, [sys.executable, HERE / "embedding_worker.py", name, task, model, texts,
                                                            graphs, arguments.threads], environment))
    except NotStarted as name:
        sys.exit(f"embedding.py: {name} did not start; its words are above")
    return engines


def cosines(numbers, reference):
    """(mean, worst) over the texts."""
    import numpy as np

    a, b = numbers.astype(np.float64), reference.astype(np.float64)
    all_of_them = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(all_of_them.mean()), float(all_of_them.min())


def compare_numbers(engine, task, numbers, reference):
    """How far vectors or logits are from those of sentence-transformers in fp32."""
    if task == "embed":
        mean, worst = cosines(numbers, reference)
        quality, is_same = {"mean_cosine": mean, "worst_cosine": worst}, worst > SAME_COSINE
    else:
        difference = float(abs(numbers - reference).max())
        quality, is_same = {"logit_difference": difference}, difference < compare.SAME_FP32 * max(1, abs(reference).max())
    if engine.precision == "fp32" and not is_same:
        sys.exit(f"embedding.py: {engine.name} computes something else: {quality}")
    return quality


def measure(arguments, task):
    import numpy as np

    model, texts, graphs = prepared(arguments, task)
    count, engines = len(texts.read_text(encoding="utf-8").splitlines()), start_engines(arguments, task, model, texts, graphs)
    seconds, numbers = {e.name: [] for e in engines}, {}
    out = arguments.work / "numbers.f32"
    for done in range(1, arguments.rounds + 1):
        for engine in engines:
            seconds[engine.name].append(float(engine.ask(f"run {out}")))
            numbers[engine.name] = np.fromfile(out, np.float32).reshape(count, -1)
        print(f"{task}, round {done} of {arguments.rounds}: " + ", ".join(
            f"{name} {count / min(times):.1f}/s" for name, times in seconds.items()), file=sys.stderr, flush=True)
    reference, figures = numbers[REFERENCE], {}
    for engine in engines:
        engine.stop()
        times = seconds[engine.name]
        figures[engine.name] = {"precision": engine.precision, "best": count / min(times),
                                "median": count / statistics.median(times),
                                **compare_numbers(engine, task, numbers[engine.name], reference)}
    return {"count": count, "engines": figures,
            **({"logits": [float(reference.min()), float(reference.max())]} if task == "rerank" else {})}


def print_table(task, measured):
    engines = measured["engines"]
    quality = {"mean_cosine": "{:.6f}", "worst_cosine": "{:.6f}"} if task == "embed" else {"logit_difference": "{:.2g}"}
    what = "texts" if task == "embed" else "passages"
    print(f"\n{measured['count']} {what}, tokenising included: {what}/s" + (
        "" if task == "embed" else "; logits from {:.2f} to {:.2f}".format(*measured["logits"])) + "\n")
    rows = []
    for precision in PRECISIONS:
        own = engines[kvasir_name(precision)]
        names = [name for name, figure in engines.items() if figure["precision"] == precision]
        if REFERENCE not in names:
            names.append(REFERENCE)  # what its users have, whatever ours computes in
        for name in names:
            figure, is_ours = engines[name], engines[name] is own
            rows.append([precision, name, report.number(figure["best"], 1), report.number(figure["median"], 1),
                         *("-" if is_ours else report.number(own[key] / figure[key]) for key in ("best", "median")),
                         *(form.format(figure[key]) for key, form in quality.items())])
    report.table(["precision", "engine", "best", "median", "Kvasir / this", "by medians",
                  *(key.replace("_", " ") for key in quality)], rows)
    for precision in PRECISIONS:
        own = engines[kvasir_name(precision)]
        rivals = {n: f for n, f in engines.items() if f["precision"] == precision and f is not own}
        best = max(rivals, key=lambda n: rivals[n]["best"])
        median = max(figure["median"] for figure in rivals.values())
        users = engines[REFERENCE]
        print(f"{precision}: Kvasir / best rival ({best}) {own['best'] / rivals[best]['best']:.2f}, by medians "
              f"{own['median'] / median:.2f}; Kvasir / {REFERENCE} (fp32) {own['best'] / users['best']:.2f}, by medians "
              f"{own['median'] / users['median']:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the sentence model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    parser.add_argument("--only", choices=list(TASKS))
    parser.add_argument("--texts", type=int, default=2000, help="texts that become vectors")
    parser.add_argument("--passages", type=int, default=100, help="passages that are scored")
    parser.add_argument("--isa", default="", help="instruction set of ours, and of the rivals that can be told")
    parser.add_argument("--work", type=Path, default=ROOT / "build/rivals/embedding", help="where what is prepared is kept")
    parser.add_argument("--json", type=Path, help="file to write all figures to")
    arguments = parser.parse_args()
    check_model(arguments.model)
    if not BINARY.exists():
        sys.exit(f"embedding.py: needs {BINARY.relative_to(ROOT)}: ./dev build release --target kvasir_texts")
    arguments.work.mkdir(parents=True, exist_ok=True)
    machine = compare.describe_machine(arguments, (*compare.VERSIONS, "sentence-transformers"))
    figures = {"machine": machine, "model": arguments.model.name, "rounds": arguments.rounds}
    report.print_machine(machine)
    for task in [arguments.only] if arguments.only else TASKS:
        figures[task] = measure(arguments, task)
        print_table(task, figures[task])
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
