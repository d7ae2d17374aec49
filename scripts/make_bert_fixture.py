#!/usr/bin/env python3
"""Creates the checkpoint and the expected results for the parity tests of the BERT model.

The checkpoint is tiny and random; the expected results are those of `transformers`. The texts and the
vocabulary were written for this file. The same versions create the same files.

    python3 -m venv venv
    venv/bin/pip install torch transformers safetensors tokenizers
    venv/bin/python scripts/make_bert_fixture.py
"""

import json
import pathlib
import unicodedata

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

OUT = pathlib.Path(__file__).resolve().parent.parent / "shiori-worker/tests/fixtures/bert-tiny"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LABELS = ["공포", "놀람", "분노", "슬픔", "중립", "행복", "혐오"]

# The source of the vocabulary, which contains each word and each of its characters.
SENTENCES = [
    "오늘은 비가 와서 창가에 앉아 책을 읽었다.",
    "친구가 갑자기 찾아와서 깜짝 놀랐다.",
    "시험을 망쳐서 하루 종일 눈물이 났다.",
    "엄마가 끓여 준 미역국이 참 따뜻했다.",
    "밤길을 혼자 걷는데 뒤에서 발소리가 들려 무서웠다.",
    "약속을 또 어긴 동생 때문에 화가 났다.",
    "냉장고에서 곰팡이 핀 빵을 보고 속이 울렁거렸다.",
    "별일 없이 지나간 평범한 수요일이었다.",
    "드디어 합격했다! 온 세상이 반짝거리는 것 같았다.",
    "강아지가 아파서 밤새 곁을 지켰다.",
    "버스를 놓쳤지만 걷는 길이 나쁘지 않았다.",
    "회의가 길어져서 점심을 못 먹었다.",
    "할머니 목소리를 들으니 마음이 놓였다.",
    "아무것도 하기 싫고 그냥 눕고만 싶었다.",
    "노을이 너무 예뻐서 한참을 서 있었다.",
    "지하철에서 누가 발을 밟고도 사과하지 않았다.",
    "새로 산 화분에 싹이 돋았다.",
    "문이 쾅 닫혀서 심장이 내려앉았다.",
    "거짓말을 들키고도 웃는 얼굴이 역겨웠다.",
    "내일은 조금 더 나은 하루가 되기를.",
    "설거지를 하고 빨래를 개고 일찍 잤다.",
    "오랜만에 통화한 친구가 잘 지낸다니 기뻤다.",
    "천둥소리에 고양이가 이불 속으로 숨었다.",
    "사람들 앞에서 말을 더듬어 부끄러웠다.",
    "보고 싶다는 말을 끝내 하지 못했다.",
    "I walked along the river and felt calm.",
    "My train was late again, and nobody said sorry.",
    "We laughed until our cheeks hurt.",
    "I miss the smell of my grandmother's kitchen.",
    "The thunder frightened me out of my sleep.",
]

EDGES = [
    "",
    " ",
    "\n\t ",
    "좋다",
    "!",
    "...",
    "😀",
    "오늘 😀🎉 최고 👨‍👩‍👧",
    "❤️❤️❤️",
    "ㅋㅋㅋㅋㅋ",
    "ㅠㅠ 슬프다 ㅠㅠ",
    unicodedata.normalize("NFD", "오늘은 비가 와서 슬펐다."),
    unicodedata.normalize("NFD", "행복"),
    "비가\u0000와서",
    "\u0000",
    "탭\t과 줄\n바꿈\r\n그리고 \u0007 벨",
    "너비 없는\u200b공백과\ufeff표시",
    "글자 \ufffd 하나",
    "[SEP]",
    "앞 [SEP] 뒤",
    "[CLS] 나 [MASK] 는 [PAD] 비가 [UNK]",
    "[sep] [ SEP ] [SEP",
    "가나다[SEP]라마바",
    "漢字와 한글 그리고 カタカナ",
    "café naïve Ünïcödé",
    "cafe\u0301",
    "MIXED case English AND 한글",
    "don't can't won't; it's 3.14%",
    "2026년 11월 23일 07:30",
    "https://example.com/a?b=c&d=e#f",
    "a" * 150,
    "비" * 150,
    "비가 " * 700,
    "오늘은 비가 와서 창가에 앉아 책을 읽었다. " * 60,
    "하루 " * 510,
    "하루 " * 511,
    "전각 ＡＢＣ １２３ ！",
    "\u202e거꾸로\u202c",
    "﷽ العربية עברית",
    "\U0001f1f0\U0001f1f7 태극기",
    "한 줄\u2028두 줄\u2029세 줄",
    "　전각 공백　으로　띄운　글",
    "<p>태그</p> &amp; \"따옴표\" \\역슬래시",
]


def vocabulary():
    pre = pre_tokenizers.BertPreTokenizer()
    words, characters = set(), set()
    for sentence in SENTENCES:
        for word, _ in pre.pre_tokenize_str(sentence):
            words.add(word)
            characters.update(word)
    # Compatibility jamo and some decomposed jamo, so that not all jamo are unknown tokens.
    characters.update("ㅋㅠㅎABCIMXEDabcdefghijklmnopqrstuvwxyz0123456789!?.,'-:/[]<>&;\"漢字カ😀")
    characters.update(unicodedata.normalize("NFD", "비가슬행"))
    pieces = sorted(words | characters) + [f"##{c}" for c in sorted(characters)]
    return {piece: i for i, piece in enumerate(SPECIAL + pieces)}


def make_tokenizer():
    vocab = vocabulary()
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    # As in the Korean checkpoints: case and accents are kept.
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocab[token]) for token in ("[CLS]", "[SEP]")])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer, len(vocab)


def make_model(vocab_size):
    torch.manual_seed(20261123)
    config = BertConfig(
        vocab_size=vocab_size, hidden_size=32, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=512, num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
        architectures=["BertForSequenceClassification"], hidden_act="gelu", pad_token_id=0)
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Large enough that every part of the network affects the results.
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.copy_(centre + 0.25 * torch.randn_like(parameter))
    return model


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tokenizer, vocab_size = make_tokenizer()
    tokenizer.save(str(OUT / "tokenizer.json"))
    make_model(vocab_size).save_pretrained(OUT, safe_serialization=True)

    # The results are computed after loading the written files.
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(OUT / "tokenizer.json"))
    model = BertForSequenceClassification.from_pretrained(OUT).eval()
    texts = SENTENCES + EDGES
    assert len(texts) >= 60 and len(set(texts)) == len(texts)
    expected = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=512)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].tolist()
        expected.append({"text": text, "ids": ids, "logits": [round(x, 7) for x in logits]})
    lines = ",\n".join(json.dumps(e, ensure_ascii=True, separators=(",", ":")) for e in expected)
    (OUT / "expected.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    print(len(texts), "texts,", sum(f.stat().st_size for f in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
