from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from llmrec.errors import InputError, ModelError, SchemaError
from llmrec.models import LanguageModel
from llmrec.models.endpoint import KEY, Endpoint, misfit
from llmrec.models.scripted import simplest
from llmrec.types import Message

HELLO = (Message("system", "Be short."), Message("user", "Hello"))
SCHEMA = {
    "type": "object",
    "properties": {
        "turn": {"enum": ["add", "reset"]},
        "years": {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
    },
    "required": ["turn"],
    "additionalProperties": False,
}


@dataclass
class Answer:
    """One thing that the server answers: JSON, plain text, or the lines of a stream."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def said(self) -> str:
        return str(self.body["messages"][-1]["content"])


class Server:
    """What a test sees of a chat server: its address, its requests, what it answers."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer | str] = []
        self.reply: Callable[[Request], Answer | str] = lambda _: self.answers.pop(0)
        self.pages = {"/v1/models": Answer({"object": "list", "data": [{"id": "tiny"}]})}
        self.hung_up = threading.Event()
        self.url = ""

    @property
    def chats(self) -> list[Request]:
        return [r for r in self.requests if r.path.endswith("/chat/completions")]


def completion(text: str | None) -> dict[str, Any]:
    """A whole answer, as vLLM writes it."""
    message = {"role": "assistant", "content": text, "tool_calls": []}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def chunk(delta: dict[str, Any] | None, finish: str | None = None) -> str:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    return f"data: {json.dumps({**body, 'choices': [choice]})}\n\n"


def handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            server.requests.append(Request(self.path, dict(self.headers), {}))
            self._send(server.pages.get(self.path, Answer({"detail": "Not Found"}, 404)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {k.lower(): v for k, v in self.headers.items()}
            request = Request(self.path, headers, body)
            server.requests.append(request)
            said = server.reply(request)
            self._send(Answer(completion(said)) if isinstance(said, str) else said)

        def _send(self, answer: Answer) -> None:
            streams = not isinstance(answer.body, (dict, str))
            pieces = answer.body
            if not streams:
                whole = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                pieces = [whole]
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if not streams:
                self.send_header("Content-Length", str(len(pieces[0].encode())))
            self.end_headers()
            try:
                for piece in pieces:
                    self.wfile.write(piece.encode())
                    self.wfile.flush()
            except OSError:
                server.hung_up.set()

    return Handler


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(server))
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv(KEY, raising=False)
    with serving() as made:
        yield made


def quick(server: Server, **options: Any) -> Endpoint:
    return Endpoint(server.url, **{"model": "tiny", "backoff": 0.0, **options})


def test_an_answer_and_what_is_sent_for_it(server: Server) -> None:
    server.answers = ["Hi."]
    model: LanguageModel = quick(server)
    assert model.name == "tiny"
    assert model.generate([HELLO], max_new_tokens=9, temperature=0.5, seed=4) == ["Hi."]
    (request,) = server.chats
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Hello"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 4,
        "stream": False,
    }
    assert model.generate([]) == []


def test_prompts_go_out_together_and_answers_keep_their_order(server: Server) -> None:
    under_way, most, lock = [0], [0], threading.Lock()

    def reply(request: Request) -> str:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.08 if request.said in "02" else 0.02)
        with lock:
            under_way[0] -= 1
        return f"{request.said} with seed {request.body['seed']}"

    server.reply = reply
    model = quick(server, concurrency=3)
    out = model.generate([[Message("user", str(i))] for i in range(8)], seed=10)
    assert out == [f"{i} with seed {10 + i}" for i in range(8)]
    assert 2 <= most[0] <= 3
    assert (model.usage.requests, model.usage.prompt_tokens, model.usage.completion_tokens) == (
        8,
        56,
        24,
    )


def test_a_fault_that_passes_is_tried_again(server: Server) -> None:
    server.answers = [
        Answer({"error": {"message": "boom"}}, 500),
        Answer("overloaded", 503),
        Answer({}, 429, {"Retry-After": "0.2"}),
        Answer({}, 429, {"Retry-After": formatdate(time.time() - 5, usegmt=True)}),
        Answer({}, 502, {"Retry-After": "soon"}),
        "At last.",
    ]
    model = quick(server, retries=5)
    began = time.monotonic()
    assert model.generate([HELLO]) == ["At last."]
    assert time.monotonic() - began >= 0.2
    assert model.usage.requests == 6


