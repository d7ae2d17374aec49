#!/usr/bin/env python3
"""What one hostile client costs another person, and what overload costs everybody.

    hostile_clients.py SERVER [SCENARIO...]      SERVER is the binary shiori-server, release build

    slow-heads   1,000 connections that send a head byte by byte
    idle         5,000 connections that send nothing
    unread       1,000 connections that request a long diary again and again, and read nothing
    sign-ins     256 connections that sign in with wrong passwords as fast as they are answered
    sign-ups     the same with new accounts
    overload     needs `wrk` and two cores: server and generator on one core each, first as many
                 connections as the server serves best, then four times as many, then 4,000

Without a scenario, all of them run, in about five minutes. Each starts its own server in a temporary
directory, on a free port of the loopback. The hostile client has the address 127.0.0.2, the other
person 127.0.0.1. Another person's save is a new connection, a request and its response. Linux only.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import pathlib
import re
import resource
import selectors
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

PASSWORD = "sesame-77"
SAVES = 300
WARM_UP_SECONDS = 3
CONNECT_TIMEOUT_SECONDS = 15
OVERLOAD_SECONDS = 30
PEAK_SECONDS = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", type=pathlib.Path)
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO")
    args = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft_of_server = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = args.server.absolute()
    for scenario in args.scenario or [*DISTURBANCES, "overload"]:
        if scenario == "overload":
            overload(server)
        else:
            disturb(server, scenario, min(soft_of_server, 1024))


def disturb(binary, scenario, soft_limit):
    """Measures another person's saves without and with the disturbance."""
    with Server(binary, soft_limit=soft_limit) as server:
        person = Person(server, "person@example.com")
        person.save_all(50)
        undisturbed = person.save_all(SAVES)
        memory = server.memory_mib()
        attacker = Person(server, "attacker@example.com", DISTURBER)
        attacker.save(attacker.next_date(), "a" * 900_000)
        ready, stop = multiprocessing.Event(), multiprocessing.Event()
        done = multiprocessing.Value("i", 0)
        arguments = (DISTURBANCES[scenario], server.port, attacker.token, ready, stop, done)
        process = multiprocessing.Process(target=run_disturbance, args=arguments, daemon=True)
        process.start()
        ready.wait(60)
        peak = Peak(server)
        end = time.monotonic() + WARM_UP_SECONDS
        while time.monotonic() < end:
            person.save_all(1)
            peak.look()
        began = done.value, time.monotonic()
        disturbed = person.save_all(SAVES, seconds=20, each=peak.look)
        rate = (done.value - began[0]) / (time.monotonic() - began[1])
        # The hostile client goes on during the shutdown.
        shutdown, code = server.stop()
        stop.set()
        process.kill()
    print(f"{scenario:11} undisturbed {figures(undisturbed)}")
    print(f"{'':11} disturbed   {figures(disturbed)}; answered to the attacker: {rate:.0f}/s")
    print(f"{'':11} memory {memory:.0f} MiB, at most {peak.mib:.0f} MiB; SIGTERM: {shutdown:.1f} s, exit code {code}",
          flush=True)


def figures(outcomes):
    times = sorted(outcome for outcome in outcomes if outcome is not None)
    failed = len(outcomes) - len(times)
    if not times:
        return f"none of {len(outcomes)} saves was answered"
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    return (f"p50 {statistics.median(times) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, "
            f"{failed} of {len(outcomes)} failed")


