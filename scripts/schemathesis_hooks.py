"""Signs schemathesis in, and counts the responses: `scripts/check_openapi.py` loads this module into it."""

import atexit
import collections
import json
import os
import pathlib
import threading
import time
import urllib.request
import uuid

import schemathesis

PASSWORD = "correct horse 1!"
# Access tokens are valid for 15 minutes.
LIFETIME_SECONDS = 5 * 60


def post(path, body):
    request = urllib.request.Request(
        os.environ["SHIORI_URL"] + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]


class User:
    """A signed-in user."""

    def __init__(self):
        email = f"{uuid.uuid4()}@example.com"
        self.credentials = {"email": email, "password": PASSWORD}
        post("/api/user/signup", self.credentials | {"nickname": "하루"})
        self.expires_at = 0

    def token(self, fresh=False):
        if fresh or time.monotonic() > self.expires_at:
            self.current = post("/api/user/login", self.credentials)["token"]
            self.expires_at = time.monotonic() + LIFETIME_SECONDS
        return self.current


writer = User()
# Its sessions end, so it is another user: the server also bounds the sessions of one.
leaver = User()
ENDS_A_SESSION = ["/api/user/logout", "/api/auth/sessions/{id}"]


@schemathesis.auth(refresh_interval=None)
class SignIn:
    def get(self, case, context):
        if context.operation.path in ENDS_A_SESSION:
            return leaver.token(fresh=True)
        return writer.token()

    def set(self, case, token, context):
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


counts = collections.defaultdict(collections.Counter)
lock = threading.Lock()


@schemathesis.hook
def after_call(context, case, response):
    with lock:
        counts[case.operation.label][response.status_code] += 1


@atexit.register
def write_counts():
    pathlib.Path(os.environ["SHIORI_COUNTS"]).write_text(json.dumps(counts))
