"""Extras is what the owner of a page adds to the talk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmrec.errors import InputError

if TYPE_CHECKING:
    from llmrec.demo.feedback import Feedback
    from llmrec.recommender import Recommender

__all__ = ["Extras"]

_HOST = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?\Z", re.ASCII)


@dataclass(frozen=True)
class Extras:
    """What the owner of a page adds to the talk.

    Attributes
    ----------
    contestants: recommenders over one catalogue that visitors compare blind, by name; None: none.
    runs: a folder with evaluation runs to show.
    feedback: where likes and votes of visitors who agree are kept; None: nowhere.
    uploads: whether visitors may bring catalogues of their own.
    pictures: hosts from which pictures of the catalogue's items are shown ("*.example.org" for
        all under one); none: no request leaves the page's own server.
    links: whether a list can be shared by a link.

    Raises
    ------
    InputError: what is no host is given in ``pictures``.
    """

    contestants: Mapping[str, Recommender] | None = None
    runs: Path | None = None
    feedback: Feedback | None = None
    uploads: bool = True
    pictures: tuple[str, ...] = ()
    links: bool = False

    def __post_init__(self) -> None:
        hosts = tuple(dict.fromkeys(h.strip().lower() for h in self.pictures))
        for host in hosts:
            if not _HOST.match(host):
                raise InputError(
                    f"pictures may not come from {host!r}: give a host alone, such as "
                    "img.example.org, or *.example.org for all under it"
                )
        object.__setattr__(self, "pictures", hosts)
