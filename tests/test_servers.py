"""Servers: how they are told apart, asked and charged, by what each of them sends.

The tests of real servers need `llama-server` of llama.cpp (its path in LLMREC_LLAMA_SERVER, or on
the PATH), `transformers[serving]`, or `llama-cpp-python[server]`, and are skipped without.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_endpoint import HELLO, SCHEMA, Answer, Request, Server, chunk, completion, quick, serving
from world import catalog, said

from llmrec import Recommender
from llmrec.errors import InputError, ModelError, SchemaError
from llmrec.models.endpoint import KEY, Capabilities, Endpoint, Usage
from llmrec.models.endpoint.servers import detect
from llmrec.models.endpoint.wire import Answer as Told
from llmrec.models.profile import Profile
from llmrec.types import Message

FIT = '{"turn": "add"}'


def models(*entries: dict[str, Any]) -> Answer:
    return Answer({"object": "list", "data": [{"object": "model", **e} for e in entries]})


# What servers send of themselves, as their sources and guides of 2025 and 2026 have it.
PAGES: dict[str, dict[str, Answer]] = {
    "vllm": {
        "/v1/models": models(
            {"id": "Qwen/Qwen2.5-7B-Instruct", "owned_by": "vllm", "parent": None,
             "root": "Qwen/Qwen2.5-7B-Instruct", "max_model_len": 32768},
            {"id": "films", "owned_by": "vllm", "parent": "Qwen/Qwen2.5-7B-Instruct",
             "root": "/adapters/films", "max_model_len": None},
            {"id": "shop", "owned_by": "vllm", "parent": "Qwen/Qwen2.5-7B-Instruct",
             "root": "/adapters/shop", "max_model_len": None},
        ),
        "/version": Answer({"version": "0.11.0"}),
    },
    "tgi": {
        "/v1/models": models({"id": "meta-llama/Llama-3.1-8B-Instruct", "created": 0,
                              "owned_by": "meta-llama/Llama-3.1-8B-Instruct"}),
        "/info": Answer({"model_id": "meta-llama/Llama-3.1-8B-Instruct", "model_sha": None,
                         "max_concurrent_requests": 128, "max_best_of": 2,
                         "max_stop_sequences": 4, "max_input_tokens": 3000,
                         "max_total_tokens": 4096, "router": "text-generation-router",
                         "version": "3.3.4", "docker_label": "sha-1"}),
    },
    "ollama": {
        "/v1/models": models({"id": "llama3.2:latest", "owned_by": "library"},
                             {"id": "qwen3:8b", "owned_by": "library"}),
        "/api/version": Answer({"version": "0.12.3"}),
        "/api/ps": Answer({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest",
                                       "context_length": 4096}]}),
    },
    "lmstudio": {
        "/v1/models": models({"id": "qwen3-8b", "owned_by": "organization_owner"}),
        "/info": Answer({"error": "Unexpected endpoint or method. (GET /info)"}),
        "/api/version": Answer({"error": "Unexpected endpoint or method. (GET /api/version)"}),
        "/api/v0/models": models({"id": "qwen3-8b", "type": "llm", "state": "loaded",
                                  "max_context_length": 131072, "loaded_context_length": 8192}),
    },
    "llama.cpp": {
        "/v1/models": models({"id": "model.gguf", "owned_by": "llamacpp",
                              "meta": {"n_ctx_train": 2048}}),
        "/props": Answer({"default_generation_settings": {"n_ctx": 1024}, "total_slots": 2,
                          "build_info": "b7000-abc"}),
        "/lora-adapters": Answer('[{"id": 1, "path": "b/shop.gguf", "scale": 0.0},'
                                 '{"id": 0, "path": "a/films.gguf", "scale": 0.25}]'),
    },
    "llama-cpp-python": {
        "/v1/models": models({"id": "tiny", "owned_by": "me", "permissions": []}),
        "/openapi.json": Answer({"info": {"title": "\U0001f999 llama.cpp Python API",
                                          "version": "0.3.36"}, "paths": {}}),
    },
    "transformers": {
        "/v1/models": Answer("Internal Server Error", 500),
        "/openapi.json": Answer({"info": {"title": "FastAPI"}, "paths": {"/load_model": {}}}),
    },
    "providers": {
        "/v1/models": models(
            {"id": "openai/gpt-oss-20b", "owned_by": "openai", "providers": [
                {"provider": "groq", "status": "live", "context_length": 131072},
                {"provider": "nebius", "status": "live", "context_length": 65536},
                {"provider": "old", "status": "error", "context_length": 8}]},
            {"id": "a/b", "owned_by": "a", "providers": []},
        ),
    },
    "unknown": {"/v1/models": models({"id": "gpt-5", "owned_by": "system"})},
}  # fmt: skip
FACTS = {
    "vllm": ("0.11.0", 32768, ("films", "shop"), "Qwen/Qwen2.5-7B-Instruct"),
    "tgi": ("3.3.4", 4096, (), None),
    "ollama": ("0.12.3", 4096, (), "llama3.2"),
    "lmstudio": ("", 8192, (), None),
    "llama.cpp": ("b7000-abc", 1024, ("films", "shop"), None),
    "llama-cpp-python": ("0.3.36", None, (), None),
    "transformers": ("", None, (), "some/model"),
    "providers": ("", 65536, (), "openai/gpt-oss-20b"),
    "unknown": ("", None, (), None),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv(KEY, raising=False)
    with serving() as made:
        yield made


def of_kind(server: Server, kind: str, **options: Any) -> Endpoint:
    """An endpoint of a server that tells of itself what one of that kind does."""
    server.pages = {**PAGES[kind]}
    server.reply = lambda _: FIT
    return quick(server, **{"model": FACTS[kind][3], **options})


# -- what it is ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(PAGES))
def test_each_server_is_known_by_what_it_says(server: Server, kind: str) -> None:
    known = of_kind(server, kind).capabilities
    version, context, adapters, _ = FACTS[kind]
    assert (known.server, known.version, known.context) == (kind, version, context)
    assert known.adapters == adapters
    listed = PAGES[kind]["/v1/models"].body
    served = [m["id"] for m in listed["data"]] if kind != "transformers" else []
    assert known.models == tuple(m for m in served if m not in adapters)
    assert known.forms[-1] == "words"


def test_it_is_asked_once_and_with_the_first_request(server: Server) -> None:
    model = of_kind(server, "vllm")
    assert server.requests == []
    model.generate([HELLO] * 3)
    assert list(model.stream(HELLO)) == []
    assert model.capabilities is model.capabilities
    asked = [r.path for r in server.requests if not r.path.endswith("/chat/completions")]
    assert asked == ["/v1/models", "/version"]
    assert model.usage.requests == 4  # what it is asked of itself is none


@pytest.mark.parametrize(
    "page",
    ["no", {"data": "no"}, {"data": [{"id": 7}, "x", None]}, [], {"data": [{"owned_by": "vllm"}]},
     {"data": [{"id": "a", "providers": "x"}]}, {"data": [{"id": "a", "owned_by": "llamacpp"}]}],
)  # fmt: skip
def test_nothing_that_it_says_is_fatal(server: Server, page: Any) -> None:
    odd = Answer(json.dumps([{"id": "x", "path": "y"}, {"path": 3}, 7]))
    server.pages = {
        "/v1/models": Answer(json.dumps(page)),
        "/lora-adapters": odd,
        "/props": Answer("[1]"),
    }
    server.answers = ["Hi."]
    model = quick(server)
    assert model.generate([HELLO]) == ["Hi."]
    assert model.capabilities.adapters == ()


def test_a_silent_server_is_not_waited_for() -> None:
    waits = []

    def peek(path: str, timeout: float) -> None:
        waits.append(timeout)
        time.sleep(min(timeout, 0.4))

    began = time.monotonic()
    listed = Told(200, {}, {"data": [{"id": "a"}]})
    assert detect(peek, listed, None) == Capabilities(models=("a",), settled=False)
    assert time.monotonic() - began < 1.3
    assert waits == sorted(waits, reverse=True)
    assert 1.0 >= waits[0] > waits[-1]


def test_a_server_that_still_loads_is_asked_again(server: Server) -> None:
    loading = Answer({"error": {"code": 503, "message": "Loading model"}}, 503)
    server.pages = {"/v1/models": loading}
    model = quick(server)
    assert not model.capabilities.settled
    server.pages, server.reply = PAGES["llama.cpp"], lambda _: FIT
    assert model.capabilities.server == "llama.cpp"
    gone = Endpoint("http://127.0.0.1:9/v1", model="x", retries=0, backoff=0)
    for _ in range(5):
        with pytest.raises(ModelError, match="cannot be reached"):
            gone.generate([HELLO] * 3)
    assert not gone.capabilities.settled
    late = Endpoint("http://127.0.0.1:9/v1", adapter="films", retries=0, backoff=0)
    late._looked = 9.0  # it was waited for in vain
    assert not late.capabilities.settled
    with pytest.raises(ModelError, match="cannot be reached"):
        late.generate([HELLO])
    gone._wire.url = late._wire.url = server.url  # it came up
    late.generate([HELLO])
    assert server.chats[-1].body["lora"][0] == {"id": 0, "scale": 1.0}
    assert gone.capabilities.server == "llama.cpp"


def test_providers_are_asked_by_the_client_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import ChatCompletionOutput, ChatCompletionStreamOutput, InferenceClient

    asked = []

    def answer(client: InferenceClient, messages: Any, **options: Any) -> Any:
        asked.append({"messages": messages, "client": (client.model, client.provider), **options})
        if not options.get("stream"):
            return ChatCompletionOutput.parse_obj_as_instance(completion(FIT))
        pieces = [{"content": "Hi"}, {"content": None}, {"content": "."}]
        made = [{"choices": [{"index": 0, "delta": p}], "model": "m"} for p in pieces]
        return map(ChatCompletionStreamOutput.parse_obj_as_instance, made)

    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setattr(InferenceClient, "chat_completion", answer)
    model = Endpoint("openai/gpt-oss-20b", provider="groq")
    assert model.generate([HELLO], schema=SCHEMA, seed=3) == [FIT]
    assert asked[0]["client"] == ("openai/gpt-oss-20b", "groq")
    assert asked[0]["response_format"]["type"] == "json_schema"
    assert (asked[0]["seed"], asked[0]["messages"][0]["role"]) == (3, "system")
    assert list(model.stream(HELLO)) == ["Hi", "."]
    assert model.usage.prompt_tokens == 7


def test_a_model_that_is_loaded_by_its_first_request_tells_then(server: Server) -> None:
    model = of_kind(server, "ollama")
    loaded = server.pages["/api/ps"]
    server.pages["/api/ps"] = Answer({"models": []})
    model.generate([HELLO])
    assert (model.capabilities.server, model.capabilities.context) == ("ollama", None)
    server.pages["/api/ps"] = loaded
    model.generate([HELLO])
    assert model.capabilities.context == 4096
    before = len(server.requests)
    model.generate([HELLO])
    assert len(server.requests) == before + 1


# -- schemas -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "form"),
    [("vllm", "json_schema"), ("tgi", "json_object"), ("ollama", "json_schema"),
     ("lmstudio", "json_schema"), ("llama.cpp", "json_object"), ("transformers", None),
     ("llama-cpp-python", "json_object"), ("providers", "json_schema"), ("unknown", "json_schema")],
)  # fmt: skip
def test_a_schema_goes_in_the_form_it_takes(server: Server, kind: str, form: str | None) -> None:
    assert of_kind(server, kind).generate([HELLO], schema=SCHEMA) == [FIT]
    (chat,) = server.chats
    sent = chat.body.get("response_format", {})
    assert sent.get("type") == form
    assert json.dumps(SCHEMA) in chat.said  # and always in words as well
    if form == "json_object":
        assert sent["schema"] == sent["value"] == SCHEMA
    elif form:
        assert sent["json_schema"]["schema"] == SCHEMA


def test_what_is_refused_is_not_sent_again(server: Server) -> None:
    model = of_kind(server, "vllm")

    def old(request: Request) -> Answer | str:
        if "response_format" in request.body:
            return Answer({"object": "error", "message": "Unknown response_format type"}, 400)
        return FIT

    server.reply = old
    assert model.generate([HELLO, HELLO], schema=SCHEMA) == [FIT, FIT]
    assert model.capabilities.forms == ("guided_json", "words")
    assert server.chats[-1].body["guided_json"] == SCHEMA
    before = len(server.chats)
    assert model.generate([HELLO], schema=SCHEMA) == [FIT]
    assert len(server.chats) == before + 1


def test_another_refusal_is_an_error(server: Server) -> None:
    model = of_kind(server, "vllm")
    server.reply = lambda _: Answer({"message": "temperature is odd"}, 400)
    with pytest.raises(ModelError, match="temperature is odd"):
        model.generate([HELLO], schema=SCHEMA)
    assert model.capabilities.forms[0] == "json_schema"


# -- how much it reads ---------------------------------------------------------------------------


def test_a_conversation_is_cut_before_it_is_refused(server: Server) -> None:
    model = of_kind(server, "llama.cpp")
    turns = [Message("assistant" if n % 2 else "user", f"{n} " + "word " * 100) for n in range(21)]
    model.generate([[Message("system", "Be short."), *turns]], max_new_tokens=100)
    sent = server.chats[0].body["messages"]
    assert [m["role"] for m in sent[:2]] == ["system", "user"]
    assert sent[-1]["content"] == turns[-1].content
    assert 3 < len(sent) < 10
    assert sum(len(m["content"]) / 3 for m in sent) + 100 < 1024
    last = [Message("user", "word " * 2000)]
    model.generate([last])  # it is the server that refuses what cannot be cut
    assert [m["content"] for m in server.chats[1].body["messages"]] == [last[0].content]


def test_a_list_that_is_refused_as_too_long_leaves_the_signals(server: Server) -> None:
    model = of_kind(server, "unknown")
    said = "the request exceeds the available context size"
    server.reply = lambda _: Answer({"error": {"message": said}}, 400)
    rec = Recommender(model, catalog(), profile=Profile("rules", "full", writes=False))
    assert len(rec.recommend(["a crime film", "surprise me"], k=2)[0]) == 2
    assert rec.tally.unread == 2
    with pytest.raises(InputError, match="shorten the conversation"):
        model.generate([HELLO])


def test_a_list_of_candidates_is_cut_too(server: Server) -> None:
    model = of_kind(server, "llama.cpp")
    server.reply = lambda _: '{"chosen": ["1"]}'
    little = Answer({"default_generation_settings": {"n_ctx": 420}})
    server.pages = {**PAGES["llama.cpp"], "/props": little}
    profile = Profile(lead="rules", detail="full", writes=False)
    rec = Recommender(model, catalog(), profile=profile)
    assert len(rec.recommend("surprise me", k=2)) == 2
    listed = [x for x in server.chats[0].body["messages"][0]["content"].split("\n") if x[0] == "["]
    assert 2 <= len(listed) < 14


# -- adapters ------------------------------------------------------------------------------------


def test_adapters_go_as_each_server_takes_them(server: Server) -> None:
    films = of_kind(server, "vllm", adapter="films")
    films.generate([HELLO])
    assert server.chats[-1].body["model"] == "films"
    assert films.name == "Qwen/Qwen2.5-7B-Instruct with films"
    of_kind(server, "vllm", model=None).generate([HELLO])
    assert server.chats[-1].body["model"] == "Qwen/Qwen2.5-7B-Instruct"
    of_kind(server, "llama.cpp", adapter="shop").generate([HELLO])
    lora = [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    assert server.chats[-1].body["lora"] == lora
    assert server.chats[-1].body["cache_prompt"] is False
    of_kind(server, "llama.cpp").generate([HELLO])
    assert [a["scale"] for a in server.chats[-1].body["lora"]] == [0.25, 0.0]  # as it was set
    both = Answer('[{"id": 0, "path": "a"}, {"id": 1, "path": "b"}]')
    server.pages["/lora-adapters"] = both
    quick(server).generate([HELLO])
    assert [a["scale"] for a in server.chats[-1].body["lora"]] == [
        0.0,
        0.0,
    ]  # and never all at once
    list(of_kind(server, "llama.cpp", adapter="films").stream(HELLO))
    assert [a["scale"] for a in server.chats[-1].body["lora"]] == [1.0, 0.0]
    of_kind(server, "tgi", adapter="me/films").generate([HELLO])
    assert server.chats[-1].body["model"] == "me/films"  # its chat protocol has no other field
    of_kind(server, "tgi").generate([HELLO])
    assert server.chats[-1].body["model"] == "tgi"
    assert "lora" not in server.chats[-1].body


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("vllm", r"no adapter 'horror' \(films, shop\): name one of these, or start it with --en"),
        ("llama.cpp", r"no adapter 'horror' \(films, shop\): .* with --lora"),
        ("ollama", r"\(ollama\) takes no adapter with a request: serve a model that has 'horror'"),
        ("lmstudio", r"\(lmstudio\) takes no adapter"),
        ("transformers", r"\(transformers\) takes no adapter"),
        ("providers", r"\(providers\) takes no adapter"),
        ("unknown", r"\(unknown\) takes no adapter"),
    ],
)
def test_adapters_are_refused_elsewhere(server: Server, kind: str, why: str) -> None:
    with pytest.raises(ModelError, match=why):
        of_kind(server, kind, adapter="horror").generate([HELLO])
    assert server.chats == []


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["films.gguf", "shop.gguf"], ("films", "shop")),
        (["/x/films/adapter.gguf", "C:\\x\\shop\\adapter.gguf"], ("films", "shop")),
        (["/x/a/adapter.gguf", "/y/a/adapter.gguf"], ("0", "1")),
    ],
)
def test_what_files_of_adapters_are_called(
    server: Server, paths: list[str], names: tuple[str, ...]
) -> None:
    model = of_kind(server, "llama.cpp")
    loaded = [{"id": n, "path": p, "scale": 1.0} for n, p in enumerate(paths)]
    server.pages = {**PAGES["llama.cpp"], "/lora-adapters": Answer(json.dumps(loaded))}
    assert model.capabilities.adapters == names


# -- what it costs -------------------------------------------------------------------------------


def test_tokens_and_money_are_counted(server: Server) -> None:
    model = of_kind(server, "vllm", price=(2.0, 10.0), retries=1)
    whole = completion("Hi.")
    whole["usage"]["prompt_tokens_details"] = {"cached_tokens": 5}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": None}
    last = {"choices": [], "usage": usage}
    server.answers = [
        Answer({}, 503),
        Answer(whole),
        Answer([chunk({"content": "Hi."}), f"data: {json.dumps(last)}\n\n", "data: [DONE]\n\n"]),
    ]
    server.reply = lambda _: server.answers.pop(0)
    assert model.usage == Usage(cost=0.0)
    model.generate([HELLO])
    assert list(model.stream(HELLO)) == ["Hi."]
    used = model.usage
    assert (used.prompt_tokens, used.completion_tokens, used.cached_tokens) == (107, 53, 5)
    assert (used.requests, used.retries) == (3, 1)
    assert used.cost == pytest.approx((107 * 2 + 53 * 10) / 1e6)
    assert 0 < used.seconds < 5
    assert of_kind(server, "vllm").usage.cost is None


def test_options_of_servers_that_do_not_exist() -> None:
    with pytest.raises(InputError, match=r"price is \(1, -1\): give two"):
        Endpoint("a/b", price=(1, -1))
    with pytest.raises(InputError, match=r"price is \(1,\): give two"):
        Endpoint("a/b", price=(1,))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="adapter is 'x': it goes with an address"):
        Endpoint("a/b", adapter="x")
    assert Endpoint("a/b").capabilities == Capabilities("providers")


# -- choosing behind a server --------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(PAGES))
def test_a_server_chooses_from_the_catalogue(server: Server, kind: str) -> None:
    model = of_kind(server, kind)

    def choose(request: Request) -> str:
        lines = request.body["messages"][0]["content"].splitlines()
        number = next(x for x in lines if "] Nine Queens" in x).split("]")[0][1:]
        return json.dumps({"chosen": [number]})

    server.reply = choose
    rec = Recommender(model, catalog(), profile=Profile("rules", "full", writes=False))
    assert rec.grounding == "choose"
    reply = rec.chat(said("a crime film"), k=2)
    assert reply.recommendations[0].item.id == "nine-queens"
    assert {*reply.recommendations[1].item.genres} & {"Crime"}
    assert model.usage.requests == 1


@pytest.mark.parametrize("lie", ["Watch Heat!", '{"chosen": ["77", "1"]}', '{"chosen": ["1"'])
def test_a_server_that_lies_is_asked_twice_and_brings_nothing_in(server: Server, lie: str) -> None:
    model = of_kind(server, "ollama")
    server.reply = lambda _: lie
    rec = Recommender(model, catalog(), profile=Profile("rules", "full", writes=False))
    reply = rec.chat(said("a crime film"), k=3)
    assert {r.item.id for r in reply.recommendations} == {"city-of-god", "nine-queens", "secret"}
    assert len(server.chats) == 2
    assert reply.ungrounded == (("77",) if "77" in lie else ())


# -- real servers --------------------------------------------------------------------------------

ASKED = (
    [Message("system", "recommend"), Message("user", "genres: Horror")],
    [Message("user", "A romantic comedy from the nineties")],
    [Message("user", "Poderia indicar filmes de ação de até 2 horas?")],
)


@contextmanager
def running(command: Sequence[str]) -> Iterator[str]:
    """The address of a server that a command starts, which is given a port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def lora(folder: Path, seed: int) -> Path:
    """A LoRA of the embedded model, of random weights that change what is said."""
    import torch
    from peft import LoraConfig, get_peft_model

    from llmrec.models.local import EMBEDDED_NAME, LocalModel

    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear")
    tuned = get_peft_model(LocalModel.from_pretrained().model, config)
    torch.manual_seed(seed)
    for name, weight in tuned.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.1)
    tuned.save_pretrained(str(folder))
    said = json.loads((folder / "adapter_config.json").read_text())
    said["base_model_name_or_path"] = EMBEDDED_NAME
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as GGUF, and two adapters of it, each beside its own folder."""
    if importlib.util.find_spec("sentencepiece") is None:
        pytest.skip("the extra gguf (llama-cpp-python, sentencepiece) is not installed")
    from llmrec.errors import MissingExtraError
    from llmrec.training.converting import converter_folder
    from llmrec.training.exporting import ExportOptions, export

    try:
        converter = str(converter_folder())
    except (MissingExtraError, ModelError) as e:
        pytest.skip(str(e))
    home = tmp_path_factory.mktemp("served")
    export(ExportOptions(gguf=("f32",), llama_cpp=converter), home / "base")
    for seed, name in enumerate(("films", "shop"), 1):
        adapter = str(lora(home / f"{name}-lora", seed))
        export(ExportOptions(adapter, lora_gguf=True, llama_cpp=converter), home / name)
    return home


def llama_server(exported: Path) -> list[str]:
    """The command that starts llama.cpp's own server with the embedded model."""
    program = os.environ.get("LLMREC_LLAMA_SERVER") or shutil.which("llama-server")
    if program is None:
        pytest.skip("llama.cpp's server is not there: put llama-server on the PATH")
    # The numbers are those of transformers, so that the words can be compared.
    exact = "--cache-type-k f32 --cache-type-v f32 --flash-attn off --threads 1 --ctx-size 2048"
    exact += " --override-kv llama.context_length=int:4096"  # of 512 nothing is left for a list
    return [program, "--model", str(exported / "base" / "model-f32.gguf"), *exact.split()]


