"""Sources, scorers, labelers, filters and samplers: frozen values with ``Pairs -> Pairs``."""

from foils.stages.clusters import Cluster, ClusterQuery
from foils.stages.context import Context
from foils.stages.families import Filter, Labeler, Sampler, Scorer, Source
from foils.stages.filters import Between, Distinct, NoAnswer, PositiveAware, Ranks
from foils.stages.labelers import Promote
from foils.stages.neighbours import PositiveNeighbours, QuestionNeighbours
from foils.stages.samplers import SimANS, Softmax, Top, Uniform
from foils.stages.scorers import BiEncoder, CrossEncoder
from foils.stages.shortfall import Ensure
from foils.stages.siblings import Siblings
from foils.stages.sources import BM25, Dense, Load, Random
from foils.stages.stage import Pool, Stage, Then
from foils.stages.trajectory import Trajectory

__all__ = [
    "BM25",
    "Between",
    "BiEncoder",
    "Cluster",
    "ClusterQuery",
    "Context",
    "CrossEncoder",
    "Dense",
    "Distinct",
    "Ensure",
    "Filter",
    "Labeler",
    "Load",
    "NoAnswer",
    "Pool",
    "PositiveAware",
    "PositiveNeighbours",
    "Promote",
    "QuestionNeighbours",
    "Random",
    "Ranks",
    "Sampler",
    "Scorer",
    "Siblings",
    "SimANS",
    "Softmax",
    "Source",
    "Stage",
    "Then",
    "Top",
    "Trajectory",
    "Uniform",
]
