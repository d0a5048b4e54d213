"""One rival of embedding.py in a process of its own, asked by turns (the protocol of bench/texts.cpp).

    python embedding_worker.py ENGINE embed|rerank MODEL_DIR TEXTS EXPORT_DIR THREADS

run OUT     some texts unmeasured, then all of them, tokenising included: vectors or logits into OUT, seconds as reply
"""

import json
import math
import os
import sys
import time
import warnings
from pathlib import Path

BATCH = 32
WARM_UP = 50  # texts, spread over all: that of bench/texts.cpp


class Texts:
    """A file of texts, or of pairs with a tab between, and the model's fast tokenizer."""

    def __init__(self, task, model, file):
        from tokenizers import Tokenizer

        lines = Path(file).read_text(encoding="utf-8").splitlines()
        self.all = [tuple(line.split("\t")) for line in lines] if task == "rerank" else lines
        self.tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
        self.tokenizer.no_padding()
        limit = Path(model) / "sentence_bert_config.json"
        if task == "embed" and limit.exists():
            self.tokenizer.enable_truncation(json.loads(limit.read_text())["max_seq_length"])
        else:
            self.tokenizer.no_truncation()

    def encode(self, texts):
        """All at once: the fast tokenizer works on all threads. Without offsets, which nobody needs."""
        return self.tokenizer.encode_batch_fast(texts)


def sentence_transformers(texts, task, model, threads):
    """encode() and predict() as its users call them: PyTorch, batches of 32; encode() sorts by length itself."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    if task == "embed":
        encoder = SentenceTransformer(model, device="cpu")
        return lambda some: encoder.encode(some, batch_size=BATCH, show_progress_bar=False)
    cross_encoder = CrossEncoder(model, device="cpu")
    return lambda some: cross_encoder.predict(some, batch_size=BATCH, show_progress_bar=False,
                                              activation_fn=torch.nn.Identity())


def in_batches(texts, task, start):
    """An engine of graphs, and around it what sentence-transformers does, for speed: sorted by length, vectorised NumPy.

    start(finish) returns infer(batches), which yields (chosen, finish(output, mask)) of each.
    """
    import numpy as np

    import squad

    def mean(hidden, mask):
        """Means over the tokens, of length 1."""
        sums = np.matmul(mask[:, None, :].astype(np.float32), hidden)[:, 0]
        return sums / np.linalg.norm(sums, axis=1, keepdims=True)

    infer = start(mean if task == "embed" else lambda logits, mask: logits[:, 0].copy())

    def work(some):
        results = [None] * len(some)
        size = math.ceil(len(some) / math.ceil(len(some) / BATCH))  # no small batch at the end
        batches = list(squad.batches(texts.encode(some), size, True))
        for chosen, rows in infer(reversed(batches)):  # the longest first, which leaves streams the least to wait for
            for row, i in enumerate(chosen):
                results[i] = rows[row]
        return np.array(results)

    return work


def onnxruntime(export, graph, threads):
    """A graph that ONNX Runtime's own optimiser fused (see prepare.py), all of its further optimisations on."""
    import onnxruntime as ort

    def start(finish):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = ort.InferenceSession(f"{export}/{graph}.onnx", options, providers=["CPUExecutionProvider"])
        wanted = {i.name for i in session.get_inputs()}

        def infer(batches):
            for chosen, ids, types, mask in batches:
                inputs = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
                yield chosen, finish(session.run(None, {n: x for n, x in inputs.items() if n in wanted})[0], mask)

        return infer

    return start


