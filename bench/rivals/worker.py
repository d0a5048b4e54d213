"""One rival in a process of its own, asked by turns through standard input (the protocol of bench/latency.cpp).

    python worker.py ENGINE MODEL_DIR EXPORT_DIR THREADS

run BATCH TOKENS REPEATS            one unmeasured pass, then REPEATS measured: milliseconds, then the last sequence's logits
squad FILE PART PARTS BATCH sorted|file   the whole of a SQuAD file (or every PARTS-th paragraph): seconds, questions, F1
"""

import os
import sys
import time
import warnings

warnings.filterwarnings("ignore")
ENGINE, MODEL, EXPORT, THREADS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
os.environ.update(RAYON_NUM_THREADS=str(THREADS), OMP_NUM_THREADS=str(THREADS), TOKENIZERS_PARALLELISM="true",
                  TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")

import numpy as np  # noqa: E402  (after the environment that it reads)


def pytorch(dtype="float32", compiled=False):
    """inference_mode, scaled-dot-product attention, one pool of threads; None as mask where nothing is padded."""
    import torch
    from transformers import BertForQuestionAnswering

    torch.set_num_threads(THREADS)
    torch.set_num_interop_threads(1)
    model = BertForQuestionAnswering.from_pretrained(MODEL, dtype=getattr(torch, dtype), attn_implementation="sdpa").eval()
    if compiled:
        import torch._inductor.config
        torch._inductor.config.freezing = True
        model = torch.compile(model)

    def forward(ids, types, mask):
        with torch.inference_mode():
            output = model(input_ids=torch.from_numpy(ids), token_type_ids=torch.from_numpy(types),
                           attention_mask=None if mask is None else torch.from_numpy(mask))
            return output.start_logits.float().numpy(), output.end_logits.float().numpy()

    return forward, None


def onnxruntime(graph):
    """A graph that ONNX Runtime's own optimiser fused (see prepare.py), all of its further optimisations on."""
    import onnxruntime as ort

    sessions = {}

    def session(kind):
        if kind not in sessions:
            options = ort.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
            options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
            sessions[kind] = ort.InferenceSession(f"{EXPORT}/{kind}/{graph}.onnx", options,
                                                  providers=["CPUExecutionProvider"])
        return sessions[kind]

    def forward(ids, types, mask):
        if mask is None:
            return session("full").run(None, {"input_ids": ids, "token_type_ids": types})
        return session("masked").run(None, {"input_ids": ids, "token_type_ids": types, "attention_mask": mask})

    return forward, None


def openvino(fixed_shapes=False, streams=1, graph="plain.onnx", precision="f32"):
    """Latency hint. fixed_shapes: compiled anew for each shape. streams > 1: so many batches at once.

    precision is that of what is not quantised; left alone, OpenVINO would choose bf16 where the processor has it.
    """
    import openvino as ov

    core = ov.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT", "INFERENCE_NUM_THREADS": THREADS,
             "NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": precision}
    compiled, requests = {}, {}

    def model(kind, shape):
        key = (kind, tuple(shape) if fixed_shapes else None)
        if key not in compiled:
            if fixed_shapes:  # one at a time: each has packed weights of its own
                compiled.clear()
                requests.clear()
            ov_model = core.read_model(f"{EXPORT}/{kind}/{graph}")
            if fixed_shapes:
                ov_model.reshape({port: list(shape) for port in ov_model.inputs})
            compiled[key] = core.compile_model(ov_model, "CPU", hints)
            if compiled[key].get_property("INFERENCE_PRECISION_HINT").get_type_name() != precision:
                sys.exit(f"worker.py: OpenVINO does not compute in {precision} here")
            requests[key] = compiled[key].create_infer_request()
        return key

    def forward(ids, types, mask):
        request = requests[model("full" if mask is None else "masked", ids.shape)]
        inputs = {"input_ids": ids, "token_type_ids": types} | ({} if mask is None else {"attention_mask": mask})
        output = request.infer(inputs, share_inputs=True)
        return output[0], output[1]

    def in_streams(batches):
        queue = ov.AsyncInferQueue(compiled[model("masked", ())], streams)
        results = []
        queue.set_callback(lambda request, chosen: results.append(
            (chosen, request.get_output_tensor(0).data.copy(), request.get_output_tensor(1).data.copy())))
        for chosen, ids, types, mask in batches:
            queue.start_async({"input_ids": ids, "token_type_ids": types, "attention_mask": mask}, chosen)
        queue.wait_all()
        return results

    return forward, in_streams if streams > 1 else None


