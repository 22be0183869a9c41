"""Storage hides where the tables of a catalogue lie: in a folder, or at a URI of object storage.

A folder has the tables ``items`` and ``passages`` and beside them ``catalog.json``, and takes the
place of an old one as a whole. At a URI nothing can be renamed: there the tables of every build
have names of their own, and the one row of the table ``catalog`` holds what else would stand in
``catalog.json`` and tells which build counts. To write that row is to replace the catalogue. The
tables of former builds stay for a day, for those who still read them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from llmrec.errors import CatalogError, InputError, LLMRecError
from llmrec.folders import replacing, restore

__all__ = ["Draft", "Folder", "Options", "Shared", "StrPath", "storage_at"]

StrPath = str | os.PathLike[str]
Options = Mapping[str, str]

_SCHEMES = ("s3", "gs", "az", "file")
_URI = re.compile(r"([A-Za-z][\w+.-]+)://(.*)", re.DOTALL)
_META = "catalog"
_STAMP = "%Y%m%dT%H%M%S"
_OURS = re.compile(r"(?:items|passages)-(\d{8}T\d{6})-[0-9a-f]{8}")
_KEPT = timedelta(days=1)
_MOVING_S = 1.0  # how long a folder may be away while it is replaced
_SECRET = re.compile(r"key|secret|token|password|credential|signature|sas|account", re.IGNORECASE)
_OF_ENVIRONMENT = re.compile(r"(AWS|AZURE|GOOGLE|GCS|GS)_", re.IGNORECASE)
# What the clients of object storage say, by the words that all of their versions have.
_REASONS = (
    (
        r"NoSuchBucket|ContainerNotFound|bucket does not exist|ListRequest.*status: 404",
        "there is no such bucket: correct the address, or make the bucket first",
    ),
    (
        r"Failed to get \w+ credentials|CredentialsNotLoaded|no credentials|account name",
        "no credentials were found: give them as storage_options or in the environment",
    ),
    (
        r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|Auth\w*"
        r"Failed|status: 40[13]|Forbidden|Unauthori[sz]ed|PermissionDenied|Permission denied",
        "access was refused: give credentials that may read there, and to build also write, as "
        "storage_options or in the environment",
    ),
    (
        r"BadScheme",
        "its endpoint begins with http: give storage_options={'allow_http': 'true'} if you mean it",
    ),
    (
        r"kind: Connect|dns error|Connection refused|timed out|kind: Timeout|unreachable",
        "it cannot be reached: look at the network and the endpoint, and try again",
    ),
)


@dataclass
class Draft:
    """What a build fills: two tables by name, and what is to be said of them."""

    connection: Any
    items: str
    passages: str
    meta: dict[str, Any] = field(default_factory=dict)


class Folder:
    """A catalogue in a folder.

    Attributes
    ----------
    uri: how it is called.
    lasting: whether tables that are open stay as they are when another catalogue takes the place.
    """

    lasting = False

    def __init__(self, path: Path) -> None:
        self.path, self.uri = path, str(path)

    def said(self) -> str:
        """What is said of the catalogue, as JSON. Raises CatalogError, OSError or ValueError."""
        file = self.path / f"{_META}.json"
        aside = self.path.with_name(f".{self.path.name}.old")
        for _ in range(10):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return file.read_text(encoding="utf-8")
            if not aside.is_dir():
                break
            time.sleep(_MOVING_S / 10)  # between two renames of another process, or of a killed one
        restore(self.path)
        if not file.is_file():
            raise CatalogError(
                f"there is no catalogue at {self.path}: give a folder that Catalog.from_csv, "
                "from_jsonl, from_parquet or from_items has built"
            )
        return file.read_text(encoding="utf-8")

    def tables(self, meta: Mapping[str, Any]) -> tuple[Any, Any]:
        """The tables of items and of passages, None where there is none."""
        import lancedb

        connection = lancedb.connect(self.path)
        passages = connection.open_table("passages") if meta.get("passages") else None
        return connection.open_table("items"), passages

    @contextmanager
    def replacing(self) -> Iterator[Draft]:
        """Tables that become the catalogue if the block ends well. Raises CatalogError."""
        import lancedb

        if self.path.exists() and not (self.path / f"{_META}.json").is_file():
            raise CatalogError(
                f"{self.path} is there and is no catalogue: give a new path, or remove it first"
            )
        try:
            with replacing(self.path) as folder:
                draft = Draft(lancedb.connect(folder), "items", "passages")
                yield draft
                text = json.dumps(draft.meta, indent=1) + "\n"
                (folder / f"{_META}.json").write_text(text, encoding="utf-8")
        except OSError as e:
            raise self.failed(e) from e

    def copy(self, to: Folder) -> None:
        """Make another folder the same as this one."""
        with to.replacing() as draft:
            shutil.copytree(self.path, draft.connection.uri, dirs_exist_ok=True)
            draft.meta = json.loads(self.said())

    def kept(self, meta: Mapping[str, Any], name: str, read: Callable[[], Any]) -> Any:
        """What ``read`` gives: a folder is at hand."""
        return read()

    def beside(self, meta: Mapping[str, Any]) -> Path:
        """The folder for what is worked out of the catalogue: it goes when that is replaced."""
        return self.path / "kept"

    def failed(self, why: BaseException) -> CatalogError:
        """The error for a catalogue that could not be built."""
        return CatalogError(f"the catalogue at {self.uri} cannot be built: {str(why)[:300]}")

    def damaged(self, why: object) -> CatalogError:
        """The error for a catalogue that could not be read."""
        return _damaged(self.uri, str(why))


class Shared:
    """A catalogue at a URI, or in a folder that several machines have mounted.

    Otherwise as a Folder. The options are given to LanceDB and to nobody else: no message holds
    them.
    """

    lasting = True

    def __init__(self, uri: str, options: Options | None = None) -> None:
        self.uri = uri
        self._options = dict(options or {})
        self.path: Path | None = None
        if not _URI.match(uri) or uri.startswith("file:"):
            self.path = Path(unquote(uri.removeprefix("file://")))

    def said(self) -> str:
        """What is said of the catalogue, as JSON. Raises CatalogError, OSError or ValueError."""
        if self.path is not None and not self.path.is_dir():
            raise self._absent()
        try:
            table = self._connection.open_table(_META)
        except (ValueError, FileNotFoundError):
            if _META in _names(self._connection):
                raise
            raise self._absent() from None
        return str(table.to_arrow().to_pylist()[0]["said"])

    def tables(self, meta: Mapping[str, Any]) -> tuple[Any, Any]:
        """The tables of items and of passages, None where there is none."""
        connection, build = self._connection, meta["build"]
        passages = connection.open_table(f"passages-{build}") if meta.get("passages") else None
        return connection.open_table(f"items-{build}"), passages

    @contextmanager
    def replacing(self) -> Iterator[Draft]:
        """Tables that become the catalogue if the block ends well. Raises CatalogError."""
        with self._building():
            if self.path is not None:
                self.path.mkdir(parents=True, exist_ok=True)
            connection = self._connection
            there = _names(connection)
            if strange := [n for n in there if n != _META and not _OURS.fullmatch(n)]:
                raise CatalogError(
                    f"{self.uri} has other tables, as {strange[0]!r}: give a place of its own"
                )
            build = f"{datetime.now(timezone.utc):{_STAMP}}-{uuid.uuid4().hex[:8]}"
            draft = Draft(connection, f"items-{build}", f"passages-{build}")
        try:
            yield draft
        except BaseException as e:
            _drop(connection, {draft.items, draft.passages})
            if isinstance(e, OSError):
                raise self.failed(e) from None
            raise
        # From here on the new tables stay: what fails may have come through all the same.
        with self._building():
            before = json.loads(self.said())["build"] if _META in there else "none"
            _commit(connection, json.dumps({**draft.meta, "build": build}))
        _drop(connection, {n for n in there if _outdated(n) and not n.endswith(before)})

    def kept(self, meta: Mapping[str, Any], name: str, read: Callable[[], Any]) -> Any:
        """An Arrow table, from a copy on this machine if there is one of this very build."""
        if self.path is not None:
            return read()
        from pyarrow import ipc

        folder = self.beside(meta)
        file = folder / f"{name}.arrow"
        with contextlib.suppress(OSError, ValueError):  # none, or a damaged one
            return ipc.open_file(file.read_bytes()).read_all()
        table = read()
        with contextlib.suppress(OSError):  # the copy only saves time
            part = folder / f".{name}-{uuid.uuid4().hex[:8]}"
            with ipc.new_file(os.fspath(part), table.schema) as out:
                out.write_table(table)
            part.replace(file)
        return table

    def beside(self, meta: Mapping[str, Any]) -> Path:
        """The folder of this machine for what is worked out of the build."""
        own = hashlib.blake2b(self.uri.encode(), digest_size=8).hexdigest()
        folder = _cache() / own / str(meta["build"])
        if not folder.is_dir():
            with contextlib.suppress(OSError):  # what is kept only saves time
                folder.mkdir(mode=0o700, parents=True)
                for other in set(folder.parent.iterdir()) - {folder}:
                    shutil.rmtree(other, ignore_errors=True)
        return folder

    def failed(self, why: BaseException) -> CatalogError:
        """The error for a catalogue that could not be built."""
        reason = _reason(str(why)) or " ".join(self._clean(str(why)).split())[:300]
        return CatalogError(f"the catalogue at {self.uri} cannot be built: {reason}")

    def damaged(self, why: object) -> CatalogError:
        """The error for a catalogue that could not be read."""
        if reason := _reason(str(why)):
            return CatalogError(f"the catalogue at {self.uri} cannot be read: {reason}")
        return _damaged(self.uri, self._clean(str(why)))

    @contextmanager
    def _building(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, ValueError, LookupError) as e:
            if isinstance(e, LLMRecError):
                raise
            raise self.failed(e) from None  # what the client says may hold what it was given

    @cached_property
    def _connection(self) -> Any:
        import lancedb

        return lancedb.connect(self.path or self.uri, storage_options=self._options or None)

    def _absent(self) -> CatalogError:
        return CatalogError(
            f"there is no catalogue at {self.uri}: build one there, or copy one with Catalog.save"
        )

    def _clean(self, text: str) -> str:
        secret = [v for name, v in self._options.items() if _SECRET.search(name)]
        secret += [
            value
            for name, value in os.environ.items()
            if _OF_ENVIRONMENT.match(name) and _SECRET.search(name)
        ]
        for value in sorted(secret, key=len, reverse=True):
            text = text.replace(value, "***") if len(value) > 3 else text
        return text


def storage_at(place: StrPath, options: Options | None = None) -> Folder | Shared:
    """Where a catalogue lies or is to lie. Raises InputError for what is no such place."""
    text = os.fspath(place)
    found = _URI.match(text)
    if found is None:
        path = Path(os.path.abspath(text))
        if options:
            raise InputError(f"storage_options are for URIs, and {text} is a folder: give none")
        mounted = (path / f"{_META}.lance").is_dir() and not (path / f"{_META}.json").is_file()
        return Shared(str(path)) if mounted else Folder(path)
    scheme, rest = found[1].lower(), found[2].rstrip("/")
    if scheme not in _SCHEMES:
        raise InputError(
            f"{scheme}:// is no place for a catalogue: give the path of a folder, or a URI that "
            f"begins with {', '.join(f'{s}://' for s in _SCHEMES)}"
        )
    if scheme == "file" and not rest.startswith("/"):
        raise InputError(f"file://{rest} is no full path: write file:///, and the path from there")
    if scheme != "file" and (re.search(r"[@?#]", rest) or not re.match(r"[^/]+/[^/]", rest)):
        # The address is not repeated: people put credentials into it.
        raise InputError(
            f"the {scheme}:// address must be {scheme}://BUCKET/NAME and no more: credentials go "
            "into storage_options or the environment"
        )
    if odd := [name for name, value in (options or {}).items() if not isinstance(value, str)]:
        raise InputError(f"the storage option {odd[0]!r} is no text: write 'true' for True")
    if scheme == "file" and options:
        raise InputError(f"storage_options are for object storage, and {text} is a folder")
    if scheme == "file" and (Path(unquote(rest)) / f"{_META}.json").is_file():
        return Folder(Path(unquote(rest)))
    return Shared(f"{scheme}://{rest}", options)


def _names(connection: Any) -> list[str]:
    names: list[str] = []
    token = None
    while True:
        page = connection.list_tables(page_token=token)
        names += page.tables
        token = page.page_token
        if not token:
            return names


def _commit(connection: Any, said: str) -> None:
    """One commit of Lance: readers find the row before it or the row after it."""
    import pyarrow as pa

    mode = "overwrite" if _META in _names(connection) else "create"
    table = connection.create_table(_META, pa.table({"said": [said]}), mode=mode)
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # old rows only take room
        table.optimize(cleanup_older_than=_KEPT)


def _outdated(name: str) -> bool:
    found = _OURS.fullmatch(name)
    if found is None:
        return False
    made = datetime.strptime(found[1], _STAMP).replace(tzinfo=timezone.utc)
    return datetime.now(timezone.utc) - made > _KEPT


def _drop(connection: Any, names: set[str]) -> None:
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # a later build tries again
        for name in sorted(names & set(_names(connection))):
            connection.drop_table(name)


def _reason(text: str) -> str | None:
    return next((told for sign, told in _REASONS if re.search(sign, text)), None)


def _damaged(uri: str, why: str) -> CatalogError:
    short = " ".join(why.split())[:160]
    return CatalogError(
        f"the catalogue at {uri} is damaged or was replaced ({short}): open it again or rebuild it"
    )


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "llmrec" / "catalogs"
