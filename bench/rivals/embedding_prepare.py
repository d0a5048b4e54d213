"""Makes what embedding.py compares: the cross-encoder, and the graphs of a model for each rival.

    python embedding_prepare.py cross-encoder MODEL_DIR OUT_DIR
    python embedding_prepare.py embed|rerank MODEL_DIR TEXTS OUT_DIR

A process of its own, because exporting leaves PyTorch in a state that no measurement should start from. The files are those
of prepare.py; sentence models have a graph with an attention mask, and the cross-encoder, whose pairs are all of one length,
one without. TEXTS are the very texts that are measured: NNCF is calibrated on 300 of them.
"""

import hashlib
import json
import shutil
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import prepare  # noqa: E402
from embedding_worker import Texts  # noqa: E402

FORMS = 1  # to be raised when what is exported changes
HEAD_DEVIATION = 0.4  # gives logits of the usual size, so that comparing them means something


def make_cross_encoder(model_dir: Path, out: Path) -> None:
    """The sentence model's weights under a random head: speed does not depend on what a model knows."""
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(1)
    model = BertForSequenceClassification.from_pretrained(model_dir, num_labels=1, dtype=torch.float32).eval()
    with torch.no_grad():
        model.classifier.weight.normal_(0, HEAD_DEVIATION)
        model.classifier.bias.zero_()
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (model_dir / name).exists():
            shutil.copy(model_dir / name, out / name)
    model.save_pretrained(out)


def key_of(model_dir: Path, texts: Path) -> dict:
    """What graphs were made of."""
    digest = hashlib.sha256(texts.read_bytes())
    for file in sorted([*model_dir.glob("*.safetensors"), *model_dir.glob("*.bin"), model_dir / "config.json"]):
        digest.update(file.read_bytes())
    return {"forms": FORMS, "digest": digest.hexdigest()}


def is_complete(model_dir: Path, texts: Path, out: Path) -> bool:
    done = out / "done.json"
    return done.exists() and json.loads(done.read_text()) == key_of(model_dir, texts)


def calibration_texts(task, model_dir: Path, texts: Path):
    import numpy as np

    loaded = Texts(task, model_dir, texts)
    some = loaded.all[::max(1, len(loaded.all) // prepare.CALIBRATION_WINDOWS)][:prepare.CALIBRATION_WINDOWS]
    for encoding in loaded.encode(some):
        yield {"input_ids": np.array([encoding.ids]), "token_type_ids": np.array([encoding.type_ids]),
               "attention_mask": np.array([encoding.attention_mask])}


def export(task, model_dir: Path, texts: Path, out: Path) -> None:
    import ctranslate2
    import numpy as np
    import torch
    from transformers import BertForSequenceClassification, BertModel

    options = {"dtype": torch.float32, "attn_implementation": "eager"}  # the form that ONNX Runtime's optimiser recognises
    if task == "embed":
        model, outputs, head = BertModel.from_pretrained(model_dir, add_pooling_layer=False, **options), ["last_hidden_state"], 0
    else:
        model, outputs, head = BertForSequenceClassification.from_pretrained(model_dir, **options), ["logits"], 2
    masked = task == "embed"
    folder = out / ("masked" if masked else "full")
    folder.mkdir(parents=True, exist_ok=True)
    prepare.export_onnx(model.eval(), folder, masked, outputs)
    prepare.fuse_for_onnxruntime(model.config, folder, head)
    prepare.quantize_for_openvino(list(calibration_texts(task, model_dir, texts)), folder, masked)
    ctranslate2.converters.TransformersConverter(str(model_dir)).convert(str(out / "ctranslate2"), force=True)
    if task == "rerank":
        np.savez(out / "head.npz", weight=model.classifier.weight.detach().numpy(), bias=model.classifier.bias.detach().numpy())
    (out / "done.json").write_text(json.dumps(key_of(model_dir, texts)) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "cross-encoder":
        make_cross_encoder(*map(Path, sys.argv[2:]))
    else:
        export(sys.argv[1], *map(Path, sys.argv[2:]))