def openvino(export, graph, threads, kind="", precision="f32"):
    """Latency hint. kind "fixed": compiled for each shape. "streams": as many batches at once as threads.

    precision is that of what is not quantised; left alone, OpenVINO would choose bf16 where the processor has it.
    """
    import openvino as ov

    core, streams = ov.Core(), threads if kind == "streams" else 1
    hints = {"PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT", "INFERENCE_NUM_THREADS": threads,
             "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": precision}
    compiled, requests = {}, {}

    def model(shape):
        key = tuple(shape) if kind == "fixed" else None
        if key not in compiled:
            ov_model = core.read_model(f"{export}/{graph}")
            if key:
                ov_model.reshape({port: list(key) for port in ov_model.inputs})
            compiled[key] = core.compile_model(ov_model, "CPU", hints)
            if compiled[key].get_property("INFERENCE_PRECISION_HINT").get_type_name() != precision:
                sys.exit(f"embedding_worker.py: OpenVINO does not compute in {precision} here")
            requests[key] = compiled[key].create_infer_request()
        return key

    def inputs_of(key, ids, types, mask):
        inputs = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
        return {name: inputs[name] for port in compiled[key].inputs for name in port.names if name in inputs}

    def start(finish):
        def one_by_one(batches):
            for chosen, *arrays in batches:
                key = model(arrays[0].shape)
                output = requests[key].infer(inputs_of(key, *arrays), share_inputs=True, share_outputs=True)
                yield chosen, finish(output[0], arrays[2])

        def in_streams(batches):
            key, results = model(()), []
            queue = ov.AsyncInferQueue(compiled[key], streams)
            queue.set_callback(lambda request, job: results.append(
                (job[0], finish(request.get_output_tensor(0).data, job[1]))))
            for chosen, *arrays in batches:
                queue.start_async(inputs_of(key, *arrays), (chosen, arrays[2]))
            queue.wait_all()
            return results

        return in_streams if streams > 1 else one_by_one

    return start


def ctranslate2(export, compute_type, threads, task):
    """The encoder with all threads on one batch. It leaves padding out of its products itself, told the lengths."""
    import ctranslate2 as ct2
    import numpy as np

    encoder = ct2.Encoder(f"{export}/ctranslate2", device="cpu", compute_type=compute_type, inter_threads=1,
                          intra_threads=threads)
    head = np.load(f"{export}/head.npz") if task == "rerank" else None

    def start(finish):
        def infer(batches):
            for chosen, ids, types, mask in batches:
                output = encoder.forward_batch(ct2.StorageView.from_array(np.ascontiguousarray(ids, np.int32)),
                                               ct2.StorageView.from_array(mask.sum(axis=1, dtype=np.int32)), types.tolist())
                if head is None:
                    yield chosen, finish(np.asarray(output.last_hidden_state), mask)
                else:
                    yield chosen, finish(np.asarray(output.pooler_output) @ head["weight"].T + head["bias"], mask)

        return infer

    return start


def make_engine(name, texts, task, model, export, threads):
    """name: ENGINE[-KIND][-int8[-channel]][-bf16], as in contenders.py."""
    if name == "sentence-transformers":
        return sentence_transformers(texts, task, model, threads)
    engine, *words = name.split("-")
    graphs = f"{export}/{'masked' if task == 'embed' else 'full'}"
    if engine == "onnxruntime":
        start = onnxruntime(graphs, "-".join(words), threads)
    elif engine == "openvino":
        start = openvino(graphs, "int8.xml" if "int8" in words else "plain.onnx", threads,
                         next((word for word in words if word in ("fixed", "streams")), ""), "bf16" if "bf16" in words else "f32")
    elif engine == "ctranslate2":
        start = ctranslate2(export, "int8_float32" if "int8" in words else "float32", threads, task)
    else:
        sys.exit(f"embedding_worker.py: no engine {name}")
    return in_batches(texts, task, start)


def main():
    warnings.filterwarnings("ignore")
    name, task, model, file, export, threads = sys.argv[1:]
    os.environ.update(RAYON_NUM_THREADS=threads, OMP_NUM_THREADS=threads, TOKENIZERS_PARALLELISM="true",
                      TRANSFORMERS_OFFLINE="1", HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    import numpy as np  # after the environment that it reads

    texts = Texts(task, model, file)
    work = make_engine(name, texts, task, model, export, int(threads))
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print does not belong in the protocol
    print(f"ready {name}", file=answers, flush=True)
    for line in sys.stdin:
        work(texts.all[::max(1, len(texts.all) // WARM_UP)])
        begin = time.perf_counter()
        numbers = work(texts.all)
        seconds = time.perf_counter() - begin
        np.asarray(numbers, np.float32).tofile(line.split(maxsplit=1)[1].strip())
        print(f"{seconds:.6f}", file=answers, flush=True)


if __name__ == "__main__":
    main()
