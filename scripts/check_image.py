#!/usr/bin/env python3
"""Checks the image and compose.yaml, as far as possible without Docker.

    check_image.py PROGRAM

compose.yaml must be valid YAML whose services refer only to services, volumes and images that exist.
PROGRAM, the server's binary, is started like in the image: with the variables and the user of the
Dockerfile's last stage, in a directory that the user owns. It must become ready, and stop on SIGTERM.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).absolute().parent.parent
TIMEOUT_SECONDS = 60


def main():
    (program,) = sys.argv[1:]
    check_compose(ROOT / "compose.yaml")
    image = last_stage(ROOT / "Dockerfile")
    check_data_directory(image)
    check_start(pathlib.Path(program).absolute(), image)


def check_compose(path):
    document = yaml().safe_load(path.read_text())
    services = document["services"]
    for name, service in services.items():
        if not ("image" in service or "build" in service):
            sys.exit(f"error: {path.name}: {name} has no image")
        for other in service.get("depends_on", []):
            if other not in services:
                sys.exit(f"error: {path.name}: {name} depends on {other}, which is not a service")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith((".", "/")) and source not in document["volumes"]:
                sys.exit(f"error: {path.name}: {name} uses the volume {source}, which is not declared")
        for key, value in service.get("environment", {}).items():
            if not isinstance(value, (str, int)):
                sys.exit(f"error: {path.name}: {name}: {key} is neither a string nor a number")
    print(f"{path.name}: {len(services)} services")


def yaml():
    """PyYAML; installed below target/ if it is missing."""
    packages = ROOT / "target" / "python"
    sys.path.append(str(packages))
    try:
        import yaml as module
    except ImportError:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, "PyYAML"], check=True)
        import yaml as module
    return module


def last_stage(path):
    """The instructions of the last stage, grouped by name, in order."""
    text = re.sub(r"\\\n", " ", path.read_text())
    instructions = {}
    for line in text.splitlines():
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            instructions = {}
        if name.isupper():
            instructions.setdefault(name, []).append(rest.strip())
    return instructions


def variables(image):
    return dict(pair.split("=", 1) for line in image["ENV"] for pair in line.split())


def check_data_directory(image):
    directory, (user,) = variables(image)["SHIORI_DATA_DIR"], image["USER"]
    owner, group = user.split(":")
    if image.get("VOLUME") != [directory] or image.get("WORKDIR") != [directory]:
        sys.exit("error: Dockerfile: the data directory is not the volume and the working directory")
    if not any(f"-o {owner} -g {group}" in line and directory in line for line in image["RUN"]):
        sys.exit(f"error: Dockerfile: the user {user} does not own {directory}")


def check_start(program, image):
    if os.geteuid() != 0:
        print("skipped: starting the server as the image's user needs root")
        return
    owner, group = (int(id) for id in image["USER"][0].split(":"))
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o700)
        os.chown(directory, owner, group)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = variables(image) | {"SHIORI_LISTEN": f"127.0.0.1:{port}", "SHIORI_DATA_DIR": directory}
        # The program is opened as root, because the user may not have access to its directory.
        with open(program, "rb") as opened:
            server = subprocess.Popen(
                [f"/proc/self/fd/{opened.fileno()}"], env=environment, cwd=directory, user=owner,
                group=group, extra_groups=[], pass_fds=[opened.fileno()])
        try:
            wait_until_ready(server, f"http://127.0.0.1:{port}/readyz")
            server.send_signal(signal.SIGTERM)
            if server.wait(TIMEOUT_SECONDS) != 0:
                sys.exit(f"error: the server stopped with {server.returncode}")
        finally:
            server.kill()
        if not list(pathlib.Path(directory).glob("*.db")):
            sys.exit("error: the server stored nothing in its data directory")
    print(f"started and stopped as user {owner}")


def wait_until_ready(server, url):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit("error: the server of the image did not become ready")


if __name__ == "__main__":
    main()
