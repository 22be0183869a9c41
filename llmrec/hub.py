"""Hub hides huggingface_hub: a folder goes up as one commit, comes down without pickles.

Where the Hub refuses or does not answer there is one sentence that says what to do, and never the
token.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import escape
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, TypeVar

from llmrec._version import __version__
from llmrec.errors import HubError, InputError

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

__all__ = ["Kind", "clear_error", "pull", "push_folder", "ready_to_push"]

Kind = Literal["model", "dataset", "space"]
_T = TypeVar("_T")

_NAME = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?"
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
# Left at home without a word. Event files carry the name of the machine.
_HOME_FOLDERS = (".git", ".cache", "__pycache__", "checkpoint-*")
_HOME_FILES = (
    ".ds_store",
    "*.tfevents.*",
    "optimizer.bin",
    "optimizer.pt",
    "rng_state*.pth",
    "scaler.pt",
    "scheduler.pt",
    "trainer_state.json",
    "training_args.bin",
)
_PICKLES = ("*.bin", "*.ckpt", "*.joblib", "*.pickle", "*.pkl", "*.pt", "*.pth")
_SECRETS = (
    ".env",
    ".env.*",
    ".netrc",
    "*.key",
    "*.pem",
    "*.token",
    "*_token",
    "*_token.*",
    "credentials",
    "credentials.*",
    "id_rsa*",
    "secrets.*",
    "stored_tokens",
    "token",
    "token.*",
)
_SCANNED_BYTES = 8_000_000  # a larger file is data
_TOKEN_CHARS = 8  # a shorter one, of a server for tests, may stand in any text
_TOKEN_LIKE = re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")
_READABLE = (
    "*.csv",
    "*.gguf",
    "*.jinja",
    "*.json",
    "*.jsonl",
    "*.md",
    "*.model",
    "*.parquet",
    "*.safetensors",
    "*.tsv",
    "*.txt",
    "*.yaml",
)
_WAITS_S = (0.5, 1.0, 2.0)  # beside those of huggingface_hub, which waits longer for an upload
_PASSING = (408, 429, 500, 502, 503, 504)

# What an error is known by: its class (also of what caused it), or the status of the answer.
_BY_CLASS = {
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, so the Hub is not asked for {repo}: unset it, "
    "or use a folder",
    "GatedRepoError": "{repo} is gated: ask for access on its page, then " + _LOGIN,
    "RevisionNotFoundError": "{repo} has no such branch, tag or commit: look at its page for those",
    "RepositoryNotFoundError": "the Hub has no {repo}, or shows it to its owners only: check the "
    "name, or " + _LOGIN,
    "RemoteEntryNotFoundError": "{repo} has no such file: look at its page for those it has",
    "HFValidationError": "the Hub takes no such name: use owner/name of letters, digits, '-', '_' "
    "and '.'",
    "LocalTokenNotFoundError": "there is no token for the Hub: " + _LOGIN,
}
_BY_STATUS = {
    400: "the Hub does not take it",
    401: "the Hub does not know your token: " + _LOGIN,
    402: "the Hub asks for a subscription",
    403: "your token may not do this with {repo}: make one with write access to it in the settings "
    "of your account, then " + _LOGIN,
    404: "the Hub has no {repo}: check the name",
    409: "someone else changes {repo} at this moment: try again",
    413: "the Hub finds it too large: leave files out with ignore",
    429: "the Hub is asked too often: wait some minutes",
}
_BY_NETWORK = {
    "TimeoutError": "the Hub did not answer in time: try again later",
    "TimeoutException": "the Hub did not answer in time: try again later",
    "ConnectError": "nothing answers at {endpoint}: check the network, or HF_ENDPOINT",
    "NetworkError": "the connection to {endpoint} broke: try again",
    "RemoteProtocolError": "the connection to {endpoint} broke: try again",
    "ConnectionError": "nothing answers at {endpoint}: check the network, or HF_ENDPOINT",
}


def ready_to_push(repo_id: str, *, kind: Kind = "model") -> None:
    """Whether a push could begin, to be asked before hours of work; the Hub is not asked.

    Raises
    ------
    InputError: the name or the kind cannot be used.
    HubError: there is no token, or HF_HUB_OFFLINE is set.
    """
    _check(repo_id, kind, owned=True)
    _login(repo_id, kind)


def push_folder(
    folder: str | PathLike[str],
    repo_id: str,
    *,
    kind: Kind = "model",
    private: bool | None = None,
    message: str = "",
    revision: str | None = None,
    ignore: Sequence[str] = (),
    delete: Sequence[str] = (),
    progress: bool = True,
) -> str:
    """Put the files of a folder into a repository of the Hub, in one commit; returns its address.

    The repository is made where there is none. A reader sees the whole push or nothing of it, and
    files that the repository has beside those of the folder stay, unless ``delete`` says otherwise.
    What was sent is not sent again by the next push, however this one ended. Checkpoints, the state
    of a training and logs stay at home; the folder is only read.

    Parameters
    ----------
    private: whether a new repository is private; None: what its owner has set. True refuses a
        repository that is there and public.
    message: of the commit; "": says which version of llmrec pushed.
    revision: the branch, made where there is none; None: main.
    ignore: patterns of further paths to leave out, as in ``"runs/*"``.
    delete: patterns of paths, as in ``"llmrec/*"``: what the repository has there and the folder
        has not is deleted in the same commit; ``.gitattributes``, which is the Hub's own, stays.
    progress: show bars on stderr, and a line where nothing is new.

    Raises
    ------
    InputError: the folder, the name or the kind cannot be used; a file is a pickle or looks like
        a secret.
    HubError: no token, HF_HUB_OFFLINE is set, or the Hub refuses or does not answer; it says what
        was done, and the command that finishes it.
    """
    _check(repo_id, kind, owned=True)
    source = Path(folder)
    files, left = _chosen(source, ignore)
    token = _login(repo_id, kind)
    _refuse(source, files, token)
    _metadata(source)
    push = _Push(source, files, repo_id, kind, private, message, revision, tuple(delete), token)
    problem = None
    try:
        with _bars(progress):
            push.run()
    except HubError:
        raise
    except Exception as e:
        problem = str(clear_error(e, repo_id, kind=kind))
    # Outside of the handler, so that no traceback shows what the Hub answered.
    if problem:
        raise HubError(
            f"{source} was not pushed to {repo_id}: {problem}; {push.done}, and nothing in "
            f"{source} changed; to finish, run the same command again, or: {push.command(left)}"
        )
    if progress and not push.is_new:
        print(f"{repo_id} has all of {source} already: no new commit", file=sys.stderr)
    return push.url


def pull(
    repo_id: str,
    *,
    kind: Kind = "model",
    revision: str | None = None,
    allow: Sequence[str] | None = None,
) -> Path:
    """The files of a repository of the Hub, in the local cache; never pickles.

    With HF_HUB_OFFLINE set, or no network, what an earlier call has brought is given.

    Parameters
    ----------
    revision: branch, tag or commit.
    allow: patterns of paths to bring; None: weights as safetensors or GGUF, tables, settings and
        texts.

    Raises
    ------
    InputError: the name or the kind cannot be used.
    HubError: the Hub refuses or does not answer, or the repository holds nothing of this kind.
    """
    _check(repo_id, kind, owned=False)
    from huggingface_hub import snapshot_download

    wanted = list(_READABLE if allow is None else allow)

    def download() -> Path:
        found = snapshot_download(
            repo_id,
            repo_type=kind,
            revision=revision,
            allow_patterns=wanted,
            ignore_patterns=[_any_case(p) for p in _PICKLES],
        )
        return Path(found)

    problem = None
    try:
        place = _patiently(download)
    except Exception as e:
        problem = str(clear_error(e, repo_id, kind=kind))
    if problem:
        raise HubError(f"{repo_id} was not fetched: {problem}")
    if not place.is_dir() or not any(p.is_file() for p in place.rglob("*")):
        raise HubError(
            f"the {kind} {repo_id} has no file that matches {', '.join(wanted)}: look at its page "
            "for what it has (pickles are never fetched)"
        )
    return place


def clear_error(error: BaseException, repo_id: str, *, kind: Kind = "model") -> HubError:
    """One sentence of what went wrong with a repository and what to do; the token is never in it.

    Parameters
    ----------
    error: of huggingface_hub, of its HTTP client, or of anything under them.
    """
    from huggingface_hub import constants

    errors = list(_chain(error))
    classes = [c.__name__ for e in errors for c in type(e).__mro__]
    status = _status(errors)
    said = _said(errors)
    template = next((t for name, t in _BY_CLASS.items() if name in classes), None)
    if template is None and status is not None:
        late = f"the Hub is in trouble ({status}): try again later"
        template = late if status >= 500 else _BY_STATUS.get(status, "the Hub refuses")
        if status < 500 and status != 401 and said:
            said = said.replace("{", "{{").replace("}", "}}")
            template += f" ({status}, it says: {said})"
    if template is None:
        template = next((t for name, t in _BY_NETWORK.items() if name in classes), None)
    if template is None:
        return HubError(f"{type(error).__name__}: {said}" if said else type(error).__name__)
    where = re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)  # a proxy's password may stand in it
    return HubError(template.format(repo=f"{kind} {repo_id}", endpoint=where))


@dataclass
class _Push:
    """One push; ``done`` says at any moment how far it came."""

    folder: Path
    files: Sequence[PurePosixPath]
    repo_id: str
    kind: Kind
    private: bool | None
    message: str
    revision: str | None
    delete: tuple[str, ...]
    token: str = field(repr=False)
    done: str = "nothing was sent"
    url: str = ""
    is_new: bool = True

    def run(self) -> None:
        from huggingface_hub import HfApi

        api = HfApi(token=self.token, library_name="llmrec", library_version=__version__)
        self.url = str(_patiently(lambda: self._make(api)))
        self.done = "the repository is there and has nothing of this push"
        if self.revision is not None:
            branch = self.revision
            _patiently(
                lambda: api.create_branch(
                    self.repo_id, branch=branch, repo_type=self.kind, exist_ok=True
                )
            )
        before = _patiently(
            lambda: api.repo_info(self.repo_id, repo_type=self.kind, revision=self.revision)
        )
        if self.private and not before.private:
            raise HubError(
                f"{self.folder} was not pushed: private was asked for, and {self.kind} "
                f"{self.repo_id} is public; make it private on its settings page, or take another "
                "name"
            )
        self.is_new = _patiently(lambda: self._commit(api)) != before.sha

    def _make(self, api: HfApi) -> str:
        sdk = None
        if self.kind == "space":
            sdk = str(_metadata(self.folder).get("sdk") or "gradio")
        return api.create_repo(
            self.repo_id,
            repo_type=self.kind,
            private=self.private,
            space_sdk=sdk,
            exist_ok=True,
        )

    def _commit(self, api: HfApi) -> str:
        """Send what the Hub does not have, then commit; made anew each time it is tried."""
        self.done = (
            "the repository is there and has nothing of this push, and what was sent so far is "
            "not sent again"
        )
        additions = self._additions()
        api.preupload_lfs_files(
            self.repo_id,
            additions=additions,
            repo_type=self.kind,
            revision=self.revision,
            free_memory=False,
        )
        self.done = "all files were sent, and a reader sees the whole push or nothing of it"
        made = api.create_commit(
            self.repo_id,
            operations=[*additions, *self._deletions(api)],
            commit_message=self.message or f"Push with llmrec {__version__}",
            repo_type=self.kind,
            revision=self.revision,
        )
        return str(made.oid)

    def _additions(self) -> list[CommitOperationAdd]:
        from huggingface_hub import CommitOperationAdd

        return [
            CommitOperationAdd(path_in_repo=str(path), path_or_fileobj=self.folder / path)
            for path in self.files
        ]

    def _deletions(self, api: HfApi) -> list[CommitOperationDelete]:
        from huggingface_hub import CommitOperationDelete

        if not self.delete:
            return []
        held = api.list_repo_files(self.repo_id, repo_type=self.kind, revision=self.revision)
        return [
            CommitOperationDelete(path_in_repo=path, is_folder=False)
            for path in held
            if any(fnmatchcase(path, pattern) for pattern in self.delete)
            and path != ".gitattributes"
            and not (self.folder / path).is_file()
        ]

    def command(self, left: Sequence[str]) -> str:
        """What finishes the push without llmrec; ``left``: patterns of what stays at home."""
        words = ["hf", "upload", self.repo_id, str(self.folder), ".", "--repo-type", self.kind]
        if self.revision is not None:
            words += ["--revision", self.revision]
        if self.private:
            words.append("--private")
        for pattern in left:
            words += ["--exclude", pattern]
        for pattern in self.delete:
            words += ["--delete", pattern]
        return shlex.join(words)


def _check(repo_id: str, kind: str, *, owned: bool) -> None:
    if kind not in ("model", "dataset", "space"):
        raise InputError(f"kind is {kind!r}: use 'model', 'dataset' or 'space'")
    shape = f"{_NAME}/{_NAME}" if owned else f"(?:{_NAME}/)?{_NAME}"
    fits = isinstance(repo_id, str) and re.fullmatch(shape, repo_id, re.ASCII)
    if not fits or "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise InputError(
            f"{repo_id!r} is no name of a repository: use owner/name of letters, digits, single "
            "'-', '_' and '.'"
        )


def _chosen(folder: Path, ignore: Sequence[str]) -> tuple[list[PurePosixPath], list[str]]:
    """The files to push, and the patterns that `hf upload` needs to leave out the rest."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the folder whose files are to be pushed")
    files: list[PurePosixPath] = []
    left: dict[str, None] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        away = [
            str(parent)
            for parent in name.parents
            if any(fnmatchcase(parent.name, p) for p in _HOME_FOLDERS)
        ]
        if away:
            left[f"{escape(away[-1])}/*"] = None
        elif _matches(name, _HOME_FILES) or any(fnmatchcase(str(name), p) for p in ignore):
            left[escape(str(name))] = None
        else:
            files.append(name)
    if not files:
        raise InputError(f"{folder} has no file to push: check the folder, and ignore")
    return files, list(left)


