#!/usr/bin/env python3
"""Measures torch and onnxruntime with the sentences of the bench `emotion`, for comparison on one machine.

    export SHIORI_BENCH_CHECKPOINT=/var/tmp/bert-base
    cargo bench -p shiori-benches --features bert --bench emotion
    python3 benches/bert_runtimes.py "$SHIORI_BENCH_CHECKPOINT" [THREADS]

It needs torch, transformers, onnx and onnxruntime. The bench writes the checkpoint and the sentences.
Each runtime classifies the sentences of a file one by one, and in batches of several sizes: in their
order, and sorted by length, which needs the least padding. The printed values are sentences per second.
"""

import itertools
import pathlib
import random
import sys
import time

import onnxruntime
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

SECONDS = 4
SIZES = [8, 16, 32, 56]
FILES = ["short.txt", "long.txt"]


def main():
    directory = pathlib.Path(sys.argv[1])
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else torch.get_num_threads()
    torch.set_num_threads(threads)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"), pad_token="[PAD]")
    model = BertForSequenceClassification.from_pretrained(directory, attn_implementation="sdpa").eval()
    runtimes = {
        f"torch {torch.__version__}": lambda inputs: model(**inputs).logits.softmax(-1),
        f"onnxruntime {onnxruntime.__version__}": onnx_session(directory, threads),
    }
    for file, (runtime, classify) in itertools.product(FILES, runtimes.items()):
        texts = (directory / file).read_text("utf-8").splitlines()
        by_length = sorted(texts, key=lambda text: len(tokenizer(text)["input_ids"]))
        print(f"{file}, {len(texts)} sentences, {runtime}, {threads} threads")
        print(f"    one by one: {throughput(tokenizer, classify, texts, 1):.1f}/s")
        for order, source in [("as they come", texts), ("by length", by_length)]:
            rates = (f"{size}: {throughput(tokenizer, classify, source, size):.1f}/s" for size in SIZES)
            print(f"    batches {order}: {', '.join(rates)}", flush=True)


def onnx_session(directory, threads):
    """The model in onnxruntime. It is exported with the attention that onnxruntime fuses."""
    file = directory / "model.onnx"
    if not file.exists():
        model = BertForSequenceClassification.from_pretrained(directory, attn_implementation="eager").eval()
        ids = torch.ones(2, 8, dtype=torch.long)
        axes = {0: "texts", 1: "tokens"}
        torch.onnx.export(model, (ids, ids), file, dynamo=False, opset_version=17,
                          input_names=["input_ids", "attention_mask"], output_names=["logits"],
                          dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "texts"}})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})


def throughput(tokenizer, classify, texts, size):
    batches = [texts[i:i + size] for i in range(0, len(texts), size)]
    random.Random(1).shuffle(batches)
    infer(tokenizer, classify, batches[0])
    begun, done = time.perf_counter(), 0
    for batch in itertools.cycle(batches):
        infer(tokenizer, classify, batch)
        done += len(batch)
        if time.perf_counter() - begun > SECONDS:
            return done / (time.perf_counter() - begun)


def infer(tokenizer, classify, texts):
    with torch.inference_mode():
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        classify(inputs)


if __name__ == "__main__":
    main()
