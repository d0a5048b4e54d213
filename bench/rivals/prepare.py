"""Makes the models that are compared, each in the form that each rival likes best.

    python prepare.py MODEL_DIR OUT_DIR      exports a Hugging Face QA folder for ONNX Runtime, OpenVINO and CTranslate2
    python prepare.py --bert-base OUT_DIR    writes a random model of BERT-base's shape as a Hugging Face folder

A process of its own, because exporting leaves PyTorch in a state that no measurement should start from.

    full/, masked/          without and with an attention mask: a batch without padding needs none, and some kernels are
                            faster then
      plain.onnx            for OpenVINO
      attention.onnx        the two fused graphs of ONNX Runtime's optimiser
      mha.onnx
      *-int8.onnx           dynamically quantised, one scale per weight matrix
      *-int8-channel.onnx   dynamically quantised, one scale per output channel
      int8.xml, int8.bin    quantised after training by NNCF, for OpenVINO
    ctranslate2/            the encoder; CTranslate2 quantises it when it loads it
    head.npz                the question-answering head, which CTranslate2 does not know
"""

import itertools
import json
import shutil
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
ROOT = Path(__file__).parents[2]
CALIBRATION = ROOT / "tests/data/squad/dev-v2.0-half.json"
CALIBRATION_WINDOWS = 300  # NNCF's own default
FORMS = 2  # to be raised when what is exported changes


def is_complete(out: Path) -> bool:
    done = out / "done.json"
    return done.exists() and json.loads(done.read_text()).get("forms") == FORMS


def make_bert_base(tokenizer_from: Path, out: Path) -> None:
    """BERT-base's shape with random weights: speed does not depend on what a model knows."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    torch.manual_seed(1)
    model = BertForQuestionAnswering(BertConfig(vocab_size=30522)).eval()
    with torch.no_grad():
        model.qa_outputs.weight.mul_(20)  # logits of the usual size, so that comparing them means something
    model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(tokenizer_from / name, out / name)


def as_floats(model_dir: Path, out: Path) -> None:
    """Write a folder of `kvasir quantize` with its bytes times their scales: what other programs read. Nothing is changed by it."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(model_dir / "model.safetensors")
    for name in [n for n in tensors if n.endswith("_scale")]:
        scale = tensors.pop(name)
        weight = name.removesuffix("_scale")
        tensors[weight] = tensors[weight].astype("float32") * scale[:, None]
    out.mkdir(parents=True, exist_ok=True)
    for file in model_dir.iterdir():
        if file.name not in ("model.safetensors", "config.json"):
            shutil.copy(file, out / file.name)
    save_file({n: t.astype("float32") for n, t in tensors.items()}, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model_dir / "config.json").read_text())
    del config["quantization_config"]
    (out / "config.json").write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n")  # last: now it is a model


