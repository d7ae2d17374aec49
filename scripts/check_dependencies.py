#!/usr/bin/env python3
"""Checks Cargo.lock against deny.toml: licences, duplicate versions, sources. Also checks the
`rust-version` of the published crates.

Uses cargo-deny if it is installed. Otherwise it enforces the part of deny.toml's format that this
repository uses, and fails on unknown settings instead of ignoring them.

    scripts/check_dependencies.py              check
    scripts/check_dependencies.py --builtin    check without cargo-deny
    scripts/check_dependencies.py --self-test  test the parsers of this script
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
from collections import defaultdict

try:
    import tomllib
except ImportError:
    sys.exit("error: Python 3.11 or newer is needed (for tomllib)")

ROOT = pathlib.Path(__file__).resolve().parent.parent

# deny.toml's tables and the keys of each that are enforced below.
ENFORCED = {
    "graph": {"all-features"},
    "licenses": {"version", "allow", "exceptions"},
    "bans": {"multiple-versions", "wildcards", "skip"},
    "sources": {"unknown-registry", "unknown-git", "allow-registry"},
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--builtin", action="store_true", help="check without cargo-deny")
    arguments.add_argument("--self-test", action="store_true", help="test the parsers")
    arguments = arguments.parse_args()
    if arguments.self_test:
        return self_test()
    if shutil.which("cargo-deny") and not arguments.builtin:
        return subprocess.run(
            ["cargo", "deny", "--locked", "check", "licenses", "bans", "sources"], cwd=ROOT
        ).returncode

    config = tomllib.loads((ROOT / "deny.toml").read_text("utf-8"))
    refuse_unknown_keys(config)
    members, packages = resolved_packages(config.get("graph", {}).get("all-features", False))
    problems = [
        *check_licenses(config["licenses"], packages),
        *check_duplicates(config["bans"], packages),
        *check_wildcards(members),
        *check_sources(config["sources"], packages),
        *check_rust_versions(members, packages),
    ]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    verdict = f"{len(problems)} problems" if problems else "licences, duplicates, sources and Rust versions are as they are said to be"
    print(f"dependencies: {len(packages)} packages checked, {verdict}")
    return 1 if problems else 0


def refuse_unknown_keys(config):
    for table, entries in config.items():
        unknown = set(entries) - ENFORCED.get(table, set())
        if unknown:
            sys.exit(f"error: deny.toml: [{table}] {', '.join(sorted(unknown))} is not enforced by this script")
    for table, key in [("bans", "multiple-versions"), ("bans", "wildcards"),
                       ("sources", "unknown-registry"), ("sources", "unknown-git")]:
        if config.get(table, {}).get(key) != "deny":
            sys.exit(f'error: deny.toml: [{table}] {key} must be "deny"')


def resolved_packages(all_features):
    """The workspace's members, and every package that is built for any platform."""
    features = ["--all-features"] if all_features else []
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", *features))
    # The graph in the metadata contains optional dependencies that are not enabled; the tree does not.
    tree = cargo("tree", "--locked", "--workspace", "--target", "all", "--edges", "normal,build,dev",
                 "--prefix", "none", "--format", "{p}", *features)
    built = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = [p for p in metadata["packages"] if (p["name"], f"v{p['version']}") in built]
    members = set(metadata["workspace_members"])
    return [p for p in packages if p["id"] in members], packages


def check_rust_versions(members, packages):
    """The `rust-version` of a published crate must not be lower than that of its dependencies."""
    versions = {(p["name"], f"v{p['version']}"): p["rust_version"] for p in packages}
    problems = []
    for member in members:
        if member["publish"] == []:
            continue
        tree = cargo("tree", "--locked", "--package", member["name"], "--all-features", "--target", "all",
                     "--edges", "normal,build", "--prefix", "none", "--format", "{p}")
        built = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
        problems += [f"{member['name']} says Rust {member['rust_version']}, and {name} needs {versions[name, version]}"
                     for name, version in sorted(built)
                     if number(versions.get((name, version))) > number(member["rust_version"])]
    return problems


def number(rust_version):
    parts = [int(part) for part in (rust_version or "0").split(".")]
    return parts + [0] * (3 - len(parts))


def cargo(*arguments):
    answer = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        sys.exit(f"error: cargo {arguments[0]} failed; is Cargo.lock up to date?")
    return answer.stdout


