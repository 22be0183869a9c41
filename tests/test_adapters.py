"""An adapter stands for its base, its tokenizer and its profile."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import world

from llmrec.errors import ModelError
from llmrec.folders import public_name
from llmrec.models.files import find_file
from llmrec.models.local import EMBEDDED, EMBEDDED_NAME, LocalModel
from llmrec.models.profile import Profile
from llmrec.recommender import Recommender
from llmrec.titles import told_apart
from llmrec.types import Message

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
PLAIN = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"


def adapter(to: Path, base: str, network: Any = None) -> Path:
    """A LoRA adapter whose weights do something."""
    from peft import LoraConfig, get_peft_model
    from torch import nn

    made = get_peft_model(
        network or tiny.network(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    )
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.5)
    made.save_pretrained(to)
    config = json.loads((to / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    (to / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return to


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tiny.folder(tmp_path / "base")


def test_an_adapter_alone_brings_its_base(base: Path, tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", str(base))
    prompt = [1, 8, 9, 10]
    plain = LocalModel.from_pretrained(base, device="cpu")
    both = LocalModel.from_pretrained(base, adapter=tuned, device="cpu")
    alone = LocalModel.from_pretrained(tuned, device="cpu")
    assert alone.name == both.name == "base + tuned"
    wanted = both.prefill(prompt).logprobs
    assert alone.prefill(prompt).logprobs.tolist() == wanted.tolist()
    assert plain.prefill(prompt).logprobs.tolist() != wanted.tolist()


def test_a_base_must_be_named(tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", "")
    with pytest.raises(ModelError, match="does not name its base model: give the base first"):
        LocalModel.from_pretrained(tuned)


def test_an_adapter_s_tokenizer_and_profile_come_first(base: Path, tmp_path: Path) -> None:
    tuned = adapter(tmp_path / "tuned", str(base))
    assert LocalModel.from_pretrained(tuned, device="cpu").profile == Profile()
    (base / "llmrec.json").write_text('{"detail": "brief"}', encoding="utf-8")
    assert LocalModel.from_pretrained(tuned, device="cpu").profile.detail == "brief"
    tiny.tokenizer(PLAIN).save_pretrained(tuned)
    own = Profile("rules-only", "turns", writes=False)
    (tuned / "llmrec.json").write_text(json.dumps(dataclasses.asdict(own)), encoding="utf-8")
    model = LocalModel.from_pretrained(tuned, device="cpu")
    assert model.profile == own
    assert model.chat.prompt_text([Message("user", "U")]) == "[U]"


def test_an_adapter_of_the_embedded_model_recommends(tmp_path: Path) -> None:
    embedded = LocalModel.from_pretrained(EMBEDDED_NAME)
    assert embedded.name == "llmrec-embedded"
    tuned = adapter(tmp_path / "tuned", EMBEDDED_NAME, embedded.model)
    rec = Recommender.from_pretrained(tuned, catalog=world.catalog())
    assert rec.model.name == "llmrec-embedded + tuned"
    assert rec.recommend("a horror film", k=2)
    assert find_file(EMBEDDED, "llmrec.json") == EMBEDDED / "llmrec.json"
    assert find_file(EMBEDDED, "nothing.json") is None


def test_titles_are_told_apart_by_their_years() -> None:
    titles = ["It", "Heat", "It", "It", "Up"]
    years = [1990, 1995, 2017, None, 2009]
    assert told_apart(titles, years) == ["It (1990)", "Heat", "It (2017)", "It", "Up"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("runs/redial", "runs/redial"),
        ("me/name", "me/name"),
        ("/home/me/runs/redial", "redial"),
        ("../secret/redial", "redial"),
        ("~/redial", "redial"),
    ],
)
def test_a_path_that_leads_out_is_published_by_its_name(path: str, shown: str) -> None:
    assert public_name(path) == shown
