"""Options and script hide how scripts are asked and how they end.

One dataclass is flags, YAML and checks; what cannot be done is one sentence and an exit status.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from llmrec.errors import InputError, LLMRecError

__all__ = ["Options", "option", "script"]

_KINDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
_T = TypeVar("_T", bound="Options")
_Main = TypeVar("_Main", bound=Callable[..., int])


def script(name: str, interrupted: str = "") -> Callable[[_Main], _Main]:
    """A decorator of ``main``: an LLMRecError becomes a sentence on stderr, and its status is 1.

    An interrupt ends it with 130; ``interrupted`` says what is left to the one who did.
    """
    stopped = "; ".join(filter(None, ("interrupted", interrupted)))

    def ending(main: _Main) -> _Main:
        @functools.wraps(main)
        def run(*args: Any, **options: Any) -> int:
            try:
                return main(*args, **options)
            except LLMRecError as e:
                print(f"{name}: {e}", file=sys.stderr)
                return 1
            except KeyboardInterrupt:
                print(f"{name}: {stopped}", file=sys.stderr)
                return 130

        return run  # type: ignore[return-value]

    return ending


def option(default: Any, said: str, *choices: str) -> Any:
    """A field of Options: its default, its help, and the values allowed if they are few."""
    return dataclasses.field(
        default=default, metadata=MappingProxyType({"help": said, "choices": choices})
    )


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a script; children are frozen dataclasses whose fields are ``option``.

    A field is a str, int, float or bool, perhaps ``| None``, or a tuple of str or int. Values of a
    wrong type, and those that are none of the choices, raise InputError.

    Attributes
    ----------
    PRESETS: a folder of ``NAME.yaml``, which ``--config NAME`` finds; None: there are none.
    ASIDE: the fields that do not change what comes out.
    """

    PRESETS: ClassVar[Path | None] = None
    ASIDE: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _checked(f, getattr(self, f.name)))

    @classmethod
    def add_flags(cls, parser: argparse.ArgumentParser) -> None:
        """Add ``--config`` and a flag for each field; those not given stay out of the result."""
        presets = f"a preset ({_presets(cls.PRESETS)}) or " if cls.PRESETS else ""
        parser.add_argument(
            "--config",
            metavar="NAME_OR_FILE" if cls.PRESETS else "FILE",
            help=f"{presets}a file of YAML; flags override it",
        )
        for f in dataclasses.fields(cls):
            said = f"{f.metadata['help']} (default: {_written(f.default)})".replace("%", "%%")
            more: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": f.name, "help": said}
            kind = str(f.type).removeprefix("tuple[").partition(",")[0].partition(" ")[0]
            if kind == "bool":
                more["action"] = argparse.BooleanOptionalAction
            elif f.metadata["choices"]:
                more["choices"] = f.metadata["choices"]
            else:
                more |= {"type": {"int": int, "float": float}.get(kind, str), "metavar": kind}
            if _is_list(f):
                more |= {"nargs": "+", "metavar": "NAME" if kind == "str" else "N"}
            parser.add_argument("--" + f.name.replace("_", "-"), **more)

    @classmethod
    def from_flags(cls: type[_T], flags: Mapping[str, Any]) -> _T:
        """The options of a parsed command line: those of ``--config``, overridden by flags.

        Raises
        ------
        InputError: the configuration cannot be read, or an option is unknown, of a wrong type, or
            contradicts another.
        """
        config = flags.get("config")
        values = {} if config is None else _read(config, cls.PRESETS)
        values |= {k: v for k, v in flags.items() if k != "config"}
        known = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                where = f"{config} has" if config else "there is"
                raise InputError(
                    f"{where} the option {name!r}, which is none: use {', '.join(known)}"
                )
        return cls(**values)

    @property
    def plain(self) -> dict[str, Any]:
        """Every option as plain JSON types."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @property
    def resolved(self) -> str:
        """Every option as YAML, which ``--config`` reads."""
        import yaml  # type: ignore[import-untyped]

        text: str = yaml.safe_dump(self.plain, sort_keys=False, allow_unicode=True)
        return text

    @property
    def decisive(self) -> dict[str, Any]:
        """The options that the result depends on."""
        return {name: value for name, value in self.plain.items() if name not in self.ASIDE}


def _presets(folder: Path | None) -> str:
    return ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) if folder else ""


def _read(config: str, presets: Path | None) -> dict[str, Any]:
    import yaml

    found = Path(config).expanduser()
    if presets and found.name == config and (presets / f"{config}.yaml").is_file():
        found = presets / f"{config}.yaml"
    if not found.is_file():
        names = _presets(presets) or "none here"
        also = f" and no preset: the presets are {names}" if presets else ": name a file of YAML"
        raise InputError(f"config is {config!r}, which is no file{also}")
    try:
        values = yaml.safe_load(found.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as e:
        said = " ".join(str(e).split())
        raise InputError(f"{found} cannot be read as YAML ({said}): mend it") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{found} holds no options: write them as 'name: value', one a line")
    return {str(name): value for name, value in values.items()}


def _is_list(f: dataclasses.Field[Any]) -> bool:
    return str(f.type).startswith("tuple")


def _checked(f: dataclasses.Field[Any], value: Any) -> Any:
    kind, _, optional = str(f.type).partition(" | ")
    if value is None and optional:
        return None
    if _is_list(f):
        of = "str" if "str" in kind else "int"
        said = "names" if of == "str" else "whole numbers"
        values = (value,) if type(value).__name__ == of else value
        if not isinstance(values, (list, tuple)) or any(type(v).__name__ != of for v in values):
            raise InputError(f"{f.name} is {value!r}: give a list of {said}, or one")
        if not values and f.default:
            raise InputError(f"{f.name} is empty: give {_written(f.default)}, for example")
        return tuple(values)
    if kind == "float":
        if isinstance(value, str):  # YAML reads 2e-4 as a text: it wants 2.0e-4
            value = _number(value)
        if isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
    if type(value).__name__ != kind or (kind == "float" and not math.isfinite(value)):
        raise InputError(f"{f.name} is {value!r}: give {_KINDS[kind]}")
    choices = f.metadata["choices"]
    if choices and value not in choices:
        raise InputError(f"{f.name} is {value!r}: use {', '.join(choices)}")
    return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "none" if value in (None, "") else str(value)
