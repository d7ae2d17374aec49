"""Signs schemathesis in and gives it data: `scripts/check_openapi.py` loads this module into it.

Random ids, tokens and weeks exist for nobody. Some of the valid requests therefore get those of a user
with a week of diaries and a summary, so that also successful responses are checked.
"""

import atexit
import collections
import itertools
import json
import os
import pathlib
import threading
import time
import urllib.request
import uuid

import schemathesis
from schemathesis import GenerationMode

URL = os.environ["SHIORI_URL"]
PASSWORD = "correct horse 1!"
WEEK = [f"202602{day}" for day in range(16, 23)]
# Access tokens are valid for 15 minutes.
LIFETIME_SECONDS = 5 * 60


def send(path, body, token=None):
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"], response.headers


class User:
    """A user who signs in when needed."""

    def __init__(self):
        self.credentials = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
        send("/api/user/signup", self.credentials | {"nickname": "하루"})
        self.expires_at = 0

    def log_in(self):
        data, headers = send("/api/user/login", self.credentials)
        return data["token"], headers["set-cookie"].split(";")[0].partition("=")[2]

    def token(self):
        if time.monotonic() > self.expires_at:
            self.current, _ = self.log_in()
            self.expires_at = time.monotonic() + LIFETIME_SECONDS
        return self.current


writer = User()
# Its sessions end, so it is another user: the server also bounds the sessions of one.
leaver = User()
ENDS_A_SESSION = ["/api/user/logout", "/api/auth/sessions/{id}"]


def save(date):
    content = {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "좋은 하루"}]}]}
    send(f"/api/diary/{date}", {"title": "하루", "content": content}, writer.token())


def request_summary():
    body = {"start": WEEK[0], "end": WEEK[-1], "force": True}
    return send("/api/diary/summary", body, writer.token())[0]["id"]


for date in WEEK:
    save(date)
summary = request_summary()


@schemathesis.auth(refresh_interval=None)
class SignIn:
    def get(self, case, context):
        if context.operation.path in ENDS_A_SESSION:
            return leaver.log_in()[0]
        return writer.token()

    def set(self, case, token, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


turns = collections.defaultdict(itertools.count)


@schemathesis.hook
def before_call(context, case, kwargs):
    """Every other valid request is about data that exists."""
    operation = case.operation
    is_valid = case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE
    with lock:
        if not is_valid or next(turns[operation.label]) % 2 != 0:
            return
    if operation.path.startswith("/api/diary/summary/{id}"):
        case.path_parameters = {**case.path_parameters, "id": summary}
    elif operation.label == "POST /api/diary/summary":
        case.body = {**case.body, "start": WEEK[0], "end": WEEK[-1]}
    elif operation.label == "GET /api/diary/reflections":
        case.query = {**case.query, "start": WEEK[0], "end": WEEK[-1]}
    elif operation.path.startswith("/api/diary/{date}") and operation.method == "get":
        case.path_parameters = {**case.path_parameters, "date": WEEK[0]}
    elif operation.label == "POST /api/auth/verify":
        case.body = {**case.body, "access_token": writer.token()}
    elif operation.label == "POST /api/user/login":
        case.body = {**case.body, **writer.credentials}
    elif operation.label == "POST /api/auth/refresh":
        token, cookie = leaver.log_in()
        case.body = {**case.body, "access_token": token}
        case.cookies = {**(case.cookies or {}), "refresh_token": cookie}


counts = collections.defaultdict(collections.Counter)
lock = threading.Lock()


@schemathesis.hook
def after_call(context, case, response):
    global summary
    label = case.operation.label
    with lock:
        counts[label][response.status_code] += 1
        # Old summaries of a week are deleted, but not the newest one.
        if label == "POST /api/diary/summary" and response.status_code in (200, 202):
            summary = response.json()["data"]["id"]


@atexit.register
def write_counts():
    pathlib.Path(os.environ["SHIORI_COUNTS"]).write_text(json.dumps(counts))
