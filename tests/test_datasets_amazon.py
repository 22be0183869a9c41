from __future__ import annotations

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unicodedata import category

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmrec.cleaning import clean
from llmrec.datasets import amazon_titles, json_blocks, load
from llmrec.datasets.amazon_titles import AmazonTitles
from llmrec.datasets.base import BROKEN
from llmrec.errors import InputError, LLMRecError
from llmrec.titles import fold
from llmrec.types import Item

LONG = "A long and sturdy rope for boats of any size, made of hemp that was grown by the sea. " * 2
LONG = LONG.strip()


def product(uid: object, title: object, content: object = LONG, **more: object) -> dict[str, Any]:
    return {"uid": uid, "title": title, "content": content, **more}


def write(path: Path, rows: Iterable[Any]) -> Path:
    """Objects as JSON, bytes as they are, one a line; packed if the name says so."""
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows]
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks and tables of a small file."""
    monkeypatch.setattr(json_blocks, "_BLOCK", 4_000)
    monkeypatch.setattr(amazon_titles, "_ROWS", 30)


def mixed(n: int, seed: int = 0) -> list[Any]:
    """Products with markup, holes, duplicates and broken lines among them."""
    rng = random.Random(seed)
    rows: list[Any] = []
    for i in range(n):
        text = LONG + f" No. {i} " + rng.choice(["", "<br>x", "&amp;lt;i&amp;gt;y", "  café\t"])
        row = product(f"u{i}", f"Rope {i}", text, target_ind=[i % 7, 3], target_rel=[1.0, 1.0])
        kind = rng.randrange(12)
        if kind == 0 and rows:
            row = rng.choice(rows)
            if isinstance(row, dict) and rng.random() < 0.5:
                row = row | {"uid": f"again{i}"}
        elif kind == 1:
            row[rng.choice(["title", "content"])] = rng.choice([None, "", "<p> </p>", "short"])
        elif kind == 2:
            row = rng.choice([b"{nonsense", b"[1]", b"", b'{"uid": "\xff"}', {"title": "x"}])
        rows.append(row)
    return rows


def tables(source: AmazonTitles, split: str = "train", after: Any = None) -> list[tuple[Any, Any]]:
    return [(t.to_pylist(), json.loads(json.dumps(c))) for t, c in source.tables(split, after)]


# Cleaning.


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("  two\u00a0 words\r\n\t\u2003end ", "two words end"),
        ("a < b and c > d, I <3 you, 1<2", "a < b and c > d, I <3 you, 1<2"),
        ("<b>Bold</b>moves", "Bold moves"),
        ("one<br>two<BR/>three<br />four", "one two three four"),
        ("<p class='x'>text</p>", "text"),
        ('<a title="x > y" href=z>link</a>', "link"),
        ("it <i don't>is</i> so", "it is so"),
        ("<!-- gone <b> --> here <!DOCTYPE html><?php x ?>", "here"),
        ("kept <!-- never closed", "kept"),
        ("x<script src='a'>var a = '<b>' && 1;</SCRIPT >y<style>p{}</style>z", "x y z"),
        ("x<script>never closed", "x"),
        ("Tom &amp; Jerry &quot;live&quot; &#8212; 5 &#x20AC; caf&eacute;&nbsp;!",
         'Tom & Jerry "live" — 5 € café !'),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("&amp;lt;b&amp;gt;bold&amp;lt;/b&amp;gt; R&amp;amp;amp;D", "bold R&D"),
        ("&lt;3 and a &lt; b", "<3 and a < b"),
        ("AT&T, R&D; a & b &unknown; &", "AT&T, R&D; a & b &unknown; &"),
        ("nul\x00l, del\x7fete, c1\x9f, \x1fblank", "null, delete, c1, blank"),
        ("&#0;&#1;x&#129;y", "\ufffdxy"),
        ("<\x00b>x&am\x01p;y", "x&y"),
        ("an open <tag at the end", "an open <tag at the end"),
        ("ação 日本 👩‍👩‍👧", "ação 日本 👩‍👩‍👧"),
        ("", ""),
    ],
)  # fmt: skip
def test_cleaning(text: str, wanted: str) -> None:
    assert clean(text) == wanted
    assert clean(wanted) == wanted


def test_what_is_nested_too_deep_loses_its_signs_and_takes_no_time() -> None:
    start = time.perf_counter()
    assert clean("<a" * 50_000 + ">" * 50_000).count("<") == 0
    assert clean("&am" * 50_000 + "&#112;" + "#112;" * 50_000).count("&") == 0
    assert clean("&" + "amp;" * 50_000 + "lt;b&gt;x") == "x"
    assert clean("<a '\" " * 50_000).startswith("<a '\" <a")
    assert clean("<!--" * 50_000) == ""
    assert clean("a &#" + "9" * 5_000 + "; b") == "a \ufffd b"
    assert clean("<script>" * 50_000) == ""
    assert time.perf_counter() - start < 5


pieces = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        "< > / ! ? & ; # <b <br> </ <!-- --> <script> </script> ' \" &lt; &gt &amp; &amp &#38; "
        "&#60 &#x3c; amp; lt; #1; &#1; &#129; &nbsp; \x00 \x1f \x85 \x9f \u3000 \u200b b 3".split(
            " "
        )
    ),
    st.sampled_from([" ", "  ", "\n"]),
)
texts = st.lists(pieces, max_size=14).map("".join)


@given(texts)
@example("<!-<b>- x -->")
@example("<<b>b>")
@example("&am&#112;lt;b&#62;")
def test_clean_text_has_no_tags_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not re.search(r"<[a-zA-Z/!?][^<>]*>", cleaned)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]|\s\s", cleaned)
    assert cleaned == cleaned.strip()
    if not re.search(r"[<&\x00-\x1f\x7f-\x9f]", text):
        assert cleaned == " ".join(text.split())


# Reading, against the plainest way to do it.


def by_hand(
    lines: list[bytes], min_chars: int
) -> tuple[list[tuple[str, str, str]], dict[str, int]]:
    """What is kept, and what is dropped why, one line after the other."""
    kept, dropped = [], Counter[str]()
    uids: set[str] = set()
    seen: set[tuple[str, str]] = set()
    for data in lines:
        if not data.strip():
            continue
        try:
            row = json.loads(data.decode())
            uid, title, content = (row.get(k) for k in ("uid", "title", "content"))
            assert isinstance(uid, str)
            assert uid
            assert all(t is None or isinstance(t, str) for t in (title, content))
        except (ValueError, AttributeError, AssertionError):
            dropped[BROKEN] += 1
            continue
        uid, title, text = (
            (t or "").encode("utf-8", "replace").decode() for t in (uid, title, content)
        )
        title, text = clean(title), clean(text)
        if not fold(title):
            dropped["no title"] += 1
        elif not text:
            dropped["no content"] += 1
        elif len(text) < min_chars:
            dropped[f"description under {min_chars} characters"] += 1
        elif uid in uids or (fold(title), text) in seen:
            dropped["duplicate"] += 1
        else:
            uids.add(uid)
            seen.add((fold(title), text))
            kept.append((uid, title, text))
    return kept, dict(dropped)


few = st.sampled_from(["a", "b", "A", "é", "e", "'a'", "x & y", "???", "\ud83d"])
values = st.one_of(few, texts, st.none())
odd = st.one_of(values, st.integers(), st.lists(st.integers(), max_size=2), st.just(float("nan")))
objects = st.fixed_dictionaries(
    {}, optional={"uid": odd | few, "title": values | odd, "content": values | odd, "z": odd}
)
ODD_LINES = [
    *(b"", b"  ", b"null", b"{}", b"[]", b"{", b"}", b"\xff", b"{" * 99, b'"a"}', b'{"uid":'),
    *(b'{"uid":"a"', b'{"uid":"\xff"}', b'{"uid":"a"}{"uid":"b"}', b'{"uid":"a\tb"}'),
    *(b'{"uid":"a"}\0}', b'{"uid":"a","uid":"b","title":"t"}', b'\t{"uid":"a","title":"t"}\r'),
]
lines = st.one_of(
    objects.map(lambda o: json.dumps(o).encode()),
    objects.map(lambda o: json.dumps(o, ensure_ascii=False).encode("utf-8", "replace")),
    st.fixed_dictionaries({"uid": few, "title": few, "content": few}).map(
        lambda o: json.dumps(o).encode()
    ),
    st.sampled_from(ODD_LINES),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("amazon")


def test_whatever_needs_cleaning_is_cleaned(tmp_path: Path) -> None:
    signs = [chr(c) for c in range(0x10000) if chr(c).isspace() or category(chr(c)) == "Cc"]
    rows = [product(f"u{i}", f"a{sign}b", LONG + f"{sign} {i}") for i, sign in enumerate(signs)]
    rows += [product("first", " a", LONG + "1"), product("last", "a ", LONG + "2  3")]
    items = list(AmazonTitles(write(tmp_path / "trn.json", rows)).items())
    assert len(signs) > 80
    assert [i.title for i in items] == [clean(r["title"]) for r in rows]
    assert [i.description for i in items] == [clean(r["content"]) for r in rows]


@given(st.lists(lines, max_size=12), st.integers(0, 3), st.booleans())
def test_it_reads_like_the_plainest_reader(
    folder: Path, rows: list[bytes], min_chars: int, good: bool
) -> None:
    # A block of many good lines and a few bad ones is read in parts.
    rows = rows + [json.dumps(product(f"g{i}", f"Good {i}")).encode() for i in range(150 * good)]
    path = write(folder / "trn.json", rows)
    source = AmazonTitles(path, min_chars=min_chars)
    items = list(source.items())
    kept, dropped = by_hand(rows, max(min_chars, 0))
    assert [(i.id, i.title, i.description) for i in items] == kept
    assert dict(source.report.dropped) == dropped
    assert source.report.kept == len(kept)


def test_items_of_every_file(tmp_path: Path) -> None:
    rows = [
        product("1", "<b>Rope</b> &amp; knots", f"{LONG}<br/>"),
        product("2", None),
        product("3", " ? "),
        product("4", "No words", None),
        product("5", "Few words", "<p>" + "x" * 99 + "</p>"),
        product("6", "ROPE and Knots!", LONG),
        product("1", "The uid again", LONG + "x"),
        product("7", "Just enough", "x" * 100),
    ]
    write(tmp_path / "trn.json", rows)
    write(tmp_path / "tst.json.gz", rows[:1])
    write(
        tmp_path / "lbl.json.gz", [{"uid": "L1", "title": "Rope"}, product("L2", "Rope", "short")]
    )
    source = load("amazon_titles", tmp_path)
    assert source.item_splits == ("train", "test", "labels")
    assert source.example_splits == ()
    rope = Item(id="1", title="Rope & knots", description=LONG)
    assert list(source.items()) == [rope, Item("7", "Just enough", description="x" * 100)]
    assert source.report.kept == 2
    assert source.report.dropped == {
        "no title": 2,
        "no content": 1,
        "description under 100 characters": 1,
        "duplicate": 2,
    }
    assert list(source.items("test")) == [rope]
    assert (source.report.kept, source.report.dropped) == (1, {})
    assert list(source.items("labels")) == [
        Item("L1", "Rope"),
        Item("L2", "Rope", description="short"),
    ]
    lower = AmazonTitles(tmp_path, lowercase=True)
    assert next(lower.items()) == Item("1", "rope & knots", description=LONG.lower())


def test_a_dropped_product_does_not_make_others_duplicates(tmp_path: Path) -> None:
    rows = [
        product("1", "Rope", "too short"),
        product("1", "Rope"),
        product("1", "Rope of another text", LONG + "!"),
        product("2", "Rope of another text", LONG + "!"),
    ]
    path = write(tmp_path / "trn.json", rows)
    assert [i.id for i in AmazonTitles(path).items()] == ["1", "2"]


def test_broken_lines_are_named(tmp_path: Path) -> None:
    rows = [
        b"\xef\xbb\xbf" + json.dumps(product("1", "Rope")).encode(),
        b"{nonsense",
        b"",
        b"[1]",
        b'{"uid": "\xff", "title": "Rope"}',
        product(7, "Rope"),
        product("", "Rope"),
        product("8", ["Rope"]),
        product("9", "Lone \ud83d half", LONG + "9"),
        b'{"uid":' + b"[" * 100_000,
    ]
    source = AmazonTitles(write(tmp_path / "trn.json", rows))
    assert [i.title for i in source.items()] == ["Rope", "Lone ? half"]
    assert [(p.file, p.line, p.reason[:30]) for p in source.report.problems] == [
        ("trn.json", 2, "it is not JSON: Expecting prop"),
        ("trn.json", 4, "it is no JSON object"),
        ("trn.json", 5, "it has bytes that are not UTF-"),
        ("trn.json", 6, "uid is of type int"),
        ("trn.json", 7, "it has no uid"),
        ("trn.json", 8, "title is of type list"),
        ("trn.json", 10, "it is not JSON: maximum recurs"),
    ]
    assert source.report.dropped == {BROKEN: 7}


@pytest.mark.usefixtures("small_blocks")
def test_lines_are_counted_over_blocks(tmp_path: Path) -> None:
    rows: list[Any] = [product(str(i), f"Rope {i}", LONG + str(i)) for i in range(200)]
    rows[150] = b"x" * 20_000
    source = AmazonTitles(write(tmp_path / "trn.json.gz", rows))
    assert len(list(source.items())) == 199
    assert [p.line for p in source.report.problems] == [151]


# Tables, cursors, processes, samples.


@pytest.mark.usefixtures("small_blocks")
def test_any_number_of_processes_gives_the_same(tmp_path: Path) -> None:
    plain = write(tmp_path / "trn.json", mixed(600))
    packed = write(tmp_path / "packed.gz", mixed(600))
    kept, dropped = by_hand(plain.read_bytes().splitlines(), 100)
    alone = AmazonTitles(plain, workers=1)
    wanted = tables(alone)
    assert len(wanted) > 5
    assert all(len(rows) >= 25 for rows, _ in wanted[:-1])
    assert [(r["id"], r["title"], r["description"]) for t, _ in wanted for r in t] == kept
    assert dict(alone.report.dropped) == dropped
    assert alone.report.problems
    for path, workers in ((plain, 2), (packed, 2), (packed, 1)):
        source = AmazonTitles(path, workers=workers)
        found = tables(source)
        assert [rows for rows, _ in found] == [rows for rows, _ in wanted]
        assert source.report.dropped == alone.report.dropped
        if path == plain:
            assert found == wanted


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("sample", [None, 100])
def test_going_on_after_any_table_is_as_if_never_stopped(
    tmp_path: Path, sample: int | None
) -> None:
    source = AmazonTitles(write(tmp_path / "trn.json", mixed(400)), sample=sample, workers=1)
    whole = tables(source)
    report = source.report
    assert len(whole) > 3
    for at, (_, cursor) in enumerate(whole):
        again = AmazonTitles(tmp_path / "trn.json", sample=sample, workers=1)
        assert tables(again, after=cursor) == whole[at + 1 :]
        assert again.report == report


@pytest.mark.usefixtures("small_blocks")
def test_a_cursor_of_something_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "trn.json", mixed(200))
    cursors = [c for _, c in AmazonTitles(path, workers=1).tables()]
    with pytest.raises(InputError, match=r"the cursor was not given out for .* as it is now"):
        AmazonTitles(path, min_chars=99, workers=1).tables(after=cursors[0])
    with pytest.raises(InputError, match="begin anew without a cursor"):
        AmazonTitles(path, workers=1).tables(after={})
    with pytest.raises(InputError, match="the cursor was not given out"):
        tables(AmazonTitles(path, workers=1), after=cursors[0] | {"table": 999})
    data = path.read_bytes()
    path.write_bytes(data[:100].replace(b"title", b"tilte") + data[100:])
    with pytest.raises(InputError, match="the cursor was not given out"):
        tables(AmazonTitles(path, workers=1), after=cursors[-1])


@pytest.mark.usefixtures("small_blocks")
def test_a_sample_is_the_same_again_and_keeps_the_order(tmp_path: Path) -> None:
    path = write(tmp_path / "trn.json", mixed(600))
    everything = list(AmazonTitles(path, workers=1).items())
    source = AmazonTitles(path, sample=150, workers=1)
    drawn = list(source.items())
    assert len(drawn) == source.report.kept == 150
    assert source.report.dropped["not in the sample"] == len(everything) - 150
    assert drawn == [i for i in everything if i in drawn]
    assert drawn == list(AmazonTitles(path, sample=150, workers=2).items())
    other = list(AmazonTitles(path, sample=150, seed=1, workers=1).items())
    assert 10 < len([i for i in drawn if i in other]) < 100
    half = len(everything) // 2
    assert 40 < sum(i in everything[:half] for i in drawn) < 110
    assert set(drawn) < set(AmazonTitles(path, sample=200, workers=1).items())
    more = AmazonTitles(path, sample=10_000, workers=1)
    assert list(more.items()) == everything
    assert "not in the sample" not in more.report.dropped


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_archive_is_said_after_all_that_was_good(tmp_path: Path, workers: int) -> None:
    path = write(tmp_path / "trn.json.gz", mixed(400))
    whole = [rows for rows, _ in tables(AmazonTitles(path, workers=workers))]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    found: list[dict[str, str]] = []
    rows = (row for t, _ in AmazonTitles(path, workers=workers).tables() for row in t.to_pylist())
    with pytest.raises(InputError, match=r"trn.json.gz cannot be read to its end .* get it again"):
        found.extend(rows)
    flat = [row for rows in whole for row in rows]
    assert 50 < len(found) < len(flat)
    assert found == flat[: len(found)]


def test_an_archive_in_several_parts_is_read_whole(tmp_path: Path) -> None:
    parts = [json.dumps(product(f"u{i}", f"Rope {i}", LONG + str(i))) + "\n" for i in range(3)]
    path = tmp_path / "trn.json"  # what it is counts, not what it is called
    path.write_bytes(b"".join(gzip.compress(p.encode()) for p in parts))
    assert [i.id for i in AmazonTitles(path).items()] == ["u0", "u1", "u2"]


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="reads /proc")
@pytest.mark.usefixtures("small_blocks")
def test_processes_end_with_the_stream_and_their_end_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "trn.json", mixed(600))
    before = children()
    stream = AmazonTitles(path, workers=2).tables()
    next(stream)
    assert len(children()) == len(before) + 2
    stream.close()  # type: ignore[attr-defined]
    assert children() == before
    stream = AmazonTitles(path, workers=2).tables()
    next(stream)
    for pid in set(children()) - set(before):
        os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(LLMRecError, match="a reading process ended with code -9"):
        list(stream)
    assert children() == before


def test_an_unguarded_script_can_read_with_processes(tmp_path: Path) -> None:
    path = write(tmp_path / "trn.json", [product("1", "Rope")])
    script = tmp_path / "script.py"
    script.write_text(
        "from llmrec.datasets.amazon_titles import AmazonTitles\n"
        f"print([i.id for i in AmazonTitles({str(path)!r}, workers=2).items()])\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=env, check=True
    )
    assert out.stdout == "['1']\n"


# What belongs together.


def test_related(tmp_path: Path) -> None:
    labels = [product("L0", "a"), b"", b"{broken", {"uid": "L2", "title": None}, product("L3", "b")]
    write(tmp_path / "lbl.json", labels)
    rows = [
        product("1", "Rope", target_ind=[3, 0], target_rel=[1.0, 0.5]),
        product("2", None, None, target_ind=[]),
        {"uid": "3"},
        product("4", "Rope", target_ind=[1, 2, 4, -1, None, 10**30]),
        product("5", "Rope", target_ind="0"),
        product("6", "Rope", target_ind=[0.5]),
        product("7", "Rope", target_ind=[2]),
    ]
    write(tmp_path / "trn.json.gz", rows)
    source = AmazonTitles(tmp_path)
    wanted = [("1", ("L3", "L0")), ("2", ()), ("3", ()), ("4", ("L2",)), ("7", ("L2",))]
    assert list(source.related()) == wanted
    assert source.report.kept == 5
    assert source.report.dropped == {BROKEN: 3, "target_ind that is no line of lbl": 5}
    assert [(p.file, p.line, p.reason[:20]) for p in source.report.problems] == [
        ("lbl.json", 3, "it is not JSON: Expe"),
        ("trn.json.gz", 5, "target_ind is of typ"),
        ("trn.json.gz", 6, "target_ind holds som"),
    ]


@pytest.mark.usefixtures("small_blocks")
def test_related_over_many_blocks(tmp_path: Path) -> None:
    write(tmp_path / "lbl.json", [product(f"L{i}", "a") for i in range(90)])
    rows = [product(str(i), "Rope", target_ind=[i % 90, 89 - i % 90]) for i in range(200)]
    write(tmp_path / "tst.json", rows)
    wanted = [(str(i), (f"L{i % 90}", f"L{89 - i % 90}")) for i in range(200)]
    assert list(AmazonTitles(tmp_path).related("test")) == wanted


# What is refused.


def test_files_are_found_or_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has none of trn.json, tst.json, lbl.json"):
        AmazonTitles(tmp_path)
    path = write(tmp_path / "tst.json", [product("1", "Rope")])
    write(tmp_path / "tst.json.gz", [product("2", "Rope")])
    source = AmazonTitles(tmp_path)
    assert [i.id for i in source.items("test")] == ["1"]
    with pytest.raises(InputError, match=r"no split 'train' \(there is no trn.json\): it has test"):
        source.items()
    with pytest.raises(InputError, match="no split 'dev': it has test"):
        source.tables("dev")
    with pytest.raises(InputError, match=r"no split 'labels' \(there is no lbl.json\)"):
        source.related("test")
    assert AmazonTitles(path).item_splits == ("test",)
    assert [i.id for i in AmazonTitles(tmp_path / "tst.json.gz").items("test")] == ["2"]
    with pytest.raises(InputError, match="labels lead nowhere"):
        source.related("labels")
    with pytest.raises(InputError, match="has no examples: use items"):
        source.examples()
    other = write(tmp_path / "renamed.jsonl", [product("3", "Rope")])
    assert [i.id for i in AmazonTitles(other).items("train")] == ["3"]
    empty = write(tmp_path / "trn.json", [])
    assert list(AmazonTitles(empty).items()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sample": 0}, "sample is 0: give 1 or more"),
        ({"workers": -1}, "workers is -1: give 1 or more"),
        ({"min_chars": -1}, "min_chars is -1: give 0 or more"),
    ],
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AmazonTitles(tmp_path, **options)  # type: ignore[arg-type]
