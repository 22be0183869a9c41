from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmrec.errors import ModelError
from llmrec.models.profile import FILE, Profile


def test_a_folder_says_how_its_model_is_used(tmp_path: Path) -> None:
    written = {"lead": "rules", "detail": "brief", "writes": False}
    (tmp_path / FILE).write_text(json.dumps(written))
    assert Profile.read(tmp_path) == Profile("rules", "brief", False)
    assert Profile.read(str(tmp_path)) == Profile("rules", "brief", False)


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"writes": false}')
    assert Profile.read(tmp_path) == Profile("model", "full", False)


def test_a_folder_that_says_nothing_is_a_capable_model(tmp_path: Path) -> None:
    assert Profile.read(tmp_path) is None
    assert Profile() == Profile("model", "full", True)


@pytest.mark.parametrize("text", ["", "{", '{"leads": "rules"}', "[1]", "7", "null"])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ModelError, match=r"llmrec\.json cannot be read .*mend it or remove it"):
        Profile.read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *('{"lead": "nobody"}', '{"detail": "long"}', '{"writes": "perhaps"}'),
        *('{"taste": -1}', '{"taste": "much"}', '{"taste": true}', '{"taste": NaN}'),
    ],
)
def test_a_value_that_does_not_exist_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ModelError):
        Profile.read(tmp_path)


def test_a_model_of_the_hub_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Profile.read("nobody/has-this-model") is None