def ctranslate2(compute_type):
    """The encoder with all threads on one batch. It leaves padding out of its products itself, told the lengths."""
    import ctranslate2 as ct2

    encoder = ct2.Encoder(f"{EXPORT}/ctranslate2", device="cpu", compute_type=compute_type, inter_threads=1,
                          intra_threads=THREADS)
    head = np.load(f"{EXPORT}/head.npz")
    weight, bias = np.ascontiguousarray(head["weight"].T), head["bias"]

    def forward(ids, types, mask):
        lengths = np.full(len(ids), ids.shape[1], np.int32) if mask is None else mask.sum(axis=1, dtype=np.int32)
        output = encoder.forward_batch(ct2.StorageView.from_array(np.ascontiguousarray(ids, np.int32)),
                                       ct2.StorageView.from_array(lengths), types.tolist())
        logits = np.asarray(output.last_hidden_state) @ weight + bias
        return logits[..., 0], logits[..., 1]

    return forward, None


ENGINES = {
    "pytorch": lambda: pytorch(),
    "pytorch-compiled": lambda: pytorch(compiled=True),
    "pytorch-bf16": lambda: pytorch("bfloat16"),
    "onnxruntime-attention": lambda: onnxruntime("attention"),
    "onnxruntime-mha": lambda: onnxruntime("mha"),
    "onnxruntime-attention-int8": lambda: onnxruntime("attention-int8"),
    "onnxruntime-attention-int8-channel": lambda: onnxruntime("attention-int8-channel"),
    "onnxruntime-mha-int8": lambda: onnxruntime("mha-int8"),
    "onnxruntime-mha-int8-channel": lambda: onnxruntime("mha-int8-channel"),
    "openvino": lambda: openvino(),
    "openvino-fixed": lambda: openvino(fixed_shapes=True),
    "openvino-streams": lambda: openvino(streams=THREADS),
    "openvino-bf16": lambda: openvino(precision="bf16"),
    "openvino-fixed-bf16": lambda: openvino(precision="bf16", fixed_shapes=True),
    "openvino-streams-bf16": lambda: openvino(precision="bf16", streams=THREADS),
    "openvino-int8": lambda: openvino(graph="int8.xml"),
    "openvino-fixed-int8": lambda: openvino(graph="int8.xml", fixed_shapes=True),
    "openvino-streams-int8": lambda: openvino(graph="int8.xml", streams=THREADS),
    "openvino-int8-bf16": lambda: openvino(graph="int8.xml", precision="bf16"),
    "openvino-fixed-int8-bf16": lambda: openvino(graph="int8.xml", precision="bf16", fixed_shapes=True),
    "openvino-streams-int8-bf16": lambda: openvino(graph="int8.xml", precision="bf16", streams=THREADS),
    "ctranslate2": lambda: ctranslate2("float32"),
    "ctranslate2-int8": lambda: ctranslate2("int8_float32"),
}


def run(forward, batch, tokens, repeats):
    ids = np.array([[1000 + (s * 7919 + i * 104729) % 20000 for i in range(tokens)] for s in range(batch)], np.int64)
    types = np.zeros_like(ids)
    times = []
    for i in range(repeats + 1):
        begin = time.perf_counter()
        start, end = forward(ids, types, None)
        times.append((time.perf_counter() - begin) * 1e3)
    logits = [*start[-1].tolist(), *end[-1].tolist()]
    return f"{' '.join(f'{t:.4f}' for t in times[1:])} | {' '.join(f'{x:.6g}' for x in logits)}"


def squad_run(forward, in_streams, file, part, parts, batch_size, order):
    from transformers import AutoTokenizer

    import squad
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    questions = squad.load(file, part, parts)

    def one_by_one(batches):
        for chosen, ids, types, mask in batches:
            yield (chosen, *forward(ids, types, mask))

    begin = time.perf_counter()
    predictions = squad.answer_all(tokenizer, questions, in_streams or one_by_one, batch_size, order == "sorted")
    seconds = time.perf_counter() - begin
    return f"{seconds:.4f} {len(questions)} {squad.score(questions, predictions):.4f}"


def main():
    forward, in_streams = ENGINES[ENGINE]()
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print does not belong in the protocol
    print(f"ready {ENGINE}", file=answers, flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        if command == "run":
            reply = run(forward, *map(int, words))
        else:
            file, part, parts, batch, order = words
            reply = squad_run(forward, in_streams, file, int(part), int(parts), int(batch), order)
        print(reply, file=answers, flush=True)


main()
