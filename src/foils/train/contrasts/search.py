"""`Search`: what the current queries find in the whole corpus, in every step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foils.adapters.ann_text import parse as parse_index
from foils.core.spec import declare, require
from foils.stages.writers import check_model_name
from foils.train.batch import STUDENT
from foils.train.contrasts.bringer import Bringer, Site

if TYPE_CHECKING:
    from foils.train.carriers import Carrier


@declare
class Search(Bringer):
    """The k nearest documents of each query under its vector as it is now, searched anew in every step.

    ADORE (Zhan et al. 2021, arXiv:2104.08051, section 4.2, k = 200) and LTRe (Zhan et al. 2020, arXiv:2010.10469).
    Negatives are never stale, since document vectors stand: they are made once, by the document side of ``encoder``,
    and only the query side is trained (see `foils.train.towers`; the trained model holds both). What the documents are
    worth bounds what can be reached, so begin with a trained model.

    The list of a query are its k nearest documents; of those with the same text the first alone. If none of its known
    positives is among them, all of those are appended. If some are, the others are left out: a row whose own positive
    is left out has no negatives, hence loss 0 and gradient 0.

    Search is exact unless ``index`` names another kind, as in `Dense`; then the list is what that index finds, however
    many. The recall that the index reaches on a sample of the training queries, by their start vectors, is logged where
    it is too low. Logged with the loss: ``search_ms`` for a step, and ``search_found``, the share of the queries that
    found a positive.
    """

    k: int = 200  # documents per query
    encoder: str = STUDENT  # whose document vectors: a model's, or ``student`` for the student's at its start
    index: str = "exact"  # kind of index, with its parameters

    def check(self) -> None:
        """Bound of k; the name must not mean something else; the index must be one."""
        require(self.k >= 1, self, "k", "at least 1")
        check_model_name(self)
        parse_index(self.index)

    def frozen(self) -> tuple[str, ...]:
        """The one that it searches with."""
        return (self.encoder,)

    def open(self, site: Site) -> Carrier:
        """The index."""
        from foils.train.carriers.search import Searching

        return Searching(self, site)
