"""Kvasir and llama.cpp by turns, on one GGUF file: prompts, writing alone and for eight at once.

    language_model.py MODEL.gguf [--threads 2] [--rounds 3] [--json FIGURES]

Needs llama-cpp-python, built on this machine (pip install --no-binary llama-cpp-python llama-cpp-python), and build/release/kvasir.
Each round asks both; each figure is the best of all rounds, and only their ratios mean anything. Same tokens, same number of
threads; llama.cpp is called through its C API, a process of its own, with the greatest batches it takes at once and without sampling.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMPT, SHORT_PROMPT, NEW_TOKENS, SEQUENCES, RUNS = 512, 16, 64, 8, 3


class LlamaCpp:
    def __init__(self, path, threads):
        import llama_cpp
        import numpy
        self.api, self.numpy = llama_cpp, numpy
        # Kept: it would be collected, and llama.cpp would call what is no more.
        self.silence = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.silence, None)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = 2048
        options.n_batch = options.n_ubatch = PROMPT
        options.n_seq_max = SEQUENCES
        options.n_threads = options.n_threads_batch = threads
        options.kv_unified = True
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(PROMPT, 0, 1)
        self.random = numpy.random.default_rng(5)

    def decode(self, tokens):
        """tokens: (id, position, sequence, whether its logits are wanted)"""
        self.batch.n_tokens = len(tokens)
        for i, (token, position, sequence, wanted) in enumerate(tokens):
            self.batch.token[i], self.batch.pos[i], self.batch.logits[i] = token, position, wanted
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
        if self.api.llama_decode(self.context, self.batch) != 0:
            raise RuntimeError("llama_decode failed")

    def best_token(self, i):
        logits = self.api.llama_get_logits_ith(self.context, i)
        return int(self.numpy.ctypeslib.as_array(logits, (self.vocabulary,)).argmax())

    def clear(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def read(self, tokens):
        ids = self.random.integers(0, self.vocabulary, tokens)
        self.clear()
        start = time.perf_counter()
        self.decode([(int(id), i, 0, i + 1 == tokens) for i, id in enumerate(ids)])
        self.best_token(tokens - 1)
        return tokens / (time.perf_counter() - start)

    def write(self, sequences):
        self.clear()
        tokens = []
        for sequence in range(sequences):
            ids = self.random.integers(0, self.vocabulary, SHORT_PROMPT)
            self.decode([(int(id), i, sequence, i + 1 == SHORT_PROMPT) for i, id in enumerate(ids)])
            tokens.append(self.best_token(SHORT_PROMPT - 1))
        start = time.perf_counter()
        for step in range(NEW_TOKENS - 1):
            self.decode([(token, SHORT_PROMPT + step, sequence, True) for sequence, token in enumerate(tokens)])
            tokens = [self.best_token(sequence) for sequence in range(sequences)]
        return sequences * (NEW_TOKENS - 1) / (time.perf_counter() - start)

    def figures(self):
        best = lambda measure, argument: max(measure(argument) for _ in range(RUNS))
        return {"prompt": best(self.read, PROMPT), "write": best(self.write, 1), "write_batch": best(self.write, SEQUENCES)}


def serve(path, threads):
    engine = LlamaCpp(path, threads)
    for _ in sys.stdin:
        print(json.dumps(engine.figures()), flush=True)


class Rival:
    def __init__(self, path, threads):
        command = [sys.executable, __file__, path, "--threads", str(threads), "--serve"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def figures(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Ours:
    def __init__(self, path, threads):
        self.command = [ROOT / "build/release/kvasir", "bench", "--json", "--model", path, "--threads", str(threads)]

    def figures(self):
        output = subprocess.run(self.command, check=True, capture_output=True, text=True).stdout
        figures = {f"{figure['section']}, {figure['name']}": figure for figure in json.loads(output)["figures"]}
        one = figures["Language model, writing, 1 sequence"]
        first = [figure["value"] for name, figure in figures.items() if "time to the first token" in name]
        return {"prompt": figures[f"Language model, prompts, {PROMPT} tokens"]["value"], "write": one["value"],
                "write_batch": figures[f"Language model, writing, {SEQUENCES} sequences"]["value"],
                "bandwidth_share": one["share_of_ceiling"], "known_prefix": first[0] / first[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.model, arguments.threads)

    rival, ours = Rival(arguments.model, arguments.threads), Ours(arguments.model, arguments.threads)
    best = {"kvasir": {}, "llama.cpp": {}}
    for _ in range(arguments.rounds):
        for name, engine in (("llama.cpp", rival), ("kvasir", ours)):
            for key, value in engine.figures().items():
                best[name][key] = max(best[name].get(key, 0), value)
    rows = {"prompt": f"prompt of {PROMPT} tokens", "write": "writing, 1 sequence", "write_batch": f"writing, {SEQUENCES} sequences"}
    print(f"{'tokens/s':24}{'kvasir':>10}{'llama.cpp':>12}{'ratio':>8}")
    for key, name in rows.items():
        a, b = best["kvasir"][key], best["llama.cpp"][key]
        print(f"{name:24}{a:10.1f}{b:12.1f}{a / b:8.2f}")
    print(f"writing reads {best['kvasir']['bandwidth_share']:.0%} of the memory bandwidth; "
          f"the first token comes {best['kvasir']['known_prefix']:.0f} times sooner after 1000 known tokens")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"model": arguments.model, "threads": arguments.threads, **best}, indent=1) + "\n")


if __name__ == "__main__":
    main()
