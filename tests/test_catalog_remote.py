"""Catalogues at a URI: in a mounted folder, and on a local S3-compatible server where moto is."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrec import building
from llmrec.catalog import Catalog
from llmrec.errors import CatalogError, InputError
from llmrec.storage import Folder, Shared, storage_at
from llmrec.types import Item, Preferences
from tests.conftest import FILMS

SECRET = "wJalrXUtnFEMI-of-the-tests"
KEY_ID = "AKIAOFTHETESTS"
NEW = [Item(id=f"new-{i}", title=f"New film {i}", year=1990 + i) for i in range(9)]
TWO = [Item(id="one", title="One"), Item(id="two", title="Two")]


@dataclass(frozen=True)
class Place:
    """A place for a catalogue, and the bytes of all its files."""

    uri: str
    options: Mapping[str, str] | None
    files: Callable[[], Iterator[bytes]]

    def build(self, items: list[Item], **more: Any) -> Catalog:
        return Catalog.from_items(items, self.uri, storage_options=self.options, **more)

    def open(self, **more: Any) -> Catalog:
        return Catalog.open(self.uri, storage_options=self.options, **more)

    @property
    def arguments(self) -> list[str]:
        return [self.uri, *(f"{k}={v}" for k, v in (self.options or {}).items())]


@dataclass
class Bucket:
    """An S3 server of our own, with buckets that are made on demand."""

    url: str
    made: list[str] = field(default_factory=list)

    @property
    def options(self) -> dict[str, str]:
        return {
            "aws_access_key_id": KEY_ID,
            "aws_secret_access_key": SECRET,
            "aws_endpoint": self.url,
            "aws_region": "us-east-1",
            "allow_http": "true",
        }

    def place(self, name: str) -> Place:
        if name not in self.made:
            made = urllib.request.Request(f"{self.url}/{name}", method="PUT")
            urllib.request.urlopen(made).close()
            self.made.append(name)
        return Place(f"s3://{name}/films.lance", self.options, lambda: self._files(name))

    def _files(self, name: str) -> Iterator[bytes]:
        from pyarrow import fs

        host = self.url.removeprefix("http://")
        storage = fs.S3FileSystem(
            access_key=KEY_ID, secret_key=SECRET, endpoint_override=host, scheme="http"
        )
        for found in storage.get_file_info(fs.FileSelector(name, recursive=True)):
            if found.is_file:
                with storage.open_input_stream(found.path) as stream:
                    yield stream.read()


@contextmanager
def s3_server(**environment: str) -> Iterator[Bucket]:
    """moto's server in a process of its own; skips where there is none."""
    if not all(map(find_spec, ("moto", "flask", "flask_cors"))):
        pytest.skip("there is no S3 server here: pip install 'moto[s3]' flask flask-cors")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            for _ in range(600):
                if process.poll() is not None:
                    pytest.skip("moto's server does not start here: install it again")
                with suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
                    break
                time.sleep(0.1)
            yield Bucket(url)
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_server() as made:
        yield made


