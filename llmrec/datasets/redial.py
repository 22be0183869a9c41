"""Redial hides the files of ReDial: recommendation dialogues of people about films, in English.

Li et al., "Towards Deep Conversational Recommendations", NeurIPS 2018; CC BY 4.0.
"""

from __future__ import annotations

import re
from pathlib import Path

from llmrec.datasets.dialogues import Dialogues, split_named
from llmrec.errors import InputError

__all__ = ["Redial"]

_LINES = re.compile(r"\.jsonl(\.gz)?$")


class Redial(Dialogues):
    """ReDial as published: ``train_data.jsonl``, ``test_data.jsonl`` and a CSV file of films.

    Any ``*train*.jsonl`` and ``*test*.jsonl`` is taken, and ``movies_with_mentions.csv`` before
    ``movies.csv``; all may end in ``.gz``. Where there is no CSV file, the films are those that
    the dialogues name.

    An example is a turn of the recommender that mentions films: what was said before is the
    conversation (empty where the recommender opens), the films are relevant, the turn is the
    reply. Messages of one speaker in a row are one turn, each on a line of its own.
    ``Conversation.liked``, ``disliked`` and ``seen`` stay empty: both speakers answered their
    questions after the dialogue, so no recommender could know the answers while it went on. What
    the seeker then said to have liked (of films without such an answer: what the recommender
    says) is ``Example.likes``, for training targets.

    Parameters
    ----------
    path: the folder, or one file: training data unless its name says otherwise.
    turns: "films", or "all" to have the recommender's other turns too, with nothing relevant.
    validation, split_seed: the share of the training dialogues that is set aside, by dialogue,
        and the seed for it. Without meaning where the folder has a validation file of its own.
    benchmark: True to keep to the films of ``movieid_to_dbpedia.json``, which must lie in the
        folder: others are neither relevant nor items of a message. Texts still name them.

    Raises
    ------
    InputError: files that are not there, or an option that is not known.
    """

    name = "redial"
    title = "ReDial"
    homepage = "https://redialdata.github.io/website/"
    license = "cc-by-4.0"
    citation = (
        "Li, R., Kahou, S. E., Schulz, H., Michalski, V., Charlin, L., & Pal, C. (2018). "
        "Towards Deep Conversational Recommendations. NeurIPS 2018."
    )

    def _found(self, root: Path) -> dict[str, list[Path]]:
        if root.is_file():
            return {split_named(Path(root.name)) or "train": [root]}
        files: dict[str, list[Path]] = {}
        for file in sorted(root.glob("*")) if root.is_dir() else ():
            if _LINES.search(file.name) and (split := split_named(Path(file.name))):
                files.setdefault(split, []).append(file)
        if not files:
            raise InputError(
                f"there is no ReDial in {root}: it should hold train_data.jsonl or "
                "test_data.jsonl, and movies_with_mentions.csv or movies.csv"
            )
        return files