class Server:
    """A server of its own."""

    def __init__(self, binary, soft_limit=None, cores=None, settings=()):
        self.dir = tempfile.TemporaryDirectory()
        environment = {"SHIORI_LISTEN": "127.0.0.1:0", "SHIORI_DATA_DIR": self.dir.name, "SHIORI_LOG": "info",
                       # Without these limits, fewer passwords would be hashed.
                       "SHIORI_SIGNUPS_PER_ADDRESS": "1000000", "SHIORI_FAILED_LOGINS_PER_ADDRESS": "1000000",
                       **dict(settings)}

        def prepare():
            if soft_limit:
                hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft_limit, hard))
            if cores:
                os.sched_setaffinity(0, cores)

        log = pathlib.Path(self.dir.name, "log")
        with log.open("w", encoding="utf-8") as stderr:
            # No other thread runs yet, which could hold a lock in the forked process.
            self.process = subprocess.Popen([binary], env=environment, stderr=stderr, preexec_fn=prepare)  # noqa: PLW1509
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(r" addr=127\.0\.0\.1:(\d+)", log.read_text("utf-8"))
            if found:
                self.port = int(found[1])
                return
            time.sleep(0.05)
        sys.exit("the server does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()

    def memory_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def stop(self):
        """SIGTERM; returns the seconds until the end, and the exit code."""
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(60)
        return time.monotonic() - began, code


class Peak:
    def __init__(self, server):
        self.server, self.mib = server, 0

    def look(self):
        self.mib = max(self.mib, self.server.memory_mib())


DISTURBER = "127.0.0.2"


class Person:
    """A signed-in user with an address."""

    def __init__(self, server, email, address="127.0.0.1"):
        self.server, self.address = server, address
        self.dates = days()
        self.token = None
        self.call("POST", "/api/user/signup", {"email": email, "password": PASSWORD, "nickname": "사람"})
        answer = self.call("POST", "/api/user/login", {"email": email, "password": PASSWORD})
        self.token = answer["data"]["token"]

    def next_date(self):
        return next(self.dates)

    def call(self, method, path, body):
        status, text = exchange(self.server.port, self.address, request(method, path, body, self.token))
        if status >= 300:
            sys.exit(f"{path}: {status}")
        return json.loads(text)

    def save(self, date, text):
        """The seconds of a save on a new connection, or None if it fails."""
        body = {"title": "하루", "content": {"type": "doc", "x": text}}
        data = request("POST", f"/api/diary/{date}", body, self.token)
        began = time.perf_counter()
        try:
            status, _ = exchange(self.server.port, self.address, data)
        except OSError:
            return None
        return time.perf_counter() - began if status == 201 else None

    def save_all(self, count, seconds=60, each=lambda: None):
        outcomes = []
        end = time.monotonic() + seconds
        for _ in range(count):
            outcomes.append(self.save(self.next_date(), "글" * 300))
            each()
            time.sleep(0.01)
            if time.monotonic() > end:
                break
        return outcomes


def days():
    for year, month, day in itertools.product(range(1000, 9000), range(1, 13), range(1, 29)):
        yield f"{year}{month:02}{day:02}"


def request(method, path, body=None, token=None):
    text = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nhost: shiori\r\n"
    if token:
        head += f"authorization: Bearer {token}\r\n"
    if text:
        head += f"content-type: application/json\r\ncontent-length: {len(text)}\r\n"
    return head.encode() + b"\r\n" + text


def connect(port, address, timeout=CONNECT_TIMEOUT_SECONDS):
    return socket.create_connection(("127.0.0.1", port), timeout, (address, 0))


def exchange(port, address, data):
    """One request on a new connection."""
    with connect(port, address) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.sendall(data)
        received = b""
        while True:
            response = parse(received)
            if response:
                return response
            part = wire.recv(1 << 16)
            if not part:
                raise ConnectionError("closed")
            received += part


def parse(received):
    head, found, rest = received.partition(b"\r\n\r\n")
    if not found:
        return None
    length = re.search(rb"content-length: (\d+)", head.lower())
    length = int(length[1]) if length else 0
    return (int(head[9:12]), rest[:length]) if len(rest) >= length else None


# The disturbances. Each opens its connections, sets `ready`, and goes on until `stop`.


def run_disturbance(disturbance, port, token, ready, stop, done):
    with contextlib.suppress(KeyboardInterrupt):
        disturbance(port, token, ready, stop, done)


def open_all(port, count):
    wires = []
    for _ in range(count):
        try:
            wires.append(connect(port, DISTURBER, timeout=5))
        except OSError as error:
            print(f"{len(wires)} connections opened, then: {error}", file=sys.stderr)
            break
    return wires


def reopened(port, wires):
    """The connections, with those that the server has closed opened again."""
    kept = []
    for wire in wires:
        wire.setblocking(False)
        try:
            is_open = wire.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            is_open = True
        except OSError:
            is_open = False
        if not is_open:
            wire.close()
            try:
                wire = connect(port, DISTURBER, timeout=5)
            except OSError:
                continue
        kept.append(wire)
    return kept


def slow_heads(port, _token, ready, stop, _done):
    wires = open_all(port, 1000)
    head = itertools.cycle(b"GET /healthz HTTP/1.1\r\nhost: shiori\r\nx-slow: " + b"a" * 10_000)
    ready.set()
    while not stop.wait(1):
        wires = reopened(port, wires)
        byte = bytes([next(head)])
        for wire in wires:
            with contextlib.suppress(OSError):
                wire.send(byte)


def idle(port, _token, ready, stop, _done):
    wires = open_all(port, 5000)
    ready.set()
    while not stop.wait(1):
        wires = reopened(port, wires)


def unread(port, token, ready, stop, _done):
    pipelined = request("GET", "/api/diary/10000101", token=token) * 20
    wires = []
    for _ in range(1000):
        with contextlib.suppress(OSError):
            wire = connect(port, DISTURBER, timeout=5)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.settimeout(0.01)
            wire.send(pipelined)
            wires.append(wire)
    ready.set()
    stop.wait()


def flood(port, ready, stop, done, next_request):
    selector = selectors.DefaultSelector()

    def begin():
        wire = connect(port, DISTURBER)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.sendall(next_request())
        selector.register(wire, selectors.EVENT_READ, bytearray())

    for _ in range(256):
        begin()
    ready.set()
    while not stop.is_set():
        for key, _ in selector.select(0.2):
            wire, received = key.fileobj, key.data
            try:
                part = wire.recv(1 << 16)
            except OSError:
                part = b""
            received += part
            if not part:
                selector.unregister(wire)
                wire.close()
                # The server may have stopped listening.
                with contextlib.suppress(ConnectionRefusedError):
                    begin()
            elif parse(bytes(received)):
                received.clear()
                done.value += 1
                wire.sendall(next_request())


def sign_ins(port, _token, ready, stop, done):
    numbers = itertools.count()

    def next_request():
        return request("POST", "/api/user/login", {"email": f"{next(numbers)}@example.com", "password": "guess-77"})

    flood(port, ready, stop, done, next_request)


def sign_ups(port, _token, ready, stop, done):
    numbers = itertools.count()

    def next_request():
        account = {"email": f"{next(numbers)}@example.com", "password": PASSWORD, "nickname": "새"}
        return request("POST", "/api/user/signup", account)

    flood(port, ready, stop, done, next_request)


DISTURBANCES = {
    "slow-heads": slow_heads,
    "idle": idle,
    "unread": unread,
    "sign-ins": sign_ins,
    "sign-ups": sign_ups,
}


# Overload.

SAVE_SCRIPT = """
local counter = 0
local thread = 0
function setup(t) t:set("thread", thread); thread = thread + 1 end
local body = '{"title":"하루","content":{"type":"doc","x":"' .. string.rep("글", 300) .. '"}}'
function init(args) first = tonumber(args[1]); wrk.headers["Authorization"] = args[2]
  wrk.headers["Content-Type"] = "application/json" end
function request()
  local n = first + counter
  counter = counter + 1
  local day, month, year = n % 28 + 1, math.floor(n / 28) % 12 + 1, 1000 + math.floor(n / 336)
  return wrk.format("POST", string.format("/api/diary/%04d%02d%02d", year, month, day), nil, body)
end
"""

READ_SCRIPT = """
function init(args) wrk.headers["Authorization"] = args[2] end
function request() return wrk.format("GET", "/api/diary/10000101") end
"""


def overload(binary):
    if not shutil.which("wrk"):
        sys.exit("the scenario overload needs wrk")
    first, second = sorted(os.sched_getaffinity(0))[:2]
    for name, script in [("saves", SAVE_SCRIPT), ("reads", READ_SCRIPT)]:
        with Server(binary, cores={first}, settings={"SHIORI_LOG": "shiori_server::server=info", "SHIORI_MAX_CONNECTIONS_PER_ADDRESS": "10000"}) as server:
            os.sched_setaffinity(0, {second})
            person = Person(server, "person@example.com")
            probe = Person(server, "probe@example.com", "127.0.0.3")
            person.save("10000101", "글" * 300)
            used, stored = 1000, 1
            rates = {}
            for connections in [16, 64, 256]:
                good, _, _, sent = wrk(server, script, connections, PEAK_SECONDS, used, person.token)
                used, stored = used + sent, stored + good
                rates[connections] = good / PEAK_SECONDS
            best, peak = max(rates.items(), key=lambda item: item[1])
            print(f"overload by {name}: peak {peak:.0f}/s with {best} connections")
            times = []
            for connections in [4 * best, 4000]:
                good, sent, probed = overload_by(server, script, connections, used, person, probe, peak)
                used, stored = used + sent, stored + good
                times += probed
            if name == "saves":
                database = sqlite3.connect(pathlib.Path(server.dir.name, "shiori.db"))
                rows = database.execute("SELECT count(*) FROM diary").fetchone()[0]
                database.close()
                acknowledged = stored + sum(time is not None for time in times)
                print(f"    acknowledged {acknowledged}, stored {rows}", flush=True)
            os.sched_setaffinity(0, {first, second})


def overload_by(server, script, connections, used, person, probe, peak):
    """Overloads the server with these connections. Returns successful requests, an upper bound of what
    was sent, and the times of the probe's saves."""
    memory = Peak(server)
    generator = wrk_process(server, script, connections, OVERLOAD_SECONDS, used, person.token)
    times = []
    while generator.poll() is None:
        times.append(probe.save(probe.next_date(), "글" * 300))
        memory.look()
        time.sleep(0.02)
    good, bad, socket_errors, sent = wrk_counts(generator)
    rate = good / OVERLOAD_SECONDS
    print(f"    {connections} connections: {(good + bad) / OVERLOAD_SECONDS:.0f}/s answered, {rate:.0f}/s with success "
          f"({rate / peak:.0%} of the peak), {bad / OVERLOAD_SECONDS:.0f}/s with 503; socket errors: {socket_errors}")
    print(f"        a probe's saves: {figures(times)}; memory at most {memory.mib:.0f} MiB", flush=True)
    return good, sent, times


def wrk_process(server, script, connections, seconds, first, token):
    path = pathlib.Path(server.dir.name, "wrk.lua")
    path.write_text(script, encoding="utf-8")
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", path,
               f"http://127.0.0.1:{server.port}", "--", str(first), f"Bearer {token}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wrk(*args):
    return wrk_counts(wrk_process(*args))


def wrk_counts(process):
    """Responses with success, others, socket errors, and an upper bound of what was sent."""
    text = process.communicate()[0]
    total = int(re.search(r"(\d+) requests in", text)[1])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    refused = int(refused[1]) if refused else 0
    errors = re.search(r"Socket errors: (.*)", text)
    return total - refused, refused, errors[1] if errors else "none", total + 10_000


if __name__ == "__main__":
    main()
