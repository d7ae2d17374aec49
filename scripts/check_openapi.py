#!/usr/bin/env python3
"""Checks docs/openapi.json against a running server.

    check_openapi.py fuzz PROGRAM [--seconds 60] [--seed 1]   docs/openapi.json is valid OpenAPI 3.1, its
                        examples match their schemas, and schemathesis finds no response that it does not
                        describe
    check_openapi.py client PROGRAM      a client that is generated from it signs up, saves and gets a conflict
    check_openapi.py page PROGRAM PNG    /docs opens in headless Chromium without a network and without errors

PROGRAM is the server's binary, started on a free port with a directory of its own. The Python packages
are installed below target/. `page` needs Chromium (Debian: chromium).
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv

ROOT = pathlib.Path(__file__).absolute().parent.parent
SCRIPTS = ROOT / "scripts"
DESCRIPTION = ROOT / "docs" / "openapi.json"
PACKAGES = ["schemathesis==4.32.5", "openapi-spec-validator==0.9.0", "openapi-python-client==0.29.1"]
PATIENCE_SECONDS = 60


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for check in [fuzz, client, page]:
        command = commands.add_parser(check.__name__)
        command.add_argument("program", type=pathlib.Path)
        command.set_defaults(check=check)
        if check is fuzz:
            command.add_argument("--seconds", type=int, default=60)
            command.add_argument("--seed", type=int, default=1)
        if check is page:
            command.add_argument("png", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        arguments.directory = pathlib.Path(directory)
        arguments.check(arguments)


def fuzz(arguments):
    """Validates the document and its examples, and sends generated requests."""
    python = environment()
    run([python, SCRIPTS / "check_openapi_examples.py", DESCRIPTION])
    with server(arguments) as url:
        command = [
            python.with_name("schemathesis"), "run", DESCRIPTION, "--url", url,
            "--seed", str(arguments.seed), "--max-time", str(arguments.seconds),
            "--checks", "all",
            # A schema cannot express every rule of a title, password or date; that a request which
            # breaks one is refused in a described way is checked. A summary that was cancelled with
            # DELETE can still be read.
            "--exclude-checks", "positive_data_acceptance,use_after_free",
            # This stream does not end.
            "--exclude-path", "/api/diary/events",
            "--continue-on-failure", "--no-color", "--warnings", "off",
        ]
        variables = os.environ | {
            "SHIORI_URL": url,
            "SHIORI_COUNTS": str(arguments.directory / "counts.json"),
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PYTHONPATH": str(SCRIPTS),
        }
        run(command, env=variables, cwd=arguments.directory)
    report(json.loads((arguments.directory / "counts.json").read_text()))


def report(counts):
    """Prints the responses by operation. An operation with only 401 is an error."""
    for label, statuses in sorted(counts.items()):
        print(f"{label:42}", "  ".join(f"{status}: {count}" for status, count in sorted(statuses.items())))
        if set(statuses) <= {"401"}:
            sys.exit(f"error: all responses of {label} were 401")
    print(sum(sum(statuses.values()) for statuses in counts.values()), "responses")


def client(arguments):
    """Runs a generated client, which expects typed errors."""
    python = environment()
    generated = arguments.directory / "shiori_api"
    settings = arguments.directory / "generator.json"
    settings.write_text(json.dumps({
        "content_type_overrides": {"application/openmetrics-text": "text/plain"}, "post_hooks": []}))
    run([
        python.with_name("openapi-python-client"), "generate", "--path", DESCRIPTION, "--meta", "none",
        "--config", settings, "--output-path", generated, "--fail-on-warning",
    ])
    with server(arguments) as url:
        variables = os.environ | {"SHIORI_URL": url, "PYTHONPATH": str(arguments.directory)}
        run([python, SCRIPTS / "try_generated_client.py"], env=variables)


def page(arguments):
    """Checks that the page shows all operations and logs no error."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("error: Chromium is missing (Debian: chromium)")
    with server(arguments) as url:
        common = [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={arguments.directory / 'chromium'}",
            # Only this machine is reachable.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--enable-logging=stderr", "--window-size=1280,2400", "--virtual-time-budget=20000",
        ]
        shot = subprocess.run(
            [*common, f"--screenshot={arguments.png.absolute()}", f"{url}/docs/"],
            capture_output=True, text=True, timeout=120, check=True)
        dom = subprocess.run(
            [*common, "--dump-dom", f"{url}/docs/"], capture_output=True, text=True, timeout=120, check=True)
    lines = (shot.stderr + dom.stderr).splitlines()
    errors = [line for line in lines if "CONSOLE" in line]
    if errors:
        sys.exit("error: the page logged errors:\n" + "\n".join(errors))
    operations = re.findall(r'<div class="opblock opblock-\w+" id="operations-[^"]*"', dom.stdout)
    described = json.loads(DESCRIPTION.read_text())["paths"].values()
    expected = sum(method in {"get", "post", "delete"} for item in described for method in item)
    if len(operations) != expected:
        sys.exit(f"error: the page shows {len(operations)} of {expected} operations")
    print(f"{expected} operations, no message in the console; the screenshot is {arguments.png}")


def environment():
    """Creates a virtual environment with the packages, and returns its Python."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute()
    directory = target / "openapi-python"
    python = directory / "bin" / "python"
    installed = directory / "packages.txt"
    if not installed.exists() or installed.read_text() != "\n".join(PACKAGES):
        venv.create(directory, with_pip=True, clear=True)
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
        installed.write_text("\n".join(PACKAGES))
    return python


@contextlib.contextmanager
def server(arguments):
    """Starts a server on a free port with an empty data directory, and yields its URL."""
    log = pathlib.Path(os.environ.get("SHIORI_TEST_LOGS", arguments.directory)) / "openapi-server.log"
    variables = os.environ | {
        "SHIORI_LISTEN": "127.0.0.1:0",
        "SHIORI_DATA_DIR": str(arguments.directory / "data"),
        "SHIORI_LOG": "debug,hyper=info,h2=info",
        # Thousands of requests from one address.
        "SHIORI_SIGNUPS_PER_ADDRESS": "1000000",
        "SHIORI_FAILED_LOGINS_PER_ADDRESS": "1000000",
        "NO_COLOR": "1",
    }
    with open(log, "w") as output:
        process = subprocess.Popen([arguments.program.absolute()], env=variables, stderr=output)
    try:
        url = wait_until_ready(process, log)
        yield url
        process.send_signal(signal.SIGTERM)
        if process.wait(PATIENCE_SECONDS) != 0:
            sys.exit(f"error: the server stopped with {process.returncode}")
        if faults := [line for line in log.read_text().splitlines() if " ERROR " in line]:
            sys.exit("error: the server logged errors:\n" + "\n".join(faults[:20]))
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process, log):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"listening.*?addr=(127\.0\.0\.1:\d+)", log.read_text()):
            url = f"http://{found[1]}"
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return url
        time.sleep(0.1)
    sys.exit("error: the server did not become ready:\n" + log.read_text())


def run(command, **options):
    if (code := subprocess.run(command, check=False, **options).returncode) != 0:
        sys.exit(f"error: {pathlib.Path(command[0]).name} failed with {code}")


if __name__ == "__main__":
    main()
