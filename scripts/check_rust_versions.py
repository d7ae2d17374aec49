#!/usr/bin/env python3
"""Checks that the `rust-version` of each published crate is not lower than those of its dependencies.

Cargo checks it for the compiler that runs, and so only with the oldest one."""

import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    packages = json.loads(cargo("metadata", "--locked", "--format-version", "1", "--all-features"))["packages"]
    versions = {(p["name"], f"v{p['version']}"): p["rust_version"] for p in packages}
    published = [p for p in packages if p["source"] is None and p["publish"] != []]
    problems = [problem for package in published for problem in older_than_dependencies(package, versions)]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"Rust versions: {len(published)} crates checked, {len(problems)} problems")
    return 1 if problems else 0


def older_than_dependencies(package, versions):
    tree = cargo("tree", "--locked", "--package", package["name"], "--all-features", "--target", "all",
                 "--edges", "normal,build", "--prefix", "none", "--format", "{p}")
    built = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    return [f"{package['name']} has rust-version {package['rust_version']}, but {name} requires {versions[name, version]}"
            for name, version in sorted(built)
            if number(versions.get((name, version))) > number(package["rust_version"])]


def number(rust_version):
    parts = [int(part) for part in (rust_version or "0").split(".")]
    return parts + [0] * (3 - len(parts))


def cargo(*arguments):
    output = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if output.returncode != 0:
        sys.exit(f"error: cargo {arguments[0]} failed; is Cargo.lock up to date?")
    return output.stdout


if __name__ == "__main__":
    sys.exit(main())