# The tests that start other processes take long where the machine is busy.
LONG = pytest.mark.parametrize(
    "place", ["folder", pytest.param("s3", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "s3":
        made: Bucket = request.getfixturevalue("bucket")
        return made.place(f"films-{len(made.made)}")
    folder = tmp_path / "mounted" / "films.lance"

    def files() -> Iterator[bytes]:
        yield from (f.read_bytes() for f in folder.rglob("*") if f.is_file())

    return Place(folder.as_uri(), None, files)


def tables(place: Place) -> list[str]:
    import lancedb

    at = place.uri.removeprefix("file://")
    options = dict(place.options) if place.options else None
    return list(lancedb.connect(at, storage_options=options).list_tables().tables)


class Letters:
    """An encoder without a model: how often each letter stands in a text."""

    name = "letters"

    def encode(self, texts: list[str], /) -> Any:
        return np.array([[1 + t.lower().count(c) for c in "abcdefghijkl"] for t in texts], float)


# What goes in comes out.


def test_what_is_built_at_a_uri_opens_there(place: Place) -> None:
    local = Catalog.from_items(FILMS)
    made = place.build(list(FILMS))
    for there in (made, place.open()):
        assert list(there) == list(FILMS)
        assert there.fingerprint == local.fingerprint
        assert there.uri == place.uri
        assert place.uri in repr(there)
        assert there.search("a world of simulation") == local.search("a world of simulation")
        wishes = Preferences(genres=("Comedy",), year_min=2000)
        assert there.filter(wishes).tolist() == local.filter(wishes).tolist() == [3]
        assert there.match_title("cidade de deus").item == FILMS[2]
        assert [h.item for h in there.passages("slum of Rio")] == [FILMS[2]]
        assert there.get("amelie") == FILMS[3]


def test_a_catalogue_is_copied_to_a_uri_and_back(place: Place, tmp_path: Path) -> None:
    texts = [f"Film {i} is told at length. " * 30 for i in range(3)]
    items = [Item(id=str(i), title=f"Film {i}", description=t) for i, t in enumerate(texts)]
    local = Catalog.from_items(items, tmp_path / "a", embedding_model=Letters())
    local.save(place.uri, storage_options=place.options)
    there = place.open(embedding_model=Letters())
    there.save(place.uri, storage_options=place.options)  # where it is already
    there.save(tmp_path / "b")
    back = Catalog.open(tmp_path / "b", embedding_model=Letters())
    for copy in (there, back):
        assert list(copy) == items
        assert copy.fingerprint == local.fingerprint
        assert copy.report == local.report
        assert copy.search("film", mode="hybrid") == local.search("film", mode="hybrid")
        assert copy.passages("told", mode="dense") == local.passages("told", mode="dense")
    of_both = [json.loads((tmp_path / c / "catalog.json").read_text()) for c in "ab"]
    assert of_both[0] == of_both[1]


def test_the_embedded_catalogue_is_copied_with_its_indices(place: Place) -> None:
    films = Catalog.embedded()
    films.save(place.uri, storage_options=place.options)
    there = place.open()
    assert there.fingerprint == films.fingerprint
    assert there.search("gangsters of New York") == films.search("gangsters of New York")


# One writer, and readers at the same time.


def test_who_has_it_open_reads_the_old_one(place: Place) -> None:
    place.build(list(FILMS))
    reader = place.open()
    assert reader.get("amelie") == FILMS[3]
    place.build(NEW)
    assert list(reader) == list(FILMS)
    assert reader.search("simulation")[0].item == FILMS[0]
    assert list(place.open()) == NEW


READER = """
import sys, time
from llmrec.catalog import Catalog
uri, *options = sys.argv[1:]
options = dict(o.split("=", 1) for o in options) or None
seen = []
until = time.monotonic() + 60
while time.monotonic() < until and "end" not in seen[-1:]:
    catalog = Catalog.open(uri, storage_options=options)
    titles = {item.title.split()[0] for item in catalog}
    assert len(titles) == 1, titles
    (state,) = titles
    assert len(catalog) == len(catalog.titles) == {"old": 40, "new": 70, "end": 1}[state]
    assert catalog.search(state, k=3)[0].item.title.startswith(state)
    seen.append(state)
    if len(seen) == 1:
        print("ready", flush=True)
print(len(seen), *dict.fromkeys(seen), flush=True)
"""


def state(name: str, n: int) -> list[Item]:
    return [Item(id=f"{name}-{i}", title=f"{name} {i}") for i in range(n)]


@LONG
def test_two_readers_and_a_writer_at_once(place: Place) -> None:
    place.build(state("old", 40))
    command = [sys.executable, "-c", READER, *place.arguments]
    readers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
        for _ in range(2):
            place.build(state("new", 70))
            place.build(state("old", 40))
        place.build(state("end", 1))
        for reader in readers:
            out, err = reader.communicate(timeout=120)
            assert reader.returncode == 0, err
            said = out.split()
            assert int(said[0]) >= 2
            assert said[-1] == "end"
            assert set(said[1:]) <= {"old", "new", "end"}
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def test_of_two_writers_at_once_one_counts(place: Place) -> None:
    place.build(state("old", 5))
    told: list[str] = []

    def write(name: str) -> None:
        try:
            place.build(state(name, 40))
        except CatalogError as e:
            told.append(str(e))

    writers = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all("cannot be built" in sentence for sentence in told)
    assert len(told) < 2
    there = place.open()
    assert {item.title.split()[0] for item in there} in ({"one"}, {"two"})
    assert len(there) == 40


def test_readers_of_a_plain_folder_find_it_whole_too(tmp_path: Path) -> None:
    path = tmp_path / "films.lance"
    place = Place(str(path), None, lambda: iter(()))
    place.build(state("old", 40))
    errors: list[BaseException] = []
    seen: list[str] = []

    def read() -> None:
        try:
            while "end" not in seen[-1:]:
                seen.append(place.open().titles[0].split()[0])
        except CatalogError as e:  # opened, and then replaced
            if "was replaced" in str(e) and path.exists():
                return read()
            errors.append(e)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(6):
        place.build(state("new", 40))
        place.build(state("old", 40))
    place.build(state("end", 1))
    reader.join(60)
    assert errors == []
    assert seen[-1] == "end"


KILLED = """
import sys
from llmrec import building
from llmrec.catalog import Catalog
from llmrec.types import Item
building._CHUNK_BYTES = 1  # every batch is written at once
def items():
    for i in range(9_000):
        yield Item(id=str(i), title=f"New {i}")
    print("half", flush=True)
    sys.stdin.read()
uri, *options = sys.argv[1:]
options = dict(o.split("=", 1) for o in options) or None
Catalog.from_items(items(), uri, storage_options=options)
"""


@LONG
def test_a_killed_writer_leaves_the_old_one(place: Place) -> None:
    place.build(list(FILMS))
    before = set(tables(place))
    reader = place.open()
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *place.arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        assert list(place.open()) == list(FILMS)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(set(tables(place)) - before) == 1  # what it had written
    assert list(place.open()) == list(reader) == list(FILMS)
    place.build(NEW)
    assert list(place.open()) == NEW


def test_a_build_that_fails_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_BATCH", 4)
    monkeypatch.setattr(building, "_CHUNK_BYTES", 1)  # every batch is written at once
    place.build(list(FILMS))
    before = tables(place)

    def broken() -> Iterator[Item]:
        yield from NEW
        assert len(tables(place)) == len(before) + 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Catalog.from_items(broken(), place.uri, storage_options=place.options)
    with pytest.raises(CatalogError, match="no row with a title"):
        place.build([])
    assert tables(place) == before
    assert list(place.open()) == list(FILMS)


def test_tables_of_former_builds_go_after_a_day(place: Place) -> None:
    import lancedb
    import pyarrow as pa

    at = place.uri.removeprefix("file://")
    options = dict(place.options) if place.options else None
    place.build(TWO)
    connection = lancedb.connect(at, storage_options=options)
    old = "items-20200101T000000-0123abcd"
    connection.create_table(old, pa.table({"row": [0]}))
    assert old in tables(place)
    second = place.build(NEW)
    assert old not in tables(place)
    assert len([name for name in tables(place) if name.startswith("items-")]) == 2
    assert list(second) == NEW


# Copies on this machine.


def test_columns_are_kept_on_this_machine(bucket: Bucket, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = bucket.place("kept")
    place.build(list(FILMS))
    first = place.open()
    assert first.titles[0] == "The Matrix"
    (file,) = tmp_path.rglob("title.arrow")
    kept = file.read_bytes()
    assert file.parent.stat().st_mode & 0o077 == 0
    assert place.open().titles == first.titles
    file.write_bytes(kept[: len(kept) // 2])
    assert place.open().titles == first.titles  # a damaged copy is made anew
    assert file.read_bytes() == kept
    place.build(NEW)
    assert place.open().titles == [item.title for item in NEW]
    assert not file.exists()
    assert SECRET.encode() not in b"".join(f.read_bytes() for f in tmp_path.rglob("*.arrow"))


# What cannot be.


def told(place: Place, caplog: pytest.LogCaptureFixture, capfd: Any) -> str:
    with pytest.raises(CatalogError) as caught:
        place.open()
    import traceback

    whole = "".join(traceback.format_exception(caught.value))
    for text in (whole, caplog.text, *capfd.readouterr()):
        assert SECRET not in text
        assert KEY_ID not in text
    return str(caught.value)


def with_options(place: Place, **options: str) -> Place:
    return Place(place.uri, {**(place.options or {}), **options}, place.files)


def test_what_is_missing_gets_one_sentence(bucket: Bucket, caplog: Any, capfd: Any) -> None:
    caplog.set_level(logging.DEBUG)
    empty = bucket.place("empty")
    assert told(empty, caplog, capfd) == (
        "there is no catalogue at s3://empty/films.lance: build one there, or copy one with "
        "Catalog.save"
    )
    nowhere = Place("s3://nobody-made-it/films.lance", empty.options, empty.files)
    said = "there is no such bucket: correct the address, or make the bucket first"
    assert said in told(nowhere, caplog, capfd)


@pytest.mark.slow
def test_what_cannot_be_reached_is_told_so(bucket: Bucket, caplog: Any, capfd: Any) -> None:
    empty = bucket.place("empty")
    nowhere = Place("s3://nobody-made-it/films.lance", empty.options, empty.files)
    with pytest.raises(CatalogError, match=r"cannot be built: there is no such bucket"):
        nowhere.build(TWO)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # and does not listen
        closed = with_options(empty, aws_endpoint=f"http://127.0.0.1:{s.getsockname()[1]}")
        assert "it cannot be reached: look at the network" in told(closed, caplog, capfd)
    no_http = {k: v for k, v in bucket.options.items() if k != "allow_http"}
    assert "allow_http" in told(Place(empty.uri, no_http, empty.files), caplog, capfd)


@pytest.mark.slow
def test_who_has_no_rights_is_told_so(caplog: Any, capfd: Any) -> None:
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="1") as strict:
        place = strict.place("films")
        said = told(place, caplog, capfd)
        assert "cannot be read: access was refused: give credentials that may read" in said
        with pytest.raises(CatalogError, match="cannot be built: access was refused"):
            place.build(TWO)


def test_credentials_are_nowhere_in_the_catalogue(place: Place, capfd: Any) -> None:
    made = place.build(list(FILMS))
    place.build(NEW)
    made.save(place.uri, storage_options=place.options)
    files = list(place.files())
    assert len(files) > 5
    for secret in (SECRET, KEY_ID):
        assert not any(secret.encode() in file for file in files)
        assert secret not in repr(made)
        assert not any(secret in text for text in capfd.readouterr())


def test_credentials_come_from_the_environment(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = {"aws_endpoint": "AWS_ENDPOINT_URL", "allow_http": "AWS_ALLOW_HTTP"}
    for name, value in bucket.options.items():
        monkeypatch.setenv(names.get(name, name.upper()), value)
    place = Place(bucket.place("environment").uri, None, lambda: iter(()))
    place.build(TWO)
    assert list(place.open()) == TWO


def test_what_a_client_says_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-environment")
    place = Shared("s3://b/c", {"aws_secret_access_key": SECRET, "region": "eu-west-1"})
    said = str(place.damaged(ValueError(f"{SECRET} in eu-west-1, of-the-environment")))
    assert "(*** in eu-west-1, ***)" in said


@pytest.mark.parametrize(
    ("uri", "options", "sentence"),
    [
        ("http://host/films.lance", None, "http:// is no place for a catalogue"),
        ("hf://datasets/me/films", None, "hf:// is no place for a catalogue"),
        ("s3://bucket", None, r"must be s3://BUCKET/NAME and no more"),
        (f"s3://{KEY_ID}:{SECRET}@bucket/a", None, r"must be s3://BUCKET/NAME and no more"),
        (f"az://box/a?sig={SECRET}", None, r"must be az://BUCKET/NAME and no more"),
        ("file://films.lance", None, "is no full path: write file:///"),
        ("file:///tmp/films.lance", {"a": "b"}, "storage_options are for object storage"),
        ("films.lance", {"a": "b"}, "storage_options are for URIs"),
        ("gs://bucket/a", {"allow_http": True}, "option 'allow_http' is no text: write 'true'"),
    ],
)
def test_addresses_that_cannot_be_used(uri: str, options: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        Catalog.open(uri, storage_options=options)
    assert SECRET not in str(caught.value)
    with pytest.raises(InputError, match=sentence):
        Catalog.from_items(TWO, uri, storage_options=options)


def test_other_tables_are_left_alone(place: Place) -> None:
    import lancedb
    import pyarrow as pa

    at = place.uri.removeprefix("file://")
    options = dict(place.options) if place.options else None
    lancedb.connect(at, storage_options=options).create_table("letters", pa.table({"a": [1]}))
    with pytest.raises(CatalogError, match="has other tables, as 'letters'"):
        place.build(TWO)
    assert tables(place) == ["letters"]


def test_a_path_and_a_file_uri_mean_the_same(tmp_path: Path) -> None:
    plain = Catalog.from_items(TWO, tmp_path / "a b")
    assert Catalog.open((tmp_path / "a b").as_uri()).path == plain.path == tmp_path / "a b"
    shared = Catalog.from_items(TWO, (tmp_path / "c").as_uri())
    assert list(Catalog.open(tmp_path / "c")) == TWO
    assert shared.path == tmp_path / "c"
    Catalog.from_items(NEW, tmp_path / "c")  # a bucket that is mounted stays what it is
    assert list(Catalog.open((tmp_path / "c").as_uri())) == NEW
    assert list(shared) == TWO
    assert isinstance(storage_at(tmp_path / "a b"), Folder)


def test_a_catalogue_in_a_bucket_has_no_path(bucket: Bucket) -> None:
    catalog = bucket.place("pathless").build(TWO)
    with pytest.raises(CatalogError, match="is in no folder: it has a uri alone"):
        _ = catalog.path