def test_waits_double(server: Server) -> None:
    server.answers = [Answer({}, 500)] * 3 + ["Ok."]
    began = time.monotonic()
    assert quick(server, backoff=0.03).generate([HELLO]) == ["Ok."]
    assert time.monotonic() - began >= 0.03 + 0.06 + 0.12


def test_patience_has_an_end(server: Server) -> None:
    server.answers = [Answer({"error": {"message": "boom"}}, 500)] * 3
    with pytest.raises(ModelError, match=r"answered 500 \(boom\): .* \(tried 3 times\)"):
        quick(server, retries=2).generate([HELLO])
    server.answers = [Answer({}, 429, {"Retry-After": "4000"})]
    with pytest.raises(ModelError, match=r"asks to wait 4,000 seconds \(tried 1 times\)"):
        quick(server).generate([HELLO])


def test_after_an_error_nothing_more_is_sent(server: Server) -> None:
    server.reply = lambda _: Answer({"detail": "no"}, 400)
    with pytest.raises(ModelError, match=r"answered 400 \(no\)"):
        quick(server, concurrency=1).generate([HELLO] * 50)
    assert len(server.chats) < 10


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer({"error": {"message": "no such model"}}, 404), "the name of the model"),
        (
            Answer({"error": {"message": "This model's maximum context length is 512"}}, 400),
            "shorten the conversation",
        ),
        (
            Answer({"error": "the request exceeds the available context size"}, 400),
            "shorten the conversation",
        ),
        (Answer({"message": "odd"}, 400), r"answered 400 \(odd\): .* does not take this"),
        (Answer("<html>hello</html>"), "does not answer as a chat server"),
        (Answer({"choices": []}), "does not answer as a chat server"),
    ],
)
def test_what_goes_wrong_is_said(server: Server, answer: Answer, said: str) -> None:
    server.answers = [answer]
    with pytest.raises(ModelError, match=said):
        quick(server).generate([HELLO])
    assert len(server.chats) == 1


def test_an_empty_answer_is_an_empty_text(server: Server) -> None:
    server.answers = [Answer(completion(None))]
    assert quick(server).generate([HELLO]) == [""]


