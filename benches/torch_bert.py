#!/usr/bin/env python3
"""Measures the throughput of torch with the sentences of the bench `emotion`, for comparison on one machine.

    SHIORI_BENCH_CHECKPOINT=DIR cargo bench -p shiori-benches --features bert --bench emotion
    python3 benches/torch_bert.py DIR [THREADS]

It needs torch and transformers. "One by one" corresponds to a service without batching. Batches are
measured with sentences in random order, and sorted by length, which needs the least padding.
"""

import itertools
import pathlib
import random
import sys
import time

import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

SECONDS = 6
SIZES = [8, 16, 32, 56]


def main():
    directory = pathlib.Path(sys.argv[1])
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else torch.get_num_threads()
    torch.set_num_threads(threads)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"), pad_token="[PAD]")
    model = BertForSequenceClassification.from_pretrained(directory).eval()
    texts = (directory / "sentences.txt").read_text("utf-8").splitlines()
    by_length = sorted(texts, key=lambda text: len(tokenizer(text)["input_ids"]))
    cases = [(1, "one by one", texts)]
    cases += [(size, f"{size} a call, as they come", texts) for size in SIZES]
    cases += [(size, f"{size} a call, by length", by_length) for size in SIZES]
    for size, name, source in cases:
        batches = [source[i:i + size] for i in range(0, len(source), size)]
        random.Random(1).shuffle(batches)
        infer(tokenizer, model, batches[0])
        begun, done = time.perf_counter(), 0
        for batch in itertools.cycle(batches):
            infer(tokenizer, model, batch)
            done += len(batch)
            if time.perf_counter() - begun > SECONDS:
                break
        print(f"torch, {threads} threads, {name}: {done / (time.perf_counter() - begun):.1f}/s", flush=True)


def infer(tokenizer, model, texts):
    with torch.inference_mode():
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        model(**inputs).logits.softmax(-1)


if __name__ == "__main__":
    main()
