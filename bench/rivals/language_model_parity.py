"""Whether Kvasir and llama.cpp find the same tokens probable, on one GGUF file.

    language_model_parity.py MODEL.gguf [--prompts 20] [--new-tokens 64]

Of the first questions of tests/data/squad/dev-v2.0-half.json, llama.cpp writes what it takes for the most probable answer, and both
are asked for the logits at each place of it: how often they have the same best token, and how far llama.cpp's best is ahead where they
have not. Then the perplexity of 20 KB of that file's text, 512 tokens at a time. Needs llama-cpp-python and build/release/kvasir.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import llama_cpp
import numpy

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests/data/squad/dev-v2.0-half.json"
TEXT_BYTES, PIECE = 20 * 1024, 512


def read_tensors(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {name: numpy.frombuffer(data, numpy.float32, numpy.prod(t["shape"], dtype=int), start + t["data_offsets"][0]).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__"}


def kvasir_logits(model, sequences):
    with tempfile.TemporaryDirectory() as folder:
        ids, out = Path(folder) / "ids.json", Path(folder) / "logits.safetensors"
        ids.write_text(json.dumps({"sequences": [{"input_ids": s} for s in sequences]}))
        subprocess.run([ROOT / "build/release/kvasir", "logits", "--model", model, "--ids", ids, "--out", out], check=True)
        tensors = read_tensors(out)
    return [tensors[f"logits.{i}"] for i in range(len(sequences))]


def llama_logits(llama, ids):
    llama.reset()
    llama.eval(ids)
    return llama.scores[:len(ids)].astype(numpy.float64)


def compare_tokens(llama, model, prompts, new_tokens):
    sequences, starts = [], []
    for prompt in prompts:
        ids = llama.tokenize(prompt.encode(), add_bos=True, special=False)
        starts.append(len(ids) - 1)
        llama.reset()
        llama.eval(ids)
        for _ in range(new_tokens - 1):
            ids.append(int(llama.scores[llama.n_tokens - 1].argmax()))
            llama.eval(ids[-1:])
        sequences.append(ids)
    places, margins = 0, []
    for ids, start, ours in zip(sequences, starts, kvasir_logits(model, sequences)):
        for a, b in zip(ours[start:], llama_logits(llama, ids)[start:]):
            places += 1
            if a.argmax() != b.argmax():
                margins.append(b.max() - b[a.argmax()])
    print(f"the same best token at {places - len(margins)} of {places} places; "
          f"at the others llama.cpp's is ahead by at most {max(margins, default=0):.3f}")


def loss(logits, ids):
    x = logits[:len(ids) - 1].astype(numpy.float64)
    x = x - x.max(axis=1, keepdims=True)
    return float((numpy.log(numpy.exp(x).sum(axis=1)) - x[numpy.arange(len(ids) - 1), ids[1:]]).sum())


def compare_perplexity(llama, model, text):
    ids = llama.tokenize(text.encode(), add_bos=False, special=False)
    pieces = [ids[i:i + PIECE] for i in range(0, len(ids), PIECE) if i + 1 < len(ids)]
    count = sum(len(piece) - 1 for piece in pieces)
    theirs = numpy.exp(sum(loss(llama_logits(llama, piece), piece) for piece in pieces) / count)
    ours = numpy.exp(sum(map(loss, kvasir_logits(model, pieces), pieces)) / count)
    print(f"perplexity of {len(text.encode())} bytes: kvasir {ours:.3f}, llama.cpp {theirs:.3f} ({ours / theirs - 1:+.2%})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--new-tokens", type=int, default=64)
    arguments = parser.parse_args()
    paragraphs = [p for article in json.loads(DATA.read_text())["data"] for p in article["paragraphs"]]
    questions = [f"Question: {qa['question']}\nAnswer:" for p in paragraphs for qa in p["qas"]][:arguments.prompts]
    text = "\n\n".join(p["context"] for p in paragraphs).encode()[:TEXT_BYTES].decode(errors="ignore")
    llama = llama_cpp.Llama(arguments.model, n_ctx=1024, n_threads=2, logits_all=True, verbose=False)
    compare_tokens(llama, arguments.model, questions, arguments.new_tokens)
    compare_perplexity(llama, arguments.model, text)


if __name__ == "__main__":
    main()
