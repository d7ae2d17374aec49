#!/usr/bin/env python3
"""Searches the logs and outputs of a test run for diary text, passwords, tokens and keys.

    search_logs.py DIR

DIR has the logs of servers, workers and clients (*.log) and the outputs of tests, examples and histories
(*.out). Exits with 1 if one of them contains a secret:

- In a log, any character outside ASCII, also escaped, percent-encoded or as a list of bytes: the log is
  English, and the texts, titles, nicknames and passwords of most tests are Korean. Also e-mail addresses.
- In logs and outputs, anything with the form of a token, a generated secret or a password hash, and the
  passwords, tokens and keys in the sources of the tests. Examples print diaries, so their outputs may
  contain text.

First, it checks that it finds a planted line for each rule, and that there are logs at all.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).absolute().parent.parent
SOURCES = ["*/tests/**/*.rs", "examples/**/*.rs", "benches/src/**/*.rs", "*/src/**/*tests*.rs"]

# Shorter literals, such as "x", are parts of other words.
MIN_LENGTH = 6

# Lines are searched one by one only in blocks that have a match.
BLOCK_CHARACTERS = 1_000_000

LITERAL = r'"((?:[^"\\]|\\.)+)"'
SECRET_PLACES = [
    r"\b\w*(?:PASSWORD|SECRET|TOKEN|KEY): &str =\s*" + LITERAL,
    r'"password": ' + LITERAL,
    # A password has a digit. The other arguments are e-mail addresses, IP addresses and names.
    r'(?:login|log_in|signup|change_password|delete)\([^;"]*"([^"@,/]*(?:[a-z][^"@,/]*\d|\d[^"@,/]*[a-z])[^"@,/]*)"',
    r'"(?:SHIORI_JWT_SECRET|SHIORI_INTERNAL_TOKEN|OPENAI_API_KEY)(?:_PREVIOUS)?", ' + LITERAL,
]

# Each begins with a literal or fails at once inside a word, because a log may have a million lines.
SECRETS = {
    "a token": re.compile(r"eyJ[\w-]{8,}\.|Bearer \S|refresh_token=[\w-]|device=[\w-]{20}"),
    "a password hash": re.compile(r"\$argon2"),
    # 256 random bits have 43 characters, and contain digits and letters of both cases.
    "a generated secret": re.compile(
        r"(?<![\w-])(?=[\w-]{40})(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]+", re.ASCII),
}
TEXTS = {
    # The log of statements has the sign of omissions, and durations have that of microseconds.
    "text": re.compile(r"[^\x00-\x7f\u2026\u00b5]"),
    "escaped text": re.compile(r"\\u\{?[0-9a-fA-F]{4}|\\x[89a-fA-F][0-9a-fA-F]|%[89a-fA-F][0-9a-fA-F]%[89a-fA-F]"),
    "a list of bytes": re.compile(r"\[\d{1,3}(?:, \d{1,3}){7}"),
    "an e-mail address": re.compile(r"@example\.com"),
}

PLANTED = {
    "a token": "authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIi",
    "a password hash": "hash=$argon2id$v=19$m=19456",
    "a generated secret": "secret=Zk3v9_qPz-Lw0aB7cD2eF4gH6iJ8kL1mN3oP5qR7sT9",
    "text": "title=제목",
    "escaped text": r'content="\u{c548}\u{b155}"',
    "a list of bytes": "body=[236, 149, 136, 235, 133, 149, 58, 32]",
    "an e-mail address": "email=person-1@example.com",
}


def main():
    (directory,) = map(pathlib.Path, sys.argv[1:])
    secrets = secrets_of_the_sources()
    in_outputs = SECRETS | {f"the secret {word!r}": re.compile(re.escape(word)) for word in secrets}
    in_logs = in_outputs | TEXTS
    for rule, line in PLANTED.items():
        if not in_logs[rule].search(line):
            sys.exit(f"error: {rule} would not be found")
    requests, found = 0, []
    files = sorted([*directory.glob("*.log"), *directory.glob("*.out")])
    for path in files:
        rules = in_logs if path.suffix == ".log" else in_outputs
        with open(path, encoding="utf-8", errors="surrogateescape") as log:
            while block := log.readlines(BLOCK_CHARACTERS):
                text = "".join(block)
                requests += text.count("request completed")
                suspect = [rule for rule, pattern in rules.items() if pattern.search(text)]
                found += [f"{path}: {rule}: {shown(match)}" for rule in suspect for line in block
                          if (match := rules[rule].search(line))]
    if not requests:
        sys.exit(f"error: no log in {directory} has a request")
    if found:
        sys.exit("\n".join([*found[:20], f"error: {len(found)} lines with text or secrets"]))
    print(f"{len(files)} files with {requests} requests contain no text and none of {len(secrets)} secrets")


def secrets_of_the_sources():
    """The passwords, tokens and keys of the tests that can be recognised in a line."""
    found = set()
    for source in {path for pattern in SOURCES for path in ROOT.glob(pattern)}:
        text = source.read_text(encoding="utf-8")
        found |= {literal for place in SECRET_PLACES for literal in re.findall(place, text)}
    # Literals with a placeholder or an escape differ from what the test sends.
    can_be_found = re.compile(r"(?=.*[\s\d-])[^{}\\]*")
    return sorted(word for word in found if len(word) >= MIN_LENGTH and can_be_found.fullmatch(word))


def shown(match):
    """The place in the line, without the rest of it."""
    return match.string[max(0, match.start() - 80):match.end() + 20].strip()


if __name__ == "__main__":
    main()
