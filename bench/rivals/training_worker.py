"""PyTorch's part of training.py, a process of its own (the protocol of bench/training.cpp).

    python training_worker.py eager|compile MODEL_DIR LENGTHS THREADS

run     all batches of the file LENGTHS, a step each: seconds and peak memory in MB as reply
"""

import resource
import sys
import time
from pathlib import Path


def main():
    import torch
    from transformers import AutoModelForQuestionAnswering, logging

    kind, model_dir, lengths, threads = sys.argv[1:5]
    logging.set_verbosity_error()
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    model = AutoModelForQuestionAnswering.from_pretrained(model_dir).train()
    decayed = [p for n, p in model.named_parameters() if "bias" not in n and "LayerNorm" not in n]
    rest = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm" in n]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0}], lr=1e-5)
    step_model = torch.compile(model, dynamic=True) if kind == "compile" else model

    def batch_of(sizes):
        longest = max(sizes)
        ids = torch.zeros(len(sizes), longest, dtype=torch.long)
        mask, types = torch.zeros_like(ids), torch.ones_like(ids)
        start = torch.zeros(len(sizes), dtype=torch.long)
        for row, size in enumerate(sizes):
            ids[row, :size] = torch.randint(1000, model.config.vocab_size, (size,))
            mask[row, :size] = 1
            types[row, :15] = 0
            start[row] = torch.randint(15, size - 5, (1,))
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "start_positions": start,
                "end_positions": start + 3}

    batches = [batch_of(list(map(int, line.split()))) for line in Path(lengths).read_text().splitlines()]

    def step(batch):
        loss = step_model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    for batch in batches[:2] if kind == "eager" else batches:
        step(batch)
    print(f"ready pytorch-{kind}", flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            break
        begin = time.perf_counter()
        for batch in batches:
            step(batch)
        seconds = time.perf_counter() - begin
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


if __name__ == "__main__":
    main()
