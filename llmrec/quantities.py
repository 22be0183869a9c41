"""Quantities hides the small grammar of years, running times and prices, in three languages.

It works on a text folded letter by letter, so that offsets stay those of the original.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Quantity", "find_quantities", "flat"]

RECENT_YEARS = 10  # "recent"
OLD_UNTIL = 1979  # "old"
NEAR = 60  # characters that a negation may be away
SHORT_MINUTES = 100  # "not too long"
LONG_MINUTES = 150  # "long"
AROUND_MINUTES = 15
AROUND_YEARS = 2
AROUND_PRICE = 0.2  # of the amount


@dataclass(frozen=True)
class Quantity:
    """A span of text that bounds years, minutes or a price, both ends inclusive; None is open.

    ``vague`` spans ("recent", "not too long") count only where nothing exact is said.
    """

    start: int
    end: int
    kind: Literal["year", "runtime", "price"]
    low: float | None
    high: float | None
    vague: bool = False


def flat(text: str) -> str:
    """``text`` lower-cased and without accents, letter for letter: the length stays the same."""
    out = []
    for c in text:
        base = unicodedata.normalize("NFKD", c.lower())[:1]
        out.append(base if base and not base.isspace() else " ")
    return "".join(out)


_UNITS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "a": 1, "an": 1, "couple of": 2, "a couple of": 2,
    "um": 1, "uma": 1, "dois": 2, "duas": 2, "tres": 3, "quatro": 4, "cinco": 5, "seis": 6,
    "sete": 7, "oito": 8, "nove": 9, "un": 1, "una": 1, "uno": 1, "dos": 2, "cuatro": 4,
    "siete": 7, "ocho": 8, "nueve": 9,
}  # fmt: skip
_TENS = {
    "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60,
    "seventy": 70, "eighty": 80, "ninety": 90, "dez": 10, "quinze": 15, "vinte": 20, "trinta": 30,
    "quarenta": 40, "cinquenta": 50, "sessenta": 60, "setenta": 70, "oitenta": 80, "noventa": 90,
    "diez": 10, "quince": 15, "veinte": 20, "treinta": 30, "cuarenta": 40, "cincuenta": 50,
    "sesenta": 60, "ochenta": 80, "twelve": 12, "doze": 12, "doce": 12,
}  # fmt: skip
_HUNDREDS = ("a hundred", "one hundred", "hundred", "cento", "cem", "ciento", "cien")
_DECADES = {
    "twenties": 1920, "thirties": 1930, "forties": 1940, "fifties": 1950, "sixties": 1960,
    "seventies": 1970, "eighties": 1980, "nineties": 1990, "noughties": 2000,
    "vinte": 1920, "trinta": 1930, "quarenta": 1940, "cinquenta": 1950, "sessenta": 1960,
    "setenta": 1970, "oitenta": 1980, "noventa": 1990, "dois mil": 2000,
    "veinte": 1920, "treinta": 1930, "cuarenta": 1940, "cincuenta": 1950, "sesenta": 1960,
    "ochenta": 1980, "dos mil": 2000,
}  # fmt: skip


def _any(words: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(words, key=len, reverse=True)) + ")"


_TENS_UNITS = rf"(?:{_any(_TENS)}(?:(?:\s+(?:e|y)\s+|[\s-]){_any(_UNITS)}(?!\s+(?:hor|hour)))?|{_any(_UNITS)})"
_NUMBER = rf"(?:\d{{1,3}}(?:[.,]5)?|{_any(_HUNDREDS)}(?:\s+(?:and\s+|e\s+|y\s+)?{_TENS_UNITS})?|{_TENS_UNITS})"
_SPELLED = (
    rf"(?:mil\s+novecent[oa]s\s+e|mil\s+novecientos|nineteen)[\s-]+{_TENS_UNITS}"
    rf"|(?:dois\s+mil\s+e|dos\s+mil|two\s+thousand(?:\s+and)?)\s+{_TENS_UNITS}|twenty[\s-](?:ten|fifteen|twenty)"
)
_YEAR = r"(?:1[89]\d\d|20[0-4]\d)"
_DECADE_WORD = "|".join(sorted(_DECADES, key=len, reverse=True))

# One expression of years: a year, a decade, a part of a decade, a century.
_PART = (
    r"(?:(?P<early>early|comecinho d[oea]s?|inicio d[oea]s?|comeco d[oea]s?|principios? d[oe](?: los)?|inicios d[eo](?: los)?|primeira metade d[oea]s?)"
    r"|(?P<mid>mid|meados d[oea]s?|mediados d[eo](?: los)?)"
    r"|(?P<late>late|finalzinho d[oea]s?|fim d[oea]s?|final d[oea]s?|finais d[oea]s?|finales d[eo](?: los)?|fines d[eo](?: los)?|segunda metade d[oea]s?))[\s-]+"
    r"(?:(?:the|los|os)\s+)?"
)
_PERIOD = (
    rf"(?:{_PART})?(?:"
    rf"(?:the\s+)?(?:decadas?\s+d[eo]s?\s+|anos\s+(?:de\s+)?|los\s+anos\s+|(?:la\s+)?decada\s+de\s+(?:los\s+)?)"
    rf"(?:(?P<dec4>(?:19|20)\d0)s?|'?(?P<dec2>\d0)s?|(?P<decw>{_DECADE_WORD}))\b"
    rf"|(?:the\s+)?(?P<dec4e>(?:19|20)\d0)'?s\b"
    rf"|(?:the\s+)?'?(?P<dec2e>[2-9]0)'?s\b"
    rf"|(?:the\s+|los\s+)(?P<decwe>twenties|thirties|forties|fifties|sixties|seventies|eighties|nineties|noughties|veinte|treinta|cuarenta|cincuenta|sesenta|setenta|ochenta|noventa)\b(?!\s+(?:y|min))"
    rf"|(?P<decwx>sixties|seventies|eighties|nineties|noughties)\b"
    rf"|(?:los|dos|nos)\s+(?:(?P<dec4x>(?:19|20)\d0)s?|(?P<twok>dos mil|dois mil))\b(?!\s*(?:e\s|y\s)?\w*(?:diez|dez))"
    rf"|(?:los\s+|(?<=dos )|(?<=nos )|(?<=the ))(?P<dec2x>[2-9]0)\b(?!\s*min)"
    rf"|(?<=al )(?P<short2>[2-9]\d)\b|(?P<spelled>{_SPELLED})\b|(?:(?:del|al|el|ano(?: de)?|from|of)\s+'?|(?<!\w)')(?P<short>[2-9]\d)\b(?!\s*(?:min|%))"
    rf"|(?P<adj>oitentist[ao]s?|noventist[ao]s?|setentist[ao]s?|sessentist[ao]s?|ochenter[ao]s?|noventer[ao]s?|cincuenter[ao]s?|setenter[ao]s?|sesenter[ao]s?)\b"
    rf"|(?:the\s+)?(?P<cent>this|20th|21st|twentieth|twenty[- ]first)\s+century\b|(?:seculo|siglo)\s+(?P<centr>xxi|xx|21|20)\b"
    rf"|(?:o\s+ano\s+(?:de\s+)?|el\s+ano\s+|the\s+year\s+)?(?P<year>{_YEAR})(?!\d|:\d|\s*(?:min|minut))\b"
    r")"
)
_ADJ = {"ci": 1950, "oi": 1980, "oc": 1980, "no": 1990, "set": 1970, "ses": 1960}


def _period(m: re.Match[str]) -> tuple[int, int]:
    g = m.groupdict()
    part = g["early"] or g["mid"] or g["late"]
    if g["year"] and part and int(g["year"]) % 10 == 0:
        g = {**g, "dec4": g["year"], "year": None}  # "principios de los 2000"
    if g["year"]:
        low = high = int(g["year"])
    elif g["short"] or g["short2"]:
        low = high = 1900 + int(g["short"] or g["short2"])
    elif g["spelled"]:
        words = re.split(r"[\s-]+", g["spelled"])
        head = 2000 if words[0] in ("dois", "dos", "two", "twenty") else 1900
        low = high = head + sum({**_TENS, **_UNITS}.get(w, 0) for w in words[1:])
    elif g["cent"] or g["centr"]:
        new = (g["cent"] or g["centr"]) in (
            "this",
            "21st",
            "xxi",
            "21",
            "twenty-first",
            "twenty first",
        )
        low, high = (2000, 2099) if new else (1900, 1999)
    else:
        four = g["dec4"] or g["dec4e"] or g["dec4x"] or (g["twok"] and "2000")
        two = g["dec2"] or g["dec2e"] or g["dec2x"]
        word = g["decw"] or g["decwe"] or g["decwx"]
        if four:
            low = int(four)
        elif two:
            low = int(two) + (1900 if int(two) >= 20 else 2000)
        elif word:
            low = _DECADES[word]
        else:
            low = next(v for k, v in _ADJ.items() if g["adj"].startswith(k))
        high = low + 9
        if g["early"]:
            high = low + 4
        elif g["late"]:
            low = low + 5
        elif g["mid"]:
            low, high = low + 3, low + 6
    return low, high


_ART = r"(?:\s+(?:the|os|as|los|las|o|el|of|dos|do|de|del|the year))?\s*"
_BEFORE_STRICT = r"(?:before|prior to|older than|earlier than|antes d[eao]s?(?:l)?|anterior(?:es)? (?:a|ao|aos|al)|mais (?:antig[oa]s?|velh[oa]s?) (?:do )?que|mas (?:antigu[oa]s?|viej[oa]s?) que|pre[- ])"
_UNTIL = r"(?:until|till|up to|through|no later than|not newer than|no newer than|ate|hasta|no maximo(?: em| en)?|como maximo(?: en)?|up to and including|como mucho(?: en)?|no mas nuev[oa]s? que|no posterior(?:es)? a)"
_AFTER_STRICT = r"(?:after|newer than|later than|more recent than|depois d[eao]s?|apos|posterior(?:es)? (?:a|ao|aos|al)|despues d[eo](?:l)?|mais (?:nov[oa]s?|recentes?) (?:do )?que|mas (?:nuev[oa]s?|recientes?|modern[oa]s?) que|pos[- ]|post[- ])"
_SINCE = r"(?:since|from|starting (?:in|from)|as of|no older than|not older than|no earlier than|desde|a partir d[eoa]s?(?:l)?|de)"
_SINCE_SURE = r"(?:since|starting (?:in|from)|as of|no older than|not older than|no earlier than|desde|a partir d[eoa]s?(?:l)?|no minimo)"
_ONWARD = r"\s*(?:on(?:wards?)?\b|para arriba|pra cima|(?:para|pa|hacia) a?delante|and (?:later|newer|after|up|on)\b|or (?:later|newer|after)\b|to (?:now|today|the present|present)\b|em diante|pra frente|para (?:a )?frente|(?:pra|para) ca|ate (?:hoje|agora)|ou mais (?:nov[oa]s?|recentes?)|en adelante|para aca|hasta (?:hoy|ahora)|ou? posterior(?:es)?|ou depois|o despues|o mas tarde|ou mais tarde|o mas (?:nuev[oa]s?|recientes?)|\+)"
_BACKWARD = r"\s*(?:or (?:older|earlier|before)\b|and (?:older|earlier)\b|ou (?:antes|mais antig[oa]s?)|(?:pra|para) tras|o (?:antes|mas (?:antigu[oa]s?|viej[oa]s?))|(?:para|hacia) atras)"
_AROUND_Y = r"(?:around|circa|about|por volta d[eo]|cerca d[eo]|la por|alrededor d[eo]|mais ou menos de|hacia)"


def _named(pattern: str, suffix: str) -> str:
    return re.sub(r"\?P<(\w+)>", rf"?P<\1{suffix}>", pattern)


_RANGE = re.compile(
    rf"\b(?:between|entre|from|de|desde|d[oa]s|mais ou menos de|mas o menos de)?{_ART}{_named(_PERIOD, '_a')}"
    rf"\s*(?:and|to|until|through|or|ou|o|e|y|al|a|ate|hasta|-|–|—)\s*(?:(?:the|os|as|los|las|o|el|anos)\s+)*"
    rf"(?:{_named(_PERIOD, '_b')}|(?P<bare_b>\d0)\b|(?P<word_b>{_DECADE_WORD})\b)"
)
_RELATED = re.compile(
    rf"\b(?:(?P<before>{_BEFORE_STRICT})|(?P<until>{_UNTIL})|(?P<after>{_AFTER_STRICT})"
    rf"|(?P<since>{_SINCE_SURE})|(?P<around>{_AROUND_Y})|(?P<from>{_SINCE})){_ART}{_PERIOD}"
    rf"(?:(?P<onward>{_ONWARD})|(?P<backward>{_BACKWARD}))?"
)
_PLAIN = re.compile(
    rf"(?<![\w$€£])(?:d[oea]s?\s+|of\s+|in\s+(?:the\s+)?|em\s+|en\s+)?{_PERIOD}"
    rf"(?:(?P<onward>{_ONWARD})|(?P<backward>{_BACKWARD}))?"
)
_ROUND = re.compile(r"\b(?:los|dos|nos)\s+(?:19|20)\d0\b")
_LAST = re.compile(
    rf"\b(?:(?:in|from|of|within) )?(?:the )?(?:last|past) (?P<n1>{_NUMBER}) years\b"
    rf"|\b(?:d?[oe]s |de los |en los |nos )?ultimos (?P<n2>{_NUMBER}) anos\b"
    r"|\b(?:in |from |of )?(?:the |this )?(?P<decade>last decade|ultima decada|past decade|current decade)\b"
)
_VAGUE_YEAR = re.compile(
    r"\b(?P<recent>recentes?|recent(?:ly released)?|(?:de )?hace poco|recem[- ]lancad[oa]s?|lancamentos?|mais atua(?:l|is)|atuais|atual|actual(?:es)?|recientes?|"
    r"brand[- ]new|new releases?|estrenos?|novinh[oa]s?|modern|modern[oa]s?|contemporaneos?|contemporary)\b"
    r"|\b(?P<old>antig[oa]s?|antiguinh[oa]s?|viejit[oa]s?|velhinh[oa]s?|bem velh[oa]s?|antigu[oa]s?|viej[oa]s?|vintage|(?<!too )(?<!year )(?<!years )(?<!year-)(?<!yr )(?<!yrs )(?<!-yr-)(?<!how )old|oldies?|old[- ]school|das antigas|velh[oa]s?|de los de antes|de antes(?=\s*(?:[,.!?]|$))|de antano|de antigamente|de epoca antiga)\b(?!\s+(?:man|men|woman|age|friends?|lady|home))"
)

_HOUR = r"(?:h(?:ou)?rs?\b|hours?\b|horas?\b|horinhas?\b|horitas?\b|h\b)"
_MINUTE = r"(?:min(?:ut)?e?s?\b|minut(?:o|os|inhos|itos)\b|mins?\b|['’](?!\w)|m\b)"
_DURATION = (
    r"(?:"
    rf"(?P<h7>{_NUMBER})[\s-]*{_HOUR}\s+(?:e|y|and)\s+(?P<q7>tres cuartos|tres quartos|three quarters)|(?P<h1>{_NUMBER})\s*(?P<dim>horinhas?|horitas?)(?:\s+(?:e|y)\s+(?P<dimhalf>meia|media|pouco|pico))?\b"
    rf"|(?P<h2>\d)\s*h(?:rs?|oras?)?\s*(?:e\s+|y\s+)?(?P<m2>[0-5]?\d)(?:\s*{_MINUTE}|\b)"
    rf"|(?P<h3>\d):(?P<m3>[0-5]\d)\b(?:\s*h\b)?"
    rf"|(?P<h4>{_NUMBER})[\s-]*(?:and a half|y media|e meia)[\s-]+{_HOUR}"
    rf"|(?P<half1>(?:half (?:an )?hour|meia hora(?! e)|media hora))\b"
    rf"|(?:(?P<h5>{_NUMBER})[\s-]*)?{_HOUR}(?:\s*,?\s*(?:and|e|y|com|con)\s+(?:(?P<half2>(?:a half|meia|media)\b)|(?P<q2>a quarter|um quarto|cuarto)|(?P<little>pouco|pico)|(?P<m5>{_NUMBER})(?:\s*{_MINUTE}|\b)))"
    rf"|(?P<h6>{_NUMBER})[\s-]*{_HOUR}(?:\s*(?P<m6>\d\d?)\s*{_MINUTE}|\s+(?P<m8>twenty|thirty|forty|fifty|vinte|trinta|quarenta|cinquenta|veinte|treinta|cuarenta|cincuenta)\b)?"
    rf"|(?P<m7>{_NUMBER})[\s-]*{_MINUTE}"
    r")"
)
_MAX = r"(?P<max>ate|(?:q|que) no pase de|q nao passe d[eao]s?|nao pode passar d[eao]s?|nem passar d[eao]s?|ni un minuto mas de|que caiba em|got(?= (?:\d|about|only))|i'?ve(?: only| just)?(?= (?:an?|about|\d|one|two))|at most|no more than|not more than|max(?:imum)?(?: of)?|maximo(?: de)?|no maximo(?: de)?|maximo|up to|within|inside|que nao (?:passe|ultrapasse|exceda|dure mais) (?:d[eao]s?|que|d[eo] que)?|nao (?:passe|ultrapasse|exceda) (?:d[eao]s? )?|sem passar d[eao]s?|nao mais (?:d[eoa]s?|que|do que)(?: que)?|nada (?:com|de|acima de|over|above|longer than|que passe d[eao]s?|que dure mas de|de mas de) (?:mais de )?|como (?:mucho|maximo)|a lo (?:sumo|mas)|hasta|no mas de|que no (?:pase|exceda|supere|dure mas|sea mas larga) (?:d[eao]s? ?(?:las)?|que|las)?|sin pasar de|tenho (?:so |apenas |somente |umas? |exatas? )*|tengo (?:solo |unas? |como |apenas )*|i(?:'ve| have)?(?: only)? (?:got|have) (?:only |just |about )?|i only have|only have|we have|temos (?:so )?|tenemos (?:solo )?|nothing (?:over|above|longer than|more than)|not? longer than|cab[ea] em|fits? (?:in|into))"
_LESS = r"(?P<less>sub-|que no llegue(?:n)? a|que nao cheguem? a|under|less th[ae]n|shorter than|below|menos d[eao]s?(?: que)?|menor(?:es)? (?:do )?que|abaixo d[eao]s?|inferior(?:es)? a|mais curt[oa]s? (?:do )?que|mas cort[oa]s? (?:de |que )|por debajo de|menos que)"
_MIN = r"(?P<min>at least|no less than|not less than|min(?:imum)?(?: of)?|minimo(?: de)?|pelo menos|no minimo(?: de)?|ao menos|al menos|como minimo|por lo menos|not shorter than)"
_MORE = r"(?P<more>(?:que )?(?:superen?|pasen? de|passem? d[eao]s?|excedan?|ultrapassem?)|past|beyond|over|more than|longer than|above|mais d[eao]s?(?: que)?|maior(?:es)? (?:do )?que|acima d[eao]s?|mas d[eao]s?|superior(?:es)? a|mais long[oa]s? (?:do )?que|mas larg[oa]s? (?:de |que )|por encima de)"
_ABOUT = r"(?P<about>around|about|roughly|approximately|ish|cerca de|por volta de|mais ou menos|uns|umas|aproximadamente|mas o menos|unos|unas|alrededor de|como de|some)"
_OR_LESS = r"\s*,?\s*(?:exactos? maximo|tope|de tope|and not (?:one|a minute) more|is (?:the|my) (?:ceiling|limit|max)\b|tops\b|no maximo|como mucho|e (?:nem um|nao mais)|y ni uno mas|or (?:less|under|shorter)\b|tops\b|max(?:imum)?\b|at (?:the )?most\b|ou menos\b|no maximo\b|maximo\b|o menos\b|como (?:mucho|maximo)\b|a lo sumo\b|no mas\b|pra baixo\b)"
_OR_MORE = r"\s*,?\s*(?:at (?:the very )?least|minimum\b|minimo\b|plus\b|and up\b|para arriba|or (?:more|longer|over)\b|ou mais\b|no minimo\b|o mas\b|como minimo\b|pra cima\b|\+)"
_RUNTIME = re.compile(
    rf"\b(?:(?:{_MAX}|{_LESS}|{_MIN}|{_MORE}|{_ABOUT})\s*(?:(?:the|as|las|os|los|uns|umas|unos|unas|of|de|about|around|ha|the)\s+)*)?"
    rf"(?:(?:d[eao]|das|of)\s+)?(?<![\d.,:]){_DURATION}(?:(?P<orless>{_OR_LESS})|(?P<ormore>{_OR_MORE}))?"
)
_RUNTIME_RANGE = re.compile(
    rf"(?:\b(?:between|entre|from|de|das)\s+(?:las\s+)?|\b(?=\d))(?:(?P<low>{_NUMBER}(?!\s*(?:h|min)))|{_named(_DURATION, '_a')})"
    rf"\s*(?:and|to|e|y|a|ate|hasta|-|–)\s*(?:as\s+|las\s+)?{_named(_DURATION, '_b')}"
)
_NEGATED = re.compile(
    r"(?:\b(?:not|never|isnt|nothing|no|nao|nada|nunca|nem|sem|sin|ni|without|if|si)|n['’]t)(?:\s+\w+){0,3}\s*$"
)
_OF_A_FILM = re.compile(
    r"\b(?:films?|movies?|flicks?|filmes?|longas?|peliculas?|pelis?|cintas?|length|runtime|dur(?:e|a|em|en|acao|acion)|lasts?|running|epic|version|#\w+)"
)
_NOT_JUST = re.compile(
    r"(?:\b(?:not|isnt|nothing|no|nao|nada|nem|sem|sin|ni)|n['’]t)(?:\s+(?:seja|sejam|sea|sean|be|is|de|d[oa]s?|from|ver|that|que|quero|quiero|nada))*\s*$"
)
_NO_AFTER = re.compile(r"\s*,?\s*(?:no|nao|not|nope)\s*(?:[,.!]|$)")
_BORN = re.compile(
    r"\b(?:nasci|nascid[oa]|naci|nacid[oa]|born|nasceu|nacio)(?:\s+(?:em|en|in))?\s*$"
)
_VAGUE_RUNTIME = re.compile(
    r"\b(?P<short>(?:not|nao|no|nada|nem) (?:(?:too|so|muito|mto|mt|tao|muy|tan|demasiado|very|seja|sea|that|super) )*(?:long|longo?a?s?|larg[oa]s?|comprid[oa]s?|extens[oa]s?)"
    r"|short(?! (?:stor|notice|list|term|shot))|quick(?! (?:one|question|q\b))|shortish|(?<!mais )(?<!eu )(?<!nao )(?<!mas )(?<!q )curt[oa]s?(?! (?:os|as|muito|bastante|demais)\b)|(?<!mais )curtinh[oa]s?|rapid[oa]s?|rapidinh[oa]s?|(?<!mas )(?<!queda )cort[oa]s?|(?<!mas )cortit[oa]s?|breves?|que no sea(?:n)? etern[oa]s?|que nao (?:demore|dure) muito|que no dure (?:mucho|tanto))\b"
    r"|\b(?P<long>(?:really |very |bem |muy |super )?(?:(?<!too )(?<!so )(?<!as )long(?! (?:time|ago|day|weekend|week|shot|story|list|term|haul|way|flight|drive|trip|as|since))|(?<!um )(?<!uns )long[oa]s?(?! de |-metragem|s? animad)|comprid[oa]s?|larg[oa]s?))\b"
)


_OR = re.compile(r"\s*(?:/|or|ou|o|e|y|and)\s+(?:from |in |d?[oe]s |de |los |the |anos )*")


def _number(text: str | None) -> float:
    if not text:
        return 0.0
    if text[0].isdigit():
        return float(text.replace(",", "."))
    hundred = next((h for h in _HUNDREDS if text.startswith(h)), "")
    rest = text.removeprefix(hundred).strip()
    values = {**_TENS, **_UNITS}
    total = values.get(rest) or sum(values.get(w, 0) for w in re.split(r"[\s-]+", rest))
    return float(total + (100 if hundred else 0))


def _minutes(m: re.Match[str]) -> int:
    g = m.groupdict()
    if g["half1"]:
        return 30
    hours = _number(g["h7"] or g["h1"] or g["h2"] or g["h3"] or g["h4"] or g["h5"] or g["h6"])
    if hours == 0 and (g["half2"] or g["q2"] or g["m5"] or g["little"]):
        hours = 1  # "hora e meia"
    minutes = _number(g["m2"] or g["m3"] or g["m5"] or g["m6"] or g["m7"] or g["m8"])
    if g["h4"] or g["half2"] or g["dimhalf"] in ("meia", "media"):
        minutes += 30
    if g["q2"]:
        minutes += 15
    if g["q7"]:
        minutes += 45
    return round(hours * 60 + minutes)


def _whole_decade(m: re.Match[str], low: int, high: int) -> tuple[int, int]:
    """The decade that a round year with an article stands for: "de los 2000", "dos 1970"."""
    return (low, low + 9) if low == high and _ROUND.search(m.group()) else (low, high)


def _years(text: str, this_year: int) -> list[Quantity]:
    found: list[Quantity] = []

    def add(m: re.Match[str], low: int | None, high: int | None, *, vague: bool = False) -> None:
        if high is not None and high >= this_year and low is not None:
            high = None  # a period that is still going on
        start = m.end() - len(m.group().lstrip())
        if not _BORN.search(text, 0, start):
            found.append(Quantity(start, m.end(), "year", low, high, vague))

    for m in _RANGE.finditer(text):
        first = _period(_Suffixed(m, "_a"))  # type: ignore[arg-type]
        if m["word_b"]:
            second = (_DECADES[m["word_b"]], _DECADES[m["word_b"]] + 9)
        elif m["bare_b"]:
            low = first[0] // 100 * 100 + int(m["bare_b"])
            second = (low, low + 9)
        else:
            second = _period(_Suffixed(m, "_b"))  # type: ignore[arg-type]
            if first[1] - first[0] == 9 and m["year_b"] and second[0] % 10 == 0:
                second = (second[0], second[0] + 9)  # "the 90s or 2000"
        if first[0] <= second[1]:
            add(m, first[0], second[1])
    for m in _RELATED.finditer(text):
        low, high = _whole_decade(m, *_period(m))
        negated = _NEGATED.search(text, 0, m.start())
        if m["before"]:
            add(m, *((low, None) if negated else (None, low - 1)))
        elif m["onward"]:
            add(m, low, None)
        elif m["until"] or m["backward"]:
            add(m, *((high + 1, None) if _NOT_JUST.search(text, 0, m.start()) else (None, high)))
        elif m["after"]:
            add(m, *((None, high) if negated else (high + 1, None)))
        elif m["since"]:
            add(m, *((None, low - 1) if _NOT_JUST.search(text, 0, m.start()) else (low, None)))
        elif m["around"] and m["year"]:
            add(m, low - AROUND_YEARS, high + AROUND_YEARS)
        else:
            add(m, low, high)
    for m in _PLAIN.finditer(text):
        low, high = _whole_decade(m, *_period(m))
        add(m, None if m["backward"] else low, None if m["onward"] else high)
    for m in _LAST.finditer(text):
        years = 10 if m["decade"] else int(_number(m["n1"] or m["n2"]))
        add(m, this_year - years, None)
    for m in _VAGUE_YEAR.finditer(text):
        if m["recent"]:
            add(m, this_year - RECENT_YEARS, None, vague=True)
        elif _NEGATED.search(text, 0, m.start()):
            add(m, OLD_UNTIL + 1, None, vague=True)
        else:
            add(m, None, OLD_UNTIL, vague=True)
    return found


class _Suffixed:
    """A match whose groups carry a suffix, seen without it."""

    def __init__(self, match: re.Match[str], suffix: str) -> None:
        self._groups = {
            k.removesuffix(suffix): v for k, v in match.groupdict().items() if k.endswith(suffix)
        }

    def groupdict(self) -> dict[str, str]:
        return self._groups


def _runtimes(text: str, timed: bool) -> list[Quantity]:
    found = []
    for m in _RUNTIME.finditer(text):
        minutes = _minutes(m)
        if not 10 <= minutes <= 600:
            continue
        bare = not any(
            m[g] for g in ("max", "less", "min", "more", "orless", "ormore", "about", "dim")
        )
        near = text[max(0, m.start() - 14) : m.end() + 12]
        if bare and not timed and len(text.split()) > 8 and not _OF_A_FILM.search(near):
            continue  # "I have been looking for an hour"
        low: int | None = None
        high: int | None = None
        if m["dim"] and not (m["min"] or m["more"]):
            high = minutes + (0 if m["less"] or m["orless"] else AROUND_MINUTES)
        elif m["max"] or m["orless"]:
            high = minutes
        elif m["less"] or m["more"]:
            over = bool(m["more"])
            if _NEGATED.search(text, 0, m.start()) or _NO_AFTER.match(text, m.end()):
                low, high = (None, minutes) if over else (minutes, None)
            else:
                low, high = (minutes + 1, None) if over else (None, minutes - 1)
        elif m["min"] or m["ormore"]:
            low = minutes
        else:
            low, high = minutes - AROUND_MINUTES, minutes + AROUND_MINUTES
        found.append(Quantity(m.start(), m.end(), "runtime", low, high))
    for m in _RUNTIME_RANGE.finditer(text):
        high = _minutes(_Suffixed(m, "_b"))  # type: ignore[arg-type]
        stated = round(_number(m["low"])) * (1 if m["m7_b"] else 60)
        low = stated or _minutes(_Suffixed(m, "_a"))  # type: ignore[arg-type]
        if low < high:
            found.append(Quantity(m.start(), m.end(), "runtime", low, high))
    for m in _VAGUE_RUNTIME.finditer(text):
        refused = not m["short"] and re.match(r"\s*,?\s*n(?:o|ao)\b", text[m.end() :])
        low, high = (None, SHORT_MINUTES) if m["short"] or refused else (LONG_MINUTES, None)
        found.append(Quantity(m.start(), m.end(), "runtime", low, high, vague=True))
    return found


_HUNDRED_WORDS = {
    "hundred": 100, "cem": 100, "cento": 100, "duzentos": 200, "trezentos": 300,
    "quatrocentos": 400, "quinhentos": 500, "seiscentos": 600, "setecentos": 700,
    "oitocentos": 800, "novecentos": 900, "cien": 100, "ciento": 100, "doscientos": 200,
    "trescientos": 300, "cuatrocientos": 400, "quinientos": 500, "seiscientos": 600,
    "setecientos": 700, "ochocientos": 800, "novecientos": 900,
}  # fmt: skip
_THOUSANDS = {"k": 1000, "grand": 1000, "mil": 1000, "thousand": 1000}
_COUNTED = {w: n for w, n in {**_TENS, **_UNITS}.items() if n > 1 and " " not in w}
_SMALL = rf"{_any(_COUNTED)}(?:(?:\s+(?:e|y)\s+|-|\s){_any(_COUNTED)})?"
_IN_WORDS = (
    rf"(?:(?:(?:a|{_any(_COUNTED)})\s+)?{_any(_HUNDRED_WORDS)}(?:\s+(?:(?:and|e|y)\s+)?{_SMALL})?"
    rf"|{_SMALL}|(?:a\s+)?(?:mil|thousand))\b"
)
_FIGURES = r"(?:\d{1,3}(?:[.,]\d{3})+(?:[.,]\d{1,2})?|\d{1,9}(?:[.,]\d{1,2})?)"
_NO_MORE_FIGURES = r"(?![\d%]|[.,:/-]\d|\s*%)"
_SIGN = r"(?:us\$|u\$s|r\$|[acs]\$|mx\$|\$|€|£|¥|(?:eur|usd|brl|gbp|mxn|ars|clp|cop)\b)"
_COIN = r"(?:[€£¥$]|(?:dollars?|bucks|quid|pounds?|euros?|eur|usd|brl|gbp|reais|contos?|pilas?|pesos?|dolares|dolar|libras?|pavos|mangos|soles)\b)"
_K = rf"\s*{_any(_THOUSANDS)}\b"
_MONEY = (
    rf"(?:(?<![\w$])(?P<sign>{_SIGN})\s*(?P<fig1>{_FIGURES})(?P<k1>{_K})?{_NO_MORE_FIGURES}(?:\s*{_COIN})?"
    rf"(?!\s*(?:m[im]?|bn|millions?|billions?|milh\w+|millon\w*|bilh\w+)\b)"
    rf"|(?<![\w.,])(?P<fig2>{_FIGURES}|{_IN_WORDS})(?P<k2>{_K})?\s*(?P<coin>{_COIN}))"
)
_PRICE_LESS = r"(?P<less>under|below|less th[ae]n|cheaper th[ae]n|abaixo d[eao]s?|menos d[eao]s?(?: que)?|menos que|inferior(?:es)? a|por debajo de)"
_PRICE_MAX = r"(?P<max>up to|at (?:the )?most|no(?:t|thing)? (?:more than|over|above)|max(?:imum|\.)?(?: of)?|within|ate|(?:no )?maximo(?: de)?|sem passar d[eao]s?|nada (?:acima|(?:de )?m[ai]*s) d[eao]s?|nao mais d[eo](?: que)?|nao mais (?:do )?que|no mas de|(?:nao|no) (?:passe|pase|ultrapasse|exceda|supere|custe|cueste)n?(?: mais| mas)?(?: d[eao]s?(?: que)?)?|mais barat[oa]s? (?:do )?que|mas barat[oa]s? que|hasta|como (?:mucho|maximo)|a lo sumo|sin pasar de)"
_PRICE_MIN = r"(?P<min>over|above|more than|at least|min(?:imum)?(?: of)?|starting at|acima d[eao]s?|mais d[eao]s?(?: que)?|a partir d[eo]s?|pelo menos|no minimo|minimo(?: de)?|superior(?:es)? a|mas de|por encima de|al menos|como minimo)"
_PRICE_ABOUT = r"(?P<about>around|about|roughly|approximately|cerca de|por volta de|na faixa d[eo]s?|mais ou menos|uns|umas|aproximadamente|mas o menos|unos|unas|alrededor de|en torno a)"
_PURSE = r"(?P<purse>budget(?: (?:is|of))*:?|orcamento(?: (?:e|de))*:?|presupuesto(?: (?:es|de))*:?|(?:can|could)(?: only)? (?:spend|pay|afford)|(?:posso|puedo|quero|quiero) (?:gastar|pagar)|i(?: only|'ve(?: only)?)? (?:have|got)(?: only)?|tenho(?: so| apenas)?|tengo(?: solo)?)"
_FILL = (
    r"(?:\s*(?:the|only|just|about|around|of|de|so|apenas|solo|uns|umas|unos|unas|os|los)\b)*\s*"
)
_LIMIT = rf"\b(?:(?:{_PURSE}\s+)?(?:{_PRICE_LESS}|{_PRICE_MAX}|{_PRICE_MIN}|{_PRICE_ABOUT})|{_named(_PURSE, '_only')})"
_PRICE = re.compile(
    rf"(?:{_LIMIT}{_FILL})?{_MONEY}(?:(?P<orless>{_OR_LESS})|(?P<ormore>{_OR_MORE}))?"
)
_PRICE_RANGE = re.compile(
    rf"(?:\b(?:between|entre|from|de|das)\s+)?(?<![\w.,])(?:{_SIGN}\s*)?(?P<low>{_FIGURES}|{_IN_WORDS})(?P<k_low>{_K})?(?:\s*{_COIN})?"
    rf"\s*(?:and|to|e|y|a|ate|hasta|-|–|—)\s*(?:{_named(_MONEY, '_b')})"
)
# Without a currency: a limit, a number, and nothing after it that could be a unit.
_ENDS = r"(?=\s*(?:$|[.,;:!?)]|(?:please|pls|por favor|porfa\w*|pfv|and|e|y|or|ou|o|for|para|pra|pro|that|que|with|com|con|but|mas|pero|if|se|si|max|in total|total|each|thanks|obrigad[oa]|gracias)\b))"
_BARE_PRICE = re.compile(
    rf"\b(?:{_PRICE_LESS}|{_PRICE_MAX}|{_PRICE_MIN}|{_named(_PURSE, '_only')}(?<!have)(?<!got)(?<!tenho)(?<!tengo)){_FILL}(?P<fig>{_FIGURES}){_NO_MORE_FIGURES}{_ENDS}"
)
_BARE_RANGE = re.compile(
    rf"\b(?:between|entre)\s+(?P<low>{_FIGURES})\s*(?:and|e|y)\s*(?P<high>{_FIGURES}){_NO_MORE_FIGURES}{_ENDS}"
)
_YOUNG = 18
_OF_AGE = re.compile(
    r"\b(?:kids?|child(?:ren)?|toddlers?|boys?|girls?|teens?|bab(?:y|ies)|criancas?|bebes?|menin[oa]s?|nin[oa]s?|nen[ae]s?|idade|edad|age[sd]?|grandson|granddaughter|net[oa]s?|niet[oa]s?|sobrinh?[oa]s?|nephews?|nieces?|sons?|daughters?|filh[oa]s?|hij[oa]s?)(?:\s+\w+){0,2}\s*$"
)
_SPENT = re.compile(
    r"\b(?:spent|paid|lost|won|earned|stole|cost me|gastei|paguei|perdi|ganhei|custou|gaste|pague|gane|costo)\b(?:\s+\w+){0,2}\s*$"
)


def _amount(text: str, thousand: str | None = None) -> float:
    """A number as it is written: "1.299,90", "1,200.50", "29.99", "thirty", "mil"."""
    if not text[0].isdigit():
        total = 0
        for w in re.split(r"[\s-]+", text):
            if w in _HUNDRED_WORDS and w == "hundred":
                total = (total or 1) * 100
            else:
                total += _HUNDRED_WORDS.get(w, 0) + _COUNTED.get(w, 0)
                total = (total or 1) * _THOUSANDS.get(w, 1) if w in _THOUSANDS else total
        value = float(total)
    else:
        whole, _, cents = text, "", ""
        m = re.fullmatch(r"(.*)[.,](\d{1,2})", text)
        if m:
            whole, cents = m[1], m[2]
        value = float(f"{re.sub(r'[.,]', '', whole)}.{cents or 0}")
    return value * (_THOUSANDS[thousand.strip()] if thousand else 1)


def _prices(text: str, known: Collection[str]) -> list[Quantity]:
    """Prices; ``known`` as for `find_quantities`."""
    found: list[Quantity] = []
    for m in _PRICE_RANGE.finditer(text):
        high = _amount(m["fig1_b"] or m["fig2_b"], m["k1_b"] or m["k2_b"])
        low = _amount(m["low"], m["k_low"])
        if low < high:
            found.append(Quantity(m.start(), m.end(), "price", low, high))
    for m in _PRICE.finditer(text):
        amount = _amount(m["fig1"] or m["fig2"], m["k1"] or m["k2"])
        limited = any(
            m[g] for g in ("less", "max", "min", "purse_only", "orless", "ormore", "about")
        )
        if not limited and ("price" not in known or _SPENT.search(text, 0, m.start())):
            continue
        found.append(_priced(m, amount, text))
    if "price" in known and "runtime" not in known:
        for m in _BARE_RANGE.finditer(text):
            low, high = _amount(m["low"]), _amount(m["high"])
            if low < high and not _year_like(high, known):
                found.append(Quantity(m.start(), m.end(), "price", low, high))
        for m in _BARE_PRICE.finditer(text):
            amount = _amount(m["fig"])
            young = amount <= _YOUNG and _OF_AGE.search(text, max(0, m.start() - 60), m.start())
            if not young and not _year_like(amount, known):
                found.append(_priced(m, amount, text))
    return found


def _priced(m: re.Match[str], amount: float, text: str) -> Quantity:
    g = {"about": None, "orless": None, "ormore": None, **m.groupdict()}
    least = bool(g["min"] or g["ormore"])
    if (g["min"] or g["less"]) and _NEGATED.search(text, max(0, m.start() - NEAR), m.start()):
        least = not least
    if g["about"] and not (g["orless"] or g["ormore"] or g["purse_only"]):
        spread = round(amount * AROUND_PRICE, 2)
        return Quantity(m.start(), m.end(), "price", amount - spread, amount + spread)
    low, high = (amount, None) if least else (None, amount)
    return Quantity(m.start(), m.end(), "price", low, high)


def _year_like(amount: float, known: Collection[str]) -> bool:
    return "year" in known and 1900 <= amount < 2100 and amount == int(amount)


def find_quantities(
    text: str,
    this_year: int,
    known: Collection[str] = ("year", "runtime"),
    *,
    timed: bool = False,
) -> list[Quantity]:
    """Bounds on years, running times and prices in ``text``, not overlapping, in order.

    Parameters
    ----------
    this_year: what "recent" and "the last five years" count from.
    known: which of "year", "runtime" and "price" things have. An amount of money without a limit
        ("30 euros") is a wish only where there are prices, a limit without a currency ("under
        30") only where there are prices and no running times.
    timed: whether the text asks about a running time, so that every stretch of time is one; else
        "I have been looking for an hour" says nothing of a film.

    Returns
    -------
    Quantities; years are calendar years, running times minutes. "Before 1980" excludes 1980 and
    "under two hours" excludes 120 minutes; "until", "at most", "since" include theirs. A bare
    running time means 15 minutes around it, a bare price at most that; limits of prices include
    the amount.
    """
    plain = flat(text)
    found = _prices(plain, known) + _runtimes(plain, timed) + _years(plain, this_year)
    exact = {q.kind for q in found if not q.vague}
    found = [q for q in found if not q.vague or q.kind not in exact]
    chosen: list[Quantity] = []
    for q in sorted(found, key=lambda q: (q.start - q.end, q.start)):
        if all(q.end <= c.start or q.start >= c.end for c in chosen):
            chosen.append(q)
    merged: list[Quantity] = []
    for q in sorted(chosen, key=lambda q: q.start):
        before = merged[-1] if merged else None
        if before and before.kind == q.kind == "year" and _OR.fullmatch(plain, before.end, q.start):
            lows, highs = (before.low, q.low), (before.high, q.high)
            low = None if None in lows else min(x for x in lows if x is not None)
            high = None if None in highs else max(x for x in highs if x is not None)
            if low is None and high is None:  # "from 2005 on and until 2012" bounds both ends
                low = next((x for x in lows if x is not None), None)
                high = next((x for x in highs if x is not None), None)
            if low is not None and high is not None and low > high:  # "recent or old": any
                merged.pop()
                continue
            merged[-1] = Quantity(before.start, q.end, q.kind, low, high)
        else:
            merged.append(q)
    return merged