def _matches(path: PurePosixPath, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path.name.lower(), p) for p in patterns)


def _refuse(folder: Path, files: Sequence[PurePosixPath], token: str) -> None:
    for path in files:
        if _matches(path, _PICKLES):
            raise InputError(
                f"{folder / path} may be a pickle, which can run code where it is loaded: save it "
                f"as safetensors, or leave it out with ignore=({str(path)!r},)"
            )
        found = "looks like a secret" if _matches(path, _SECRETS) else ""
        if not found and (folder / path).stat().st_size <= _SCANNED_BYTES:
            text = (folder / path).read_bytes().decode("latin-1")
            if (len(token) >= _TOKEN_CHARS and token in text) or _TOKEN_LIKE.search(text):
                found = "has a token of the Hub in it"
        if found:
            raise InputError(
                f"{folder / path} {found}, and what is pushed can be read by others: take it out, "
                f"or leave the file out with ignore=({str(path)!r},)"
            )


def _login(repo_id: str, kind: Kind) -> str:
    from huggingface_hub import get_token, is_offline_mode
    from huggingface_hub.errors import OfflineModeIsEnabled

    if is_offline_mode():
        raise clear_error(OfflineModeIsEnabled(), repo_id, kind=kind)
    token = get_token()
    if not token:
        raise HubError(f"there is no token for the Hub to push {repo_id} with: {_LOGIN}")
    return token


