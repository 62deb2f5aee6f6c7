"""Export a sentence encoder of transformers, cut at its embeddings: a script for its own venv.

inputs_embeds [N, T, 384] and attention_mask int64 [N, T] -> sentence [N, 384]: attention spelt out,
mean over the words that are there, scaled to length 1.
"""

import sys
from pathlib import Path

import torch
from transformers import BertModel


class Sentence(torch.nn.Module):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        spelt_out = {"attn_implementation": "eager", "add_pooling_layer": False}
        self.bert = BertModel.from_pretrained(folder, local_files_only=True, **spelt_out)

    def forward(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        found = self.bert(inputs_embeds=inputs_embeds, attention_mask=attention_mask)
        there = attention_mask.unsqueeze(-1).to(inputs_embeds.dtype)
        mean = (found.last_hidden_state * there).sum(1) / there.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def main(source: Path, out: Path) -> None:
    net = Sentence(source).eval()
    batch, length = torch.export.Dim("N"), torch.export.Dim("T")
    torch.onnx.export(
        net,
        (torch.randn(2, 7, 384), torch.ones(2, 7, dtype=torch.int64)),
        str(out),
        input_names=["inputs_embeds", "attention_mask"],
        output_names=["sentence"],
        opset_version=18,
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
