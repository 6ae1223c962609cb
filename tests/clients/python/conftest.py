"""What all tests share: clients that take nothing for granted.

The SDKs pass over fields that are missing or of another type; a client in another language does not. With strict validation every answer,
and every event of a stream, must be what the SDK's own models say. Nothing is tried twice, so an error is seen as it comes.
"""

import json
import os

import anthropic
import openai
import pytest

URL = os.environ["SHOAL_URL"].rstrip("/")
MODEL = os.environ["SHOAL_MODEL"]
KEY_URL = os.environ.get("SHOAL_KEY_URL", "").rstrip("/")
KEY = os.environ.get("SHOAL_KEY", "")
OTHER_KEY = os.environ.get("SHOAL_OTHER_KEY", "")
ALIAS = os.environ.get("SHOAL_ALIAS", "")

# Most lines that a failure is told in.
LINES_MAX = 60

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}

# Arguments that are longer than any test waits for, so the most tokens cut them off.
ESSAY = {
    "type": "object",
    "properties": {"text": {"type": "string", "minLength": 4000}},
    "required": ["text"],
    "additionalProperties": False,
}
ESSAY_TOKENS = 100

# As long as a name of a function may be.
LONG_NAME = "f" * 128


def openai_client(url=URL, key="none", retries=0, path="/v1", **more):
    return openai.OpenAI(
        base_url=url + path, api_key=key, max_retries=retries, timeout=120, _strict_response_validation=True, **more
    )


def anthropic_client(url=URL, key="none", retries=0, path="", **more):
    return anthropic.Anthropic(
        base_url=url + path, api_key=key, max_retries=retries, timeout=120, _strict_response_validation=True, **more
    )


@pytest.fixture(scope="session")
def oai():
    return openai_client()


@pytest.fixture(scope="session")
def ant():
    return anthropic_client()


@pytest.fixture(scope="session")
def model():
    return MODEL


@pytest.fixture(scope="session")
def key_server():
    if not KEY_URL:
        pytest.fail("SHOAL_KEY_URL names no server with a key; run.sh starts one")
    return KEY_URL, KEY


@pytest.fixture(scope="session")
def other_key():
    if not OTHER_KEY:
        pytest.fail("SHOAL_OTHER_KEY is no second key of that server")
    return OTHER_KEY


@pytest.fixture(scope="session")
def alias():
    if not ALIAS:
        pytest.fail("SHOAL_ALIAS is no other name of the model")
    return ALIAS


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def joined(parts):
    return "".join(part for part in parts if part)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Cuts what the SDKs say of an event that is none: for each of some fifty kinds, each field that it lacks."""
    report = (yield).get_result()
    lines = report.longreprtext.splitlines() if report.failed else []
    if len(lines) > LINES_MAX:
        report.longrepr = "\n".join([*lines[: LINES_MAX // 2], "…", *lines[-LINES_MAX // 2 :]])
