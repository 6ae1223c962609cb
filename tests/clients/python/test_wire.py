"""What SDKs hide: the order of lines in a stream, and the server's description of itself."""

import json
import pathlib
import urllib.request

import pytest
from conftest import MODEL, URL

DESCRIPTION = pathlib.Path(__file__).parents[3] / "crates/server/openapi.json"
ASK = [{"role": "user", "content": "Tell me about a fish."}]


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"})
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/responses", {"input": "Tell me about a fish.", "max_output_tokens": 4}),
        ("/v1/messages", {"messages": ASK, "max_tokens": 4}),
    ],
)
def test_events_are_named_before_they_come(path, fields):
    # Some clients act on the data as soon as they have it.
    with ask(path, {"model": MODEL, "stream": True, **fields}) as response:
        assert response.headers.get_content_type() == "text/event-stream" and response.headers["x-request-id"]
        events = [event.splitlines() for event in response.read().decode().split("\n\n") if event]
    for lines in events:
        if lines[0].startswith(":"):
            continue
        name, data = lines
        assert name == "event: " + json.loads(data.removeprefix("data:"))["type"]
    assert len(events) > 4


def test_streams_of_the_older_apis_end_with_done():
    for path, fields in (("/v1/chat/completions", {"messages": ASK}), ("/v1/completions", {"prompt": "One day"})):
        with ask(path, {"model": MODEL, "stream": True, "max_tokens": 4, **fields}) as response:
            events = [event for event in response.read().decode().split("\n\n") if event and not event.startswith(":")]
        assert all(event.startswith("data: ") for event in events) and events[-1] == "data: [DONE]"


def test_the_server_describes_itself():
    with ask("/openapi.json") as response:
        assert response.headers.get_content_type() == "application/json"
        assert json.load(response) == json.loads(DESCRIPTION.read_text())
