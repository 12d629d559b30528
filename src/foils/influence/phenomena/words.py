"""The English words and forms that the rules look for. Small on purpose: each list can be read in a minute."""

from __future__ import annotations

import re


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = _set(
    """a about above after again against all also am an and any are as at be because been before being below between
    both but by can did do does doing down during each few for from further had has have having he her here hers him
    his how i if in into is it its itself just let me more most my of off on once only or other our out over own
    same she so some such than that the their theirs them then there these they this those through to too under
    until up us very was we were what when where which while who whom whose why will with you your yours"""
)
NEGATORS = _set(
    "no not never none nobody nothing nowhere neither nor without cannot hardly rarely lack lacks lacking absence"
)
NEGATED = re.compile(r"\b\w+n['’]t\b|\bfail(?:s|ed)? to\b", re.IGNORECASE)
MODALS = _set(
    """may might could would should must ought possibly perhaps maybe probably likely unlikely potentially presumably
    appear appears seem seems suggest suggests"""
)
_UNITS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty"""
_LARGE = {"thirty": "30", "forty": "40", "fifty": "50", "hundred": "100", "thousand": "1000", "million": "1000000"}
NUMBERS = {word: str(value) for value, word in enumerate(_UNITS.split())} | _LARGE
_MONTHS = """january,jan february,feb march,mar april,apr may june,jun july,jul august,aug september,sep,sept
    october,oct november,nov december,dec"""
MONTHS = {name: number for number, names in enumerate(_MONTHS.split(), 1) for name in names.split(",")}
WEEKDAYS = _set("monday tuesday wednesday thursday friday saturday sunday")
ABBREVIATED = _set("dr mr mrs ms prof st vs e.g i.e etc al fig no approx inc jr sr u.s")

# What a question asks for, the first that fits; and what an answer to it has in it.
ASKED = (
    ("number", re.compile(r"\bhow (?:many|much|often|long|old|far|tall|large|big|common|high|deep|fast)\b", re.I)),
    ("date", re.compile(r"^\W*when\b|\b(?:what|which) (?:year|date|day|month|time)\b|\bsince when\b", re.I)),
    ("person", re.compile(r"\b(?:who|whom|whose)\b", re.I)),
    ("place", re.compile(r"^\W*where\b|\b(?:what|which) (?:country|city|place|state|town|continent)\b", re.I)),
    ("reason", re.compile(r"\bwhy\b|\bwhat (?:causes?|caused)\b|\bcauses? of\b|\breasons? (?:for|of)\b", re.I)),
    ("manner", re.compile(r"\bhow (?:to|do|does|did|can|should|is|are|was)\b|\btreatments? (?:for|of)\b", re.I)),
    ("definition", re.compile(r"^\W*what (?:is|are|was|were)\b|\bdefin(?:e|ition)\b|\bmeaning of\b", re.I)),
)
ANSWERS = {
    "person": re.compile(
        r"\b(?:[Dd]r|[Mm]rs?|[Mm]s|[Pp]rof)\.? [A-Z]\w+|(?<=[a-z,;:(] )[A-Z][a-z]+ (?:[A-Z]\. )?[A-Z][a-z]+"
    ),
    "place": re.compile(r"\b(?:in|at|near|from|to) (?:the )?(?:[A-Z][a-z]+ )*[A-Z][a-z]{2,}"),
    "reason": re.compile(
        r"\b(?:because|due to|caused? by|causes?|results? (?:from|in)|owing to|leads? to|reasons?)\b", re.I
    ),
    "manner": re.compile(r"\b(?:by \w+ing|using|steps?|treat(?:ed|ing|ments?)?|methods?|procedures?|first,)\b", re.I),
    "definition": re.compile(r"\b(?:is|are|was|were|means?|refers? to) (?:an?|the|any|one)\b", re.I),
}