def _metadata(folder: Path) -> dict[str, object]:
    """What the head of README.md says; the Hub would look at it only after all else was sent."""
    from huggingface_hub import metadata_load

    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    try:
        return metadata_load(readme) or {}
    except Exception as e:  # of YAML, which is no dependency of ours
        raise InputError(
            f"the metadata of {readme} cannot be read ({' '.join(str(e).split())}): correct the "
            "YAML between its first two lines of ---"
        ) from None


@contextmanager
def _bars(show: bool) -> Iterator[None]:
    """Silence the bars of huggingface_hub inside of the block."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if show or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _patiently(step: Callable[[], _T]) -> _T:
    """The result of a step, which is tried again where an error may pass."""
    for wait in _WAITS_S:
        try:
            return step()
        except Exception as e:
            errors = list(_chain(e))
            classes = {c.__name__ for one in errors for c in type(one).__mro__}
            passing = _status(errors) in _PASSING or not classes.isdisjoint(_BY_NETWORK)
            if not passing or "OfflineModeIsEnabled" in classes:
                raise
        time.sleep(wait)
    return step()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__


def _status(errors: Sequence[BaseException]) -> int | None:
    answers = (getattr(e, "response", None) for e in errors)
    return next((int(a.status_code) for a in answers if a is not None), None)


def _said(errors: Sequence[BaseException]) -> str:
    """The words of the server, else of the error, on one line and without any token."""
    from huggingface_hub import get_token

    words = [str(getattr(e, "server_message", None) or "") for e in errors]
    text = next((w for w in words if w.strip()), str(errors[-1]))
    if type(errors[0]) is ValueError:  # huggingface_hub's own sentence on a card
        text = str(errors[0])
    if token := get_token():
        text = text.replace(token, "(token)")
    text = re.sub(r"\bhf_\w+|(?i:\bbearer\s+\S+)", "(token)", text)
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= 300 else text[:297] + "..."


def _any_case(pattern: str) -> str:
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in pattern)