def test_no_server_and_a_slow_one(server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = Endpoint(f"http://me:secret@127.0.0.1:{port}/v1", model="tiny", retries=1, backoff=0)
    with pytest.raises(ModelError, match=rf"http://127.0.0.1:{port}/v1 cannot be reached") as e:
        model.generate([HELLO])
    assert "secret" not in str(e.value)
    assert model.usage.requests == 2

    def late(_: Request) -> str:
        time.sleep(0.3)
        return "late"

    server.reply = late
    with pytest.raises(ModelError, match=r"did not answer within 0\.05 seconds"):
        quick(server, timeout=0.05, retries=0).generate([HELLO])


def test_the_key_goes_to_the_server_and_never_into_an_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(request: Request) -> Answer:
        return Answer({"error": f"bad key: {request.headers['authorization']}"}, 401)

    server.reply = echo
    monkeypatch.setenv(KEY, "sk-very-secret")
    with pytest.raises(ModelError, match=f"answered 401 .*set {KEY}") as e:
        quick(server).generate([HELLO])
    assert server.chats[0].headers["authorization"] == "Bearer sk-very-secret"
    shown = str(e.value) + repr(e.getrepr(chain=True, style="native"))
    assert "very-secret" not in shown


def test_the_login_of_the_hub_is_not_for_strangers(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    server.answers = ["Hi."]
    quick(server, model=None).generate([HELLO])
    assert len(server.chats) == 1
    assert "hf_mine" not in str([r.headers for r in server.requests])


@pytest.mark.parametrize(
    ("address", "given"),
    [
        ("https://router.huggingface.co/v1", True),
        ("https://abc.us-east-1.aws.endpoints.huggingface.cloud/v1", True),
        ("http://router.huggingface.co/v1", False),  # anyone on the way could read it
        ("https://someone-app.hf.space/v1", False),
        ("https://huggingface.co.example.org/v1", False),
        ("https://nothuggingface.co/v1", False),
    ],
)
def test_the_login_goes_to_hugging_face_alone(
    address: str, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.delenv("LLMREC_API_KEY", raising=False)
    sent = Endpoint(address)._wire._headers["authorization"]
    assert (sent == "Bearer hf_mine") is given


def test_the_only_model_of_a_server_is_taken(server: Server) -> None:
    server.answers = ["1", "2"]
    model = quick(server, model=None)
    assert model.generate([HELLO])[0] + model.generate([HELLO])[0] == "12"
    assert [r.path for r in server.requests].count("/v1/models") == 1
    assert [r.body["model"] for r in server.chats] == ["tiny", "tiny"]


def test_of_several_models_one_must_be_named(server: Server) -> None:
    server.pages["/v1/models"] = Answer({"data": [{"id": "a"}, {"id": "b"}]})
    with pytest.raises(ModelError, match=r"serves 2 models \(a, b\): say with model="):
        quick(server, model=None).generate([HELLO])


def test_a_server_may_want_a_key_for_its_models(server: Server) -> None:
    server.pages["/v1/models"] = Answer({"detail": "who are you?"}, 401)
    with pytest.raises(ModelError, match=rf"answered 401 \(who are you\?\): set {KEY}"):
        quick(server, model=None).generate([HELLO])
    assert server.chats == []


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_may_not_tell_its_models(server: Server, status: int) -> None:
    server.pages["/v1/models"] = Answer("no", status)
    server.answers = ["Hi."]
    assert quick(server, model=None).generate([HELLO]) == ["Hi."]


def test_a_stream_comes_in_pieces(server: Server) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    last = {"id": "c", "created": 1, "model": "tiny", "choices": [], "usage": usage}
    server.answers = [
        Answer({}, 503),
        Answer(
            [
                chunk({"role": "assistant", "content": ""}),
                chunk({"content": "Olá"}),
                ": a comment that keeps the line open\n\n",
                chunk(None),
                chunk({"content": None}),
                chunk({"content": ", mundo"}),
                chunk({}, "stop"),
                f"data: {json.dumps(last)}\n\n",
                "data: [DONE]\n\n",
            ],
            headers={"Content-Type": "text/event-stream"},
        ),
    ]
    model = quick(server)
    assert list(model.stream(HELLO, max_new_tokens=5)) == ["Olá", ", mundo"]
    assert (model.usage.completion_tokens, model.usage.requests) == (2, 2)
    assert server.chats[-1].body["stream"] is True


def test_a_stream_that_nobody_reads_is_hung_up(server: Server) -> None:
    def endless() -> Iterator[str]:
        while not server.hung_up.is_set():
            yield chunk({"content": "x" * 2000})
            time.sleep(0.001)

    server.answers = [Answer(endless())]
    stream = quick(server).stream(HELLO)
    assert next(stream).startswith("x")
    stream.close()  # type: ignore[attr-defined]
    assert server.hung_up.wait(5)


def test_a_stream_that_breaks_off_says_so(server: Server) -> None:
    server.answers = [
        Answer([chunk({"content": "a"}), 'data: {"error": {"message": "out of memory"}}\n\n'])
    ]
    stream = quick(server).stream(HELLO)
    assert next(stream) == "a"
    with pytest.raises(ModelError, match=r"broke off: .*out of memory"):
        next(stream)
    server.answers = [Answer([chunk({"content": "a"})], headers={"Content-Length": "9999"})]
    stream = quick(server).stream(HELLO)
    with pytest.raises(ModelError, match="cannot be reached"):
        list(stream)


def test_a_schema_is_sent_and_kept(server: Server) -> None:
    server.answers = ['<think>{So}</think>\n```json\n{"turn":"add","years":[1999]}\n```']
    assert quick(server).generate([HELLO], schema=SCHEMA) == ['{"turn": "add", "years": [1999]}']
    sent = server.chats[0]
    named = {"name": "answer", "schema": SCHEMA}
    assert sent.body["response_format"] == {"type": "json_schema", "json_schema": named}
    assert sent.said.startswith("Hello\n\n")
    assert json.dumps(SCHEMA) in sent.said


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("Sure! Here it is:", "it is not JSON"),
        ('{"turn": "add"', "it is not JSON"),
        ('{"years": []}', "it lacks 'turn'"),
        ('{"turn": "later"}', "it.turn is none of add, reset"),
        ('{"turn": "add", "years": ["1999"]}', r"it.years\[0\] must be of type integer"),
        ('{"turn": "add", "more": 1}', "it has 'more', which is not allowed"),
    ],
)
def test_a_misshapen_answer_is_asked_for_once_more(server: Server, bad: str, why: str) -> None:
    server.answers = [bad, '{"turn": "reset"}']
    assert quick(server).generate([HELLO], schema=SCHEMA) == ['{"turn": "reset"}']
    again = server.chats[1].body["messages"]
    assert again[-2] == {"role": "assistant", "content": bad}
    assert why.replace("\\", "") in again[-1]["content"]
    server.answers = [bad, bad]
    with pytest.raises(SchemaError, match=why):
        quick(server).generate([HELLO], schema=SCHEMA)


def test_a_server_without_formats_is_asked_in_words(server: Server) -> None:
    def reply(request: Request) -> Answer | str:
        if "response_format" in request.body:
            return Answer({"error": "'response_format.type' must be 'json_schema' or 'text'"}, 400)
        return '{"turn": "add"}'

    server.reply = reply
    model = quick(server, concurrency=1)
    assert model.generate([HELLO, HELLO], schema=SCHEMA) == ['{"turn": "add"}'] * 2
    forms = [r.body.get("response_format", {}).get("type") for r in server.chats]
    assert forms == ["json_schema", "json_object", None, None]  # what was refused is remembered
    assert model.capabilities.forms == ("words",)


def test_values_that_meet_a_schema_and_values_that_do_not() -> None:
    bounded = {
        "type": "object",
        "properties": {
            "text": {"type": "string", "minLength": 2, "maxLength": 3},
            "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
            "kind": {"const": "a"},
            "either": {"anyOf": [{"type": "boolean"}, {"type": "number"}]},
            "list": {"type": "array", "items": {"enum": [1, 2]}, "minItems": 1, "maxItems": 2},
        },
        "required": ["text", "n", "kind", "either", "list"],
    }
    right = {"text": "abc", "n": None, "kind": "a", "either": 1.5, "list": [1, 2], "extra": 0}
    assert misfit(right, bounded) is None
    assert misfit(simplest(bounded), bounded) is None
    assert misfit(simplest(SCHEMA), SCHEMA) is None
    for name, value, why in (
        ("text", "abcd", "it.text has 4 characters, maxLength is 3"),
        ("text", 5, "it.text must be of type string"),
        ("n", 0, "it.n is 0, minimum is 1"),
        ("n", True, "it.n must be of type integer or null"),
        ("kind", "b", "it.kind must be 'a'"),
        ("either", "x", "it.either fits none"),
        ("list", [], "it.list has 0 entries, minItems is 1"),
        ("list", [1, 3], "it.list[1] is none of 1, 2"),
    ):
        assert (misfit({**right, name: value}, bounded) or "").startswith(why)
    assert misfit([], bounded) == "it must be of type object"


def test_options_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="'localhost:8000' is no endpoint: give an address"):
        Endpoint("localhost:8000")
    with pytest.raises(InputError, match="provider is 'groq': it goes with a model's id"):
        Endpoint("http://127.0.0.1:1/v1", provider="groq")
    with pytest.raises(InputError, match="model is 'x': it goes with an address"):
        Endpoint("a/b", model="x")
    with pytest.raises(InputError, match="max_new_tokens is 0: give 1 or more"):
        Endpoint("a/b").generate([HELLO], max_new_tokens=0)
    with pytest.raises(InputError, match="concurrency is 0: give 1 or more"):
        Endpoint("a/b", concurrency=0)
    with pytest.raises(InputError, match="temperature is -1"):
        Endpoint("a/b").generate([HELLO], temperature=-1)
    with pytest.raises(InputError, match="no messages"):
        Endpoint("a/b").stream([])


def test_without_a_login_no_provider_is_asked(tmp_path: Any) -> None:
    code = (
        "from llmrec.models.endpoint import Endpoint; from llmrec.types import Message\n"
        "Endpoint({!r}, retries=0).generate([[Message('user', 'hi')]])"
    )

    def said(where: str, **extra: str) -> str:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        env = {**kept, "HF_HOME": str(tmp_path), **extra}
        run = [sys.executable, "-c", code.format(where)]
        return subprocess.run(run, env=env, capture_output=True, text=True).stderr

    assert "needs a token: set HF_TOKEN or run hf auth login" in said("org/model")
    offline = said("http://127.0.0.1:9/v1", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline
    assert "unset it" in offline