def check_licenses(config, packages):
    allowed = set(config["allow"])
    exceptions = [(Spec(entry["crate"]), set(entry["allow"])) for entry in config.get("exceptions", [])]
    used, problems = set(), []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        expression = package["license"]
        if not expression:
            problems.append(f"{name} names no licence")
            continue
        extra = set().union(*(allow for spec, allow in exceptions if spec.matches(package)))
        try:
            used |= mentioned(expression)
            if not satisfied(expression, allowed | extra):
                problems.append(f"{name} is licensed {expression!r}, which deny.toml does not allow")
        except SyntaxError as error:
            problems.append(f"{name}: licence {expression!r}: {error}")
    problems += [f"deny.toml allows the licence {name}, which nothing uses" for name in sorted(allowed - used)]
    problems += [f"deny.toml has a licence exception for {spec}, which is not there"
                 for spec, _ in exceptions if not any(map(spec.matches, packages))]
    return problems


def check_duplicates(config, packages):
    versions = defaultdict(list)
    for package in packages:
        versions[package["name"]].append(package)
    skips = []
    for entry in config["skip"]:
        if not entry.get("reason"):
            yield f"deny.toml skips {entry['crate']} without a reason"
        skips.append(Spec(entry["crate"]))
    for name, found in sorted(versions.items()):
        counted = [p for p in found if not any(skip.matches(p) for skip in skips)]
        if len(counted) > 1:
            listed = ", ".join(sorted(p["version"] for p in counted))
            yield f"{name} is there in several versions: {listed} (cargo tree -i {name}@VERSION tells why)"
    for skip in skips:
        if len(versions[skip.name]) < 2 or not any(map(skip.matches, versions[skip.name])):
            yield f"deny.toml skips {skip}, which is no duplicate"


def check_wildcards(members):
    for member in members:
        for dependency in member["dependencies"]:
            if dependency["req"] == "*":
                yield f"{member['name']} depends on any version of {dependency['name']}"


def check_sources(config, packages):
    allowed = {f"registry+{url}" for url in config["allow-registry"]}
    for package in packages:
        # Workspace members have no source.
        if package["source"] and package["source"] not in allowed:
            yield f"{package['name']} {package['version']} comes from {package['source']}"


class Spec:
    """A crate of deny.toml: `name`, `name@version` (exact) or `name:version` (compatible)."""

    def __init__(self, text):
        parts = re.fullmatch(r"([A-Za-z0-9_-]+)(?:([@:])(\d+(?:\.\d+){0,2}))?", text)
        if not parts:
            sys.exit(f"error: deny.toml: {text!r} is not name, name@version or name:version")
        self.text, self.name, self.kind, self.version = text, *parts.groups()

    def __str__(self):
        return self.text

    def matches(self, package):
        if package["name"] != self.name:
            return False
        if self.kind is None or package["version"] == self.version:
            return True
        return self.kind == ":" and compatible(self.version, package["version"])


def compatible(wanted, version):
    """Whether the version satisfies Cargo's default (caret) requirement."""
    version = version.split("+")[0]
    if "-" in version:
        return False
    wanted = [int(part) for part in wanted.split(".")]
    version = [int(part) for part in version.split(".")]
    # The first part that is not zero, or else the last given part, must be equal.
    fixed = next((i for i, part in enumerate(wanted) if part), len(wanted) - 1) + 1
    padded = wanted + [0] * (3 - len(wanted))
    return version[:fixed] == wanted[:fixed] and version >= padded


def satisfied(expression, allowed):
    """Whether the licences in `allowed` suffice for an SPDX expression."""
    return SpdxParser(expression).parse(allowed.__contains__)


def mentioned(expression):
    """The licences that an SPDX expression names."""
    names = set()
    SpdxParser(expression).parse(lambda name: bool(names.add(name)))
    return names


