"""Deixis hides the words that point at items on display: "the second one", "both", "seen it"."""

from __future__ import annotations

import re

__all__ = ["find_shown_items"]

_NTH = {
    "first": 0, "1st": 0, "second": 1, "2nd": 1, "third": 2, "3rd": 2, "fourth": 3, "4th": 3, "fifth": 4, "5th": 4,
    "primeir": 0, "segund": 1, "terceir": 2, "quart": 3, "quint": 4, "primer": 0, "tercer": 2, "cuart": 3,
}  # fmt: skip
_COUNT = {
    "two": 2, "three": 3, "four": 4, "five": 5, "dois": 2, "duas": 2, "tres": 3, "quatro": 4, "cinco": 5,
    "dos": 2, "cuatro": 4, "2": 2, "3": 3, "4": 4, "5": 5,
}  # fmt: skip
_ORDINAL = re.compile(
    r"\b(?:the|that)\s+(?P<en>first|1st|second|2nd|third|3rd|fourth|4th|fifth|5th)(?!\s+(?:time|half|part|world|date|place|two|three|of (?:all|may|january)))(?:\s+(?:one|film|movie))?"
    r"|\b(?P<mid>the middle one|the one in the middle|[oa] do meio|el de[l]? medio|la de[l]? medio)\b"
    r"|\b(?:o|a|d[oa]|el|la|esse|essa|ese|esa)\s+(?P<ro>primeir|segund|terceir|quart|quint|primer|tercer|cuart)[oa]?\b(?!\s+(?:vez|guerra|parte|mundial|metade|mitad|lugar|d[oa]is|duas|dos|tres))(?:\s+(?:filme|pelicula|peli))?"
    r"|\b(?:the|o|a|el|la)\s+(?P<last>last|ultim[oa])\b(?!\s+(?:time|night|week|year|one i\b|film i\b|movie i\b|years|decade|vez|ano|noite|noche|semana|filme que|pelicula que|d[oa]is|two|three))(?:\s+(?:one|film|movie|filme|pelicula|peli))?"
    r"|\b(?:the|os|as|los|las)\s+(?:(?P<lead>first|primeir[oa]s|primer[oa]s)\s+(?P<n1>two|three|dois|duas|tres|dos)|(?P<n2>dois|duas|tres|dos)\s+(?P<lead2>primeir[oa]s|primer[oa]s)|(?P<end>last|ultim[oa]s)\s+(?P<n3>two|three|dois|duas|tres|dos)|(?P<n4>dois|duas|tres|dos)\s+ultim[oa]s)\b"
    r"|\b(?P<all>all (?:of )?(?:them|these|those|two|three|four|five|[2-5])|(?:the|os|as|los|las) (?:two|three|dois|duas|tres|quatro|cuatro|cinco|dos)\b(?! \w*(?:hor|min|year|ano|film|movie|pel))|both(?: of (?:them|these|those))?(?! \w+ and)|tod[oa]s(?: (?:ess?[ea]s|eles|elas|ell[oa]s))?(?! (?:os|as|los|las|nos|mund))|amb[oa]s|l[oa]s tres|vist[oa]s l[oa]s dos|ess[ea]s (?:tod[oa]s|dois|duas|tres)|es[oa]s (?:tod[oa]s|dos|tres))\b"
)
_NUMBERS = re.compile(
    r"\b(?:number |numero |no\.? ?|#)?(?P<a>[1-5])(?:\s*(?:,|and|e|y|&)\s*(?P<b>[1-5]))\b(?!\s*(?:h|min|year|ano|film|hour))"
)
_SEEN_IT = re.compile(
    r"\b(?:(?:i'?ve |i |we'?ve |we )?(?:already )?(?:seen|saw|watched|know) (?P<it>it|that(?: one)?|them|those|these)|"
    r"(?:ess[ea]|ese|esa) (?:eu |la |lo )?(?:ja |ya )?(?:la |lo )?(?:vi|vimos|assisti|he visto)\b|ess[ea]s (?:eu )?ja (?:vi|assisti)|"
    r"(?:eu )?ja (?:vi|assisti|conheco)(?P<ja> ess[ea]s?| el[ea]s?| tod[oa]s| isso)?(?=\s*[,.!?;]|\s*$|\s+(?:e|mas)\b)|"
    r"(?:es[ao]s?|est[ae]s?)?\s*ya (?:l[aoe]s? )?(?:vi|vimos|he visto|conozco)(?=\s*[,.!?;]|\s*$|\s+(?:y|pero)\b)|l[aoe]s? he visto ya|(?:seen|watched) it)"
)


def find_shown_items(plain: str, shown: tuple[str, ...]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Where a folded message points at the items on display.

    Parameters
    ----------
    plain: the message, folded letter by letter.
    shown: their ids, in order.

    Returns
    -------
    Start, end and the ids meant, for each place; nothing where nothing is on display.
    """
    if not shown:
        return []
    found: list[tuple[int, int, tuple[str, ...]]] = []
    for m in _ORDINAL.finditer(plain):
        count = _COUNT.get(m["n1"] or m["n2"] or m["n3"] or m["n4"] or "", 0)
        if m["en"] or m["ro"]:
            at = _NTH[m["en"] or m["ro"]]
            ids = shown[at : at + 1]
        elif m["mid"]:
            ids = shown[len(shown) // 2 : len(shown) // 2 + 1]
        elif m["last"]:
            ids = shown[-1:]
        elif m["lead"] or m["lead2"]:
            ids = shown[:count]
        elif m["end"] or m["n4"]:
            ids = shown[-count:]
        else:
            ids = shown
        if ids:
            found.append((m.start(), m.end(), ids))
    for m in _NUMBERS.finditer(plain):
        ids = tuple(shown[int(n) - 1] for n in (m["a"], m["b"]) if int(n) <= len(shown))
        found.append((m.start(), m.end(), ids))
    if not found:
        m_it = _SEEN_IT.search(plain)
        single = m_it and re.search(
            r"\b(?:it|that|la|lo|esa|ese|esse|essa|isso)\b|ja (?:vi|assisti|conheco)\s*$",
            m_it.group(),
        )
        if m_it and (len(shown) == 1 or not single):
            found.append((m_it.start(), m_it.end(), shown))
    return found