@pytest.fixture(scope="module")
def llama_cpp(exported: Path) -> Iterator[str]:
    """The address of llama.cpp's own server with two adapters."""
    adapters = ",".join(str(exported / n / "adapter.gguf") for n in ("films", "shop"))
    more = ["--parallel", "2", "--lora", adapters]  # which it would add up, if it were not told
    with running([*llama_server(exported), *more]) as url:
        yield url


def at(url: str, **options: Any) -> Endpoint:
    """An endpoint that is patient until the server has loaded."""
    return Endpoint(url, **{"retries": 9, "timeout": 120, **options})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_llama_cpp_answers_each_request_with_its_adapter(llama_cpp: str, exported: Path) -> None:
    from llmrec.models import LocalModel

    plain = at(llama_cpp)
    served = [plain, *(at(llama_cpp, adapter=name) for name in ("films", "shop"))]
    here = [LocalModel.from_pretrained()]
    here += [LocalModel.from_pretrained(exported / f"{n}-lora") for n in ("films", "shop")]
    right = [m.generate(ASKED, max_new_tokens=12) for m in here]
    assert right[0] != right[1] != right[2] != right[0]
    # In any order and at the same time: its cache must not mix them up, nor one answer for two.
    jobs = [(n, i) for n in range(3) for i in range(len(ASKED))] * 4
    random.Random(0).shuffle(jobs)

    def answer(job: tuple[int, int]) -> str:
        return served[job[0]].generate([ASKED[job[1]]], max_new_tokens=12)[0]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(answer, jobs)) == [right[n][i] for n, i in jobs]
    known = plain.capabilities
    assert (known.server, known.context, known.adapters) == ("llama.cpp", 1024, ("films", "shop"))
    with pytest.raises(ModelError, match=r"has no adapter 'horror' \(films, shop\)"):
        at(llama_cpp, adapter="horror").generate(ASKED)


