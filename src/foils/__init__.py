"""foils: the negatives that dense retrievers are trained with.

``load`` a collection, ``mine`` negatives with a pipeline of stages, open them again as `Negatives`, ``compare`` ways of
training with them. Training and evaluation import their own libraries: ``from foils.train import train``,
``from foils.evaluate import evaluate``.
"""

from foils.advise import advise
from foils.audit import audit
from foils.calibrate import calibrate
from foils.check import check
from foils.core.collection import Collection
from foils.core.formats import load
from foils.core.pairs import Pairs
from foils.core.spec import parse
from foils.evaluate import probe
from foils.mine import Miner, mine
from foils.store import Negatives
from foils.study import compare
from foils.version import __version__
from foils.writing import write

__all__ = [
    "Collection",
    "Miner",
    "Negatives",
    "Pairs",
    "__version__",
    "advise",
    "audit",
    "calibrate",
    "check",
    "compare",
    "load",
    "mine",
    "parse",
    "probe",
    "write",
]