def export_onnx(model, folder: Path, masked: bool, outputs=("start_logits", "end_logits")) -> None:
    """plain.onnx. outputs: which of what the model returns."""
    import torch

    class Outputs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, token_type_ids, attention_mask=None):
            output = self.model(input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
            return tuple(output[name] for name in outputs)

    ids = torch.randint(1000, 20000, (2, 16))
    names = ["input_ids", "token_type_ids"] + (["attention_mask"] if masked else [])
    arguments = (ids, torch.zeros_like(ids)) + ((torch.ones_like(ids),) if masked else ())
    # The TorchScript exporter: what the newer one writes is not recognised as attention by the optimiser (1.32).
    torch.onnx.export(Outputs(), arguments, str(folder / "plain.onnx"), input_names=names, output_names=list(outputs),
                      dynamic_axes={name: {0: "batch", 1: "tokens"} for name in [*names, *outputs]},
                      opset_version=17, dynamo=False)


def fuse_for_onnxruntime(config, folder: Path, head=1) -> None:
    """attention.onnx and mha.onnx, and their int8 forms. That everything was fused and quantised is checked.

    head: products of the model outside of its layers.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    layers = config.num_hidden_layers
    for name, multi_head in (("attention", False), ("mha", True)):
        options = FusionOptions("bert")
        options.use_multi_head_attention = multi_head
        fused = optimizer.optimize_model(str(folder / "plain.onnx"), model_type="bert", opt_level=1,
                                         num_heads=config.num_attention_heads, hidden_size=config.hidden_size,
                                         optimization_options=options)
        counts = fused.get_fused_operator_statistics()
        attention = counts["MultiHeadAttention" if multi_head else "Attention"]
        if (attention, counts["BiasGelu"], counts["SkipLayerNormalization"]) != (layers, layers, 2 * layers):
            sys.exit(f"prepare.py: the graph in {folder} was not fused: {counts}")
        fused.save_model_to_file(str(folder / f"{name}.onnx"))
        for suffix, per_channel in (("", False), ("-channel", True)):
            path = folder / f"{name}-int8{suffix}.onnx"
            # The default type is for what follows a fused operator, whose output ONNX itself has no types for.
            quantize_dynamic(folder / f"{name}.onnx", path, per_channel=per_channel, weight_type=QuantType.QInt8,
                             extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
            kinds = [node.op_type for node in onnx.load(path).graph.node]
            # What is left of a layer outside QAttention: three products, or six with Q, K and V.
            expected = (0, 6 * layers + head) if multi_head else (layers, 3 * layers + head)
            if (kinds.count("QAttention"), kinds.count("MatMulInteger")) != expected:
                sys.exit(f"prepare.py: {path} was not quantised: {kinds.count('QAttention')} QAttention, "
                         f"{kinds.count('MatMulInteger')} MatMulInteger")


def calibration_windows(model_dir: Path):
    """Windows of SQuAD, spread over the file, one at a time and so without padding."""
    import numpy as np
    from transformers import AutoTokenizer

    import squad
    encodings = squad.windows(AutoTokenizer.from_pretrained(model_dir), squad.load(CALIBRATION)).encodings
    for encoding in itertools.islice(encodings[::len(encodings) // CALIBRATION_WINDOWS], CALIBRATION_WINDOWS):
        yield {"input_ids": np.array([encoding.ids]), "token_type_ids": np.array([encoding.type_ids]),
               "attention_mask": np.array([encoding.attention_mask])}


def quantize_for_openvino(windows, folder: Path, masked: bool) -> None:
    import nncf
    import openvino as ov

    names = ["input_ids", "token_type_ids"] + (["attention_mask"] if masked else [])
    windows = [{name: window[name] for name in names} for window in windows]
    quantised = nncf.quantize(ov.Core().read_model(folder / "plain.onnx"), nncf.Dataset(windows),
                              model_type=nncf.ModelType.TRANSFORMER, subset_size=len(windows))
    if not any(op.get_type_name() == "FakeQuantize" for op in quantised.get_ops()):
        sys.exit(f"prepare.py: the graph in {folder} was not quantised for OpenVINO")
    ov.save_model(quantised, folder / "int8.xml", compress_to_fp16=False)


def convert_for_ctranslate2(model, model_dir: Path, out: Path) -> None:
    import ctranslate2
    import numpy as np

    # The encoder alone; it wants a pooler too, which a reader does not have: random weights for one token's product.
    ctranslate2.converters.TransformersConverter(str(model_dir)).convert(str(out / "ctranslate2"), force=True)
    head = model.qa_outputs
    np.savez(out / "head.npz", weight=head.weight.detach().numpy(), bias=head.bias.detach().numpy())


def export(model_dir: Path, out: Path) -> None:
    import torch
    from transformers import BertForQuestionAnswering

    # Eager attention: the form that the optimiser recognises. What it fuses it into is checked.
    model = BertForQuestionAnswering.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()
    windows = list(calibration_windows(model_dir))
    for masked in (False, True):
        folder = out / ("masked" if masked else "full")
        folder.mkdir(parents=True, exist_ok=True)
        export_onnx(model, folder, masked)
        fuse_for_onnxruntime(model.config, folder)
        quantize_for_openvino(windows, folder, masked)
    convert_for_ctranslate2(model, model_dir, out)
    (out / "done.json").write_text(json.dumps({"model": str(model_dir), "forms": FORMS}))


if __name__ == "__main__":
    if sys.argv[1] == "--bert-base":
        make_bert_base(ROOT / "models/kvasir-base", Path(sys.argv[2]))
    else:
        export(Path(sys.argv[1]), Path(sys.argv[2]))