@pytest.mark.slow
def test_llama_cpp_streams_counts_and_keeps_to_a_schema(exported: Path) -> None:
    with running([*llama_server(exported), "--parallel", "1"]) as url:
        model = at(url, price=(1.0, 2.0))
        (whole,) = model.generate([ASKED[1]], max_new_tokens=12)
        assert "".join(model.stream(ASKED[1], max_new_tokens=12)) == whole
        used = model.usage
        assert used.completion_tokens > 0
        assert used.cached_tokens > 0  # of the second time, as no adapter is loaded
        assert used.cost == pytest.approx((used.prompt_tokens + 2 * used.completion_tokens) / 1e6)
        (answer,) = model.generate([ASKED[0]], schema=SCHEMA, max_new_tokens=60)
        assert json.loads(answer)["turn"] in ("add", "reset")
        assert model.capabilities.forms[0] == "json_object"  # which it did not refuse
        with pytest.raises(ModelError, match="shorten the conversation"):
            model.generate([[Message("user", "word " * 3000)]])


@pytest.mark.slow
def test_llama_cpp_chooses_from_the_catalogue(llama_cpp: str) -> None:
    rec = Recommender(at(llama_cpp), catalog(), profile=Profile("rules", "full", writes=False))
    reply = rec.chat("a crime film", k=2)
    assert {r.item.id for r in reply.recommendations} < {"city-of-god", "nine-queens", "secret"}
    assert (rec.tally.answers, rec.tally.unread, rec.tally.unknown) == (1, 0, 0)
    assert rec.tally.picked >= 1


