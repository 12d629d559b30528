from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console, Group

from foils.audit.drawn import Drawn, Judged
from foils.audit.strata import Strata, Stratum
from foils.report.blocks import Plot
from foils.report.sections.audit import audited
from foils.terminal.auditing import _tables


@pytest.fixture
def judged():
    """Strata of 100, 60 and 40 items, of which 10, 6 and 4 are judged."""
    of = np.repeat([0, 1, 2], [100, 60, 40])
    at = np.concatenate([np.arange(10), 100 + np.arange(6), 160 + np.arange(4)])
    share = np.concatenate([np.arange(10) < 5, np.arange(6) < 1, np.ones(4)]).astype(np.float64)
    strata = Strata(of, tuple(Stratum(0, name, None, None) for name in "abc"))
    return Judged(strata, Drawn(at, np.full(20, 10.0)), share, None, True, 0.95)


def part_of(first, second, third):
    part = np.zeros(200, bool)
    for rows in (first, 100 + np.array(second), 160 + np.array(third)):
        part[np.asarray(rows, int)] = True
    return part


def test_judged_items_of_a_part_stand_for_their_stratum(judged):
    # 2 judged in a, of 10 in 100, one of them false; 3 in b, of 6 in 60, one false; 4 of 4 in c, for 40.
    part = part_of([4, 5, *range(50, 56)], [0, 1, 2, *range(20, 49)], range(40))
    assert judged.rate(part)[0].value == pytest.approx((10 + 10 + 40) / (20 + 30 + 40))
    assert judged.uncovered(part) == 0
    assert judged.rate(np.ones(200, bool))[0].value == pytest.approx((100 * 0.5 + 60 / 6 + 40) / 200)


def test_what_is_left_out_is_said(judged):
    part = part_of([0, 1, 2, 3], [], range(10, 16))
    told = judged.summary(part, "some")
    assert told["rate"] == 1
    assert told["uncovered"] == pytest.approx(0.6)
    nothing = judged.summary(part_of([], range(20, 30), []), "none")
    assert (nothing["rate"], nothing["uncovered"]) == (None, 1)
    full = judged.summary(part_of([0], [0], []), "full")
    by = {"source": [told, full], "rank": [nothing], "difficulty": []}
    console = Console(width=80, force_terminal=False, record=True, file=StringIO())
    console.print(Group(*_tables({"by": by})))
    text = " ".join(console.export_text().split())
    assert "*100.0%" in text
    assert text.endswith("nothing of it was judged: some (60.0%)")


def test_a_page_says_it_too(judged):
    told = judged.summary(part_of([0, 1, 2, 3], [], range(10, 16)), "some")
    plots = [block for block in audited({"by": {"source": [told]}}).blocks if isinstance(block, Plot)]
    assert plots[0].values[0]["label"].endswith("4 judged, none of 60.0 % of it")