class SpdxParser:
    """SPDX 3.0 annex B: WITH binds tighter than AND, AND than OR. A slash is Cargo's old OR.

    Every operand is evaluated, so that an error anywhere in the expression is found.
    """

    def __init__(self, expression):
        self.tokens = re.findall(r"[()]|/|[^\s()/]+", expression)

    def parse(self, judge):
        verdict = self.any_of(judge)
        if self.tokens:
            raise SyntaxError(f"unexpected {self.tokens[0]!r}")
        return verdict

    def any_of(self, judge):
        verdict = self.all_of(judge)
        while self.take("OR", "/"):
            verdict |= self.all_of(judge)
        return verdict

    def all_of(self, judge):
        verdict = self.one(judge)
        while self.take("AND"):
            verdict &= self.one(judge)
        return verdict

    def one(self, judge):
        if self.take("("):
            verdict = self.any_of(judge)
            if not self.take(")"):
                raise SyntaxError("missing closing bracket")
            return verdict
        name = self.name()
        if self.take("WITH"):
            name = f"{name} WITH {self.name()}"
        return judge(name)

    def name(self):
        if self.tokens and re.fullmatch(r"[A-Za-z0-9.:-]+\+?", self.tokens[0]) \
                and self.tokens[0] not in {"OR", "AND", "WITH"}:
            return self.tokens.pop(0)
        raise SyntaxError(f"expected a licence, found {self.tokens[0]!r}" if self.tokens else "unexpected end")

    def take(self, *wanted):
        if self.tokens and self.tokens[0] in wanted:
            return self.tokens.pop(0)
        return None


def self_test():
    allowed = {"MIT", "ISC", "Zlib"}
    for expression, expected in [
        ("MIT", True),
        ("Apache-2.0", False),
        ("MIT OR Apache-2.0", True),
        ("GPL-3.0-only OR Apache-2.0", False),
        ("MIT AND Apache-2.0", False),
        ("MIT AND ISC", True),
        ("MIT/Apache-2.0", True),
        ("Apache-2.0 / MIT", True),
        ("Apache-2.0 AND MIT OR ISC", True),
        ("ISC OR MIT AND Apache-2.0", True),
        ("(ISC OR MIT) AND Apache-2.0", False),
        ("(ISC OR Apache-2.0) AND (MIT OR Apache-2.0)", True),
        ("MIT WITH LLVM-exception", False),
        ("Apache-2.0 WITH LLVM-exception OR MIT", True),
        ("MIT+", False),
        ("((MIT))", True),
    ]:
        assert satisfied(expression, allowed) is expected, expression
    assert satisfied("Apache-2.0 WITH LLVM-exception", {"Apache-2.0 WITH LLVM-exception"})
    assert mentioned("A OR (B WITH C AND D)/E") == {"A", "B WITH C", "D", "E"}
    for broken in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT ISC", "MIT WITH", "MIT AND AND ISC", "MIT OR (ISC"]:
        try:
            satisfied(broken, allowed)
        except SyntaxError:
            continue
        raise AssertionError(f"{broken!r} was accepted")

    for wanted, version, expected in [
        ("2", "2.0.119", True),
        ("2", "3.0.0", False),
        ("0.22", "0.22.1", True),
        ("0.22", "0.23.0", False),
        ("0.2.3", "0.2.2", False),
        ("1.4", "1.5.0", True),
        ("1.4", "1.3.9", False),
        ("0.0.3", "0.0.4", False),
        ("0", "0.9.1", True),
        ("0.11", "0.11.1+wasi-snapshot", True),
        ("1", "1.0.0-rc.1", False),
    ]:
        assert compatible(wanted, version) is expected, (wanted, version)
    assert Spec("syn@2.0.1").matches({"name": "syn", "version": "2.0.1"})
    assert not Spec("syn@2.0.1").matches({"name": "syn", "version": "2.0.2"})
    assert not Spec("syn:2").matches({"name": "syn-x", "version": "2.0.1"})

    package = {"name": "a", "version": "1.0.0", "license": "GPL-3.0-only", "source": "git+https://example.com/a"}
    other = {**package, "version": "2.0.0"}
    assert len(check_licenses({"allow": []}, [package])) == 1
    assert not check_licenses({"allow": [], "exceptions": [{"crate": "a", "allow": ["GPL-3.0-only"]}]}, [package])
    assert len(list(check_duplicates({"skip": []}, [package, other]))) == 1
    assert not list(check_duplicates({"skip": [{"crate": "a:1", "reason": "x"}]}, [package, other]))
    assert list(check_duplicates({"skip": [{"crate": "a:1", "reason": "x"}]}, [package]))
    assert len(list(check_sources({"allow-registry": []}, [package]))) == 1
    assert len(list(check_wildcards([{"name": "m", "dependencies": [{"name": "a", "req": "*"}]}]))) == 1
    print("check_dependencies: self-test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
