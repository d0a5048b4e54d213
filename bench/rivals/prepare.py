"""Makes the models that are compared, each in the form that each rival likes best.

    python prepare.py MODEL_DIR OUT_DIR      exports a Hugging Face QA folder for ONNX Runtime and OpenVINO
    python prepare.py --bert-base OUT_DIR    writes a random model of BERT-base's shape as a Hugging Face folder

A process of its own, because exporting leaves PyTorch in a state that no measurement should start from.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")


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


def export(model_dir: Path, out: Path) -> None:
    """plain.onnx for OpenVINO; attention.onnx and mha.onnx, the two fused graphs of ONNX Runtime's optimiser.

    Each with and without an attention mask: a batch without padding needs none, and some kernels are faster then.
    """
    import torch
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions
    from transformers import BertForQuestionAnswering

    # Eager attention: the form that the optimiser recognises. What it fuses it into is checked below.
    model = BertForQuestionAnswering.from_pretrained(model_dir, dtype=torch.float32, attn_implementation="eager").eval()
    config = model.config

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, token_type_ids, attention_mask=None):
            output = self.model(input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
            return output.start_logits, output.end_logits

    ids = torch.randint(1000, 20000, (2, 16))
    out.mkdir(parents=True, exist_ok=True)
    for masked in (False, True):
        folder = out / ("masked" if masked else "full")
        folder.mkdir(exist_ok=True)
        names = ["input_ids", "token_type_ids"] + (["attention_mask"] if masked else [])
        arguments = (ids, torch.zeros_like(ids)) + ((torch.ones_like(ids),) if masked else ())
        # The TorchScript exporter: what the newer one writes is not recognised as attention by the optimiser (1.32).
        torch.onnx.export(Logits(), arguments, str(folder / "plain.onnx"), input_names=names, output_names=["start", "end"],
                          dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names + ["start", "end"]},
                          opset_version=17, dynamo=False)
        for name, multi_head in (("attention", False), ("mha", True)):
            options = FusionOptions("bert")
            options.use_multi_head_attention = multi_head
            fused = optimizer.optimize_model(str(folder / "plain.onnx"), model_type="bert", opt_level=1,
                                             num_heads=config.num_attention_heads, hidden_size=config.hidden_size,
                                             optimization_options=options)
            counts = fused.get_fused_operator_statistics()
            layers = config.num_hidden_layers
            attention = counts["MultiHeadAttention" if multi_head else "Attention"]
            if (attention, counts["BiasGelu"], counts["SkipLayerNormalization"]) != (layers, layers, 2 * layers):
                sys.exit(f"prepare.py: the graph of {model_dir} was not fused: {counts}")
            fused.save_model_to_file(str(folder / f"{name}.onnx"))
    (out / "done.json").write_text(json.dumps({"model": str(model_dir)}))


if __name__ == "__main__":
    if sys.argv[1] == "--bert-base":
        make_bert_base(Path(__file__).parents[2] / "models/kvasir-base", Path(sys.argv[2]))
    else:
        export(Path(sys.argv[1]), Path(sys.argv[2]))
