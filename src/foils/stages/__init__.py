"""Sources, scorers, labelers, filters and samplers: frozen values with ``Pairs -> Pairs``."""

from foils.stages.balance import Balanced, DistanceWeighted
from foils.stages.calibrated import Calibrated, MarginQuantile
from foils.stages.capped import Capped
from foils.stages.clusters import Cluster, ClusterQuery
from foils.stages.context import Context
from foils.stages.curriculum import Grades, Groups
from foils.stages.denoise import Denoise
from foils.stages.diverse import MMR
from foils.stages.doubts import Contested, MixtureWeight, Relevance
from foils.stages.feedback import Feedback
from foils.stages.filters import Between, Distinct, NoAnswer, PositiveAware, Ranks
from foils.stages.guards import Apart, HeldOut, NearPositive, PositiveQuantile
from foils.stages.labelers import Promote
from foils.stages.load import Load
from foils.stages.mix import AdaptiveMix, Mix
from foils.stages.mixture import MixtureNoise
from foils.stages.neighbours import PositiveNeighbours, QuestionNeighbours
from foils.stages.per_group import PerCluster, PerParent
from foils.stages.rank_prior import RankPrior
from foils.stages.readers import Filter, Labeler, ListScorer, Sampler
from foils.stages.samplers import SimANS, Softmax, Top, Uniform
from foils.stages.scorers import BiEncoder, CrossEncoder
from foils.stages.shortfall import Ensure
from foils.stages.siblings import Siblings
from foils.stages.sources import BM25, Dense, Random
from foils.stages.stage import Pool, Stage, Then
from foils.stages.trajectory import Trajectory
from foils.stages.triangle import PositiveSimilarity, TriSampler
from foils.stages.weights import Debiased, Doubted
from foils.stages.windows import Angle, Positions, Quantile, SemiHard, Sieve
from foils.stages.writers import Scorer, Source
from foils.stages.written import Written

__all__ = [
    "BM25",
    "MMR",
    "AdaptiveMix",
    "Angle",
    "Apart",
    "Balanced",
    "Between",
    "BiEncoder",
    "Calibrated",
    "Capped",
    "Cluster",
    "ClusterQuery",
    "Contested",
    "Context",
    "CrossEncoder",
    "Debiased",
    "Denoise",
    "Dense",
    "DistanceWeighted",
    "Distinct",
    "Doubted",
    "Ensure",
    "Feedback",
    "Filter",
    "Grades",
    "Groups",
    "HeldOut",
    "Labeler",
    "ListScorer",
    "Load",
    "MarginQuantile",
    "Mix",
    "MixtureNoise",
    "MixtureWeight",
    "NearPositive",
    "NoAnswer",
    "PerCluster",
    "PerParent",
    "Pool",
    "Positions",
    "PositiveAware",
    "PositiveNeighbours",
    "PositiveQuantile",
    "PositiveSimilarity",
    "Promote",
    "Quantile",
    "QuestionNeighbours",
    "Random",
    "RankPrior",
    "Ranks",
    "Relevance",
    "Sampler",
    "Scorer",
    "SemiHard",
    "Siblings",
    "Sieve",
    "SimANS",
    "Softmax",
    "Source",
    "Stage",
    "Then",
    "Top",
    "Trajectory",
    "TriSampler",
    "Uniform",
    "Written",
]
