"""Language models over HTTP, against a server on this machine."""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sfvgen_plan.agents.language import LanguageModel
from sfvgen_plan.agents.sub_goals import LanguageSubGoals, text_at
from sfvgen_plan.errors import UserError

TASK = "memory/return"
CARD = SimpleNamespace(tasks={TASK: "tidy up"}, sub_goals=["move the red cube to the left"])
FRAME = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)


@pytest.fixture
def server(monkeypatch):
    """Stub endpoint: gives ``answers`` (status, text) in turn; ``seen`` holds path, headers and body of requests."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    stub = SimpleNamespace(answers=[], seen=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.seen.append((self.path, dict(self.headers), body))
            status, text = stub.answers.pop(0)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args):
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{http.server_port}/v1"
    yield stub
    http.shutdown()
    http.server_close()


def said(text):
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def test_the_request_is_a_chat_completion(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    server.answers = [said("hello")]
    model = LanguageModel(server.url + "/", "tiny", key_variable="MY_KEY")
    assert model.complete([{"role": "user", "content": "hi"}]) == "hello"
    path, headers, body = server.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret" and headers["Content-Type"] == "application/json"
    assert body == {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
    assert "secret" not in repr(model)


def test_address_from_the_environment_and_no_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.answers = [said("hello")]
    assert LanguageModel(name="tiny").complete([]) == "hello"
    assert "Authorization" not in server.seen[0][1]


def test_a_busy_endpoint_is_asked_again(server):
    server.answers = [(503, "busy"), (429, "slowly"), said("at last")]
    assert LanguageModel(server.url, "tiny", pause=0.01).complete([]) == "at last"
    server.answers = [(503, "busy")] * 3
    with pytest.raises(UserError, match="HTTP 503"):
        LanguageModel(server.url, "tiny", pause=0.01).complete([])
    assert server.answers == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [((401, "wrong key"), "HTTP 401: 'wrong key'"), ((200, "<html>"), "no chat"), ((200, '{"error": 1}'), "KeyError")],
)
def test_other_answers_are_refused_at_once(server, answer, message):
    server.answers = [answer, said("too late")]
    with pytest.raises(UserError, match=message):
        LanguageModel(server.url, "tiny").complete([])
    assert len(server.answers) == 1


def test_nobody_listens():
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9/v1 did not answer"):
        LanguageModel("http://127.0.0.1:9/v1", "tiny", attempts=1).complete([])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base_url": "http://x"}, "name is empty"),
        ({"name": "a"}, "OPENAI_BASE_URL"),
        ({"name": "a", "base_url": "file:///etc"}, "no address"),
    ],
)
def test_settings_that_cannot_work(values, message, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UserError, match=message):
        LanguageModel(**values)


def test_sub_goals_are_the_list_in_the_answer(server):
    server.answers = [said('Sure:\n```json\n["move the red cube to the left", " put it back "]\n```')]
    source = LanguageSubGoals(LanguageModel(server.url, "tiny"), SimpleNamespace(card=CARD), decisions=4)
    schedule = source.split(TASK, 0, lambda: FRAME)
    assert schedule == (("move the red cube to the left", 4), ("put it back", 4))
    assert [text_at(schedule, n) for n in (0, 3, 4, 99)] == [schedule[0][0]] * 2 + [schedule[1][0]] * 2
    text, image = server.seen[0][2]["messages"][0]["content"]
    assert "tidy up" in text["text"] and "- move the red cube to the left" in text["text"]
    png = base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), FRAME)


def test_without_pictures_none_is_made(server):
    server.answers = [said('["go"]')]
    source = LanguageSubGoals(LanguageModel(server.url, "tiny"), SimpleNamespace(card=CARD), picture=False)
    assert source.split(TASK, 0, lambda: pytest.fail("drawn")) == (("go", 30),)
    assert isinstance(server.seen[0][2]["messages"][0]["content"], str)


@pytest.mark.parametrize("answer", ["I can't", "[]", '["", "go"]', "[1]", "] ["])
def test_answers_that_are_no_list_of_texts(server, answer):
    server.answers = [said(answer)]
    source = LanguageSubGoals(LanguageModel(server.url, "tiny"), SimpleNamespace(card=CARD))
    with pytest.raises(UserError, match="no list of sub-goals"):
        source.split(TASK, 0, lambda: FRAME)