@pytest.mark.slow
def test_the_python_server_of_llama_cpp(exported: Path) -> None:
    if importlib.util.find_spec("starlette_context") is None:
        pytest.skip("llama_cpp.server needs pip install 'llama-cpp-python[server]'")
    model = f"{exported}/base/model-f32.gguf"
    command = [sys.executable, "-m", "llama_cpp.server", "--model", model, "--n_ctx", "2048"]
    with running([*command, "--n_threads", "1"]) as url:
        served = at(url)
        assert served.generate([ASKED[0]], max_new_tokens=12)[0]
        assert served.capabilities.server == "llama-cpp-python"
        (answer,) = served.generate([ASKED[0]], schema=SCHEMA, max_new_tokens=60)
        assert json.loads(answer)["turn"] in ("add", "reset")
        assert served.usage.completion_tokens > 0
        with pytest.raises(ModelError, match="takes no adapter with a request"):
            at(url, adapter="films").generate(ASKED)


@pytest.mark.slow
def test_transformers_serve() -> None:
    from llmrec.models import LocalModel
    from llmrec.models.local import EMBEDDED

    if importlib.util.find_spec("openai") is None or importlib.util.find_spec("uvicorn") is None:
        pytest.skip("transformers serve needs pip install 'transformers[serving]'")
    start = "from transformers.cli.transformers import main; main()"
    command = [sys.executable, "-c", start, "serve", str(EMBEDDED), "--device", "cpu"]
    with running([*command, "--dtype", "float32"]) as url:
        # It refuses connections while it loads: what the retries are for.
        remote = at(url, model=str(EMBEDDED))
        here = LocalModel.from_pretrained()
        said = remote.generate(ASKED[:1] * 2, max_new_tokens=12)
        assert said == here.generate(ASKED[:1] * 2, max_new_tokens=12)
        assert "".join(remote.stream(ASKED[0], max_new_tokens=12)) == said[0]
        assert remote.usage.completion_tokens > 0
        assert remote.capabilities.server == "transformers"
        # It keeps to no schema, and so small a model follows no words: the signals remain.
        with pytest.raises(SchemaError, match="no answer that meets the schema, twice"):
            remote.generate(ASKED[:1], schema=SCHEMA, max_new_tokens=12)
        rec = Recommender(remote, catalog(), profile=Profile("rules", "full", writes=False))
        crime = {r.item.id for r in rec.recommend("a crime film", k=3)}
        assert crime == {"city-of-god", "nine-queens", "secret"}
