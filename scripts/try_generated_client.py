#!/usr/bin/env python3
"""Signs up, saves, and gets a conflict as a typed error with a generated client.

`scripts/check_openapi.py client` generates the package `shiori_api` with openapi-python-client, and runs
this with it against the server at SHIORI_URL.
"""

import os
import uuid

from shiori_api import AuthenticatedClient, Client
from shiori_api.api.account import log_in, sign_up
from shiori_api.api.diary import get_diary, save_diary
from shiori_api.api.summary import get_reflection, request_summary
from shiori_api.models import (
    Credentials,
    Diary,
    DiaryConflictError,
    Document,
    EmailTakenError,
    InvalidRequestError,
    NewAccount,
    SaveReceiptResponse,
    SaveRequest,
    SummaryRequest,
    WeekIncompleteError,
)

URL = os.environ["SHIORI_URL"]
DATE = "20260216"


def main():
    anonymous = Client(base_url=URL)
    email, password = f"{uuid.uuid4()}@example.com", "correct horse 1!"

    weak = sign_up.sync(client=anonymous, body=NewAccount(email=email, password="weak", nickname="하루"))
    expect(weak, InvalidRequestError)
    assert (weak.data.field, weak.data.rule) == ("password", "at_least_8_characters"), weak

    account = NewAccount(email=email, password=password, nickname="하루")
    user = sign_up.sync(client=anonymous, body=account)
    assert isinstance(user.data.user_id, uuid.UUID), user
    expect(sign_up.sync(client=anonymous, body=account), EmailTakenError)
    token = log_in.sync(client=anonymous, body=Credentials(email=email, password=password)).data.token

    client = AuthenticatedClient(base_url=URL, token=token)
    saved = save_diary.sync(DATE, client=client, body=save("감나무에 인사했다."))
    expect(saved, SaveReceiptResponse)
    assert (saved.data.version, saved.data.replayed) == (1, False), saved

    # Another device saves what it believes to be the first version.
    conflict = save_diary.sync(DATE, client=client, body=save("민재도 왔다."))
    expect(conflict, DiaryConflictError)
    current = conflict.data.current
    expect(current, Diary)
    assert (current.version, text(current)) == (1, "감나무에 인사했다."), current
    merged = save_diary.sync(DATE, client=client, body=save("둘 다.", version=current.version))
    assert merged.data.version == 2, merged
    assert text(get_diary.sync(DATE, client=client).data) == "둘 다."

    # Two shapes of one status.
    week = request_summary.sync(client=client, body=SummaryRequest(start=DATE, end="20260222"))
    expect(week, WeekIncompleteError)
    assert len(week.data.missing_dates) == 6, week
    assert get_reflection.sync(client=client, start=DATE, end="20260222").data is None
    print("a generated client signed up, saved, and got a typed conflict")


def save(line, version=None):
    content = {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": line}]}]}
    return SaveRequest(title="통영", content=Document.from_dict(content), version=version)


def text(diary):
    return diary.content.content[0].content[0].text


def expect(response, kind):
    assert isinstance(response, kind), f"expected {kind.__name__}, found {response}"


if __name__ == "__main__":
    main()
