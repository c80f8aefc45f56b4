"""The learners of the suite itself, registered like those of any plugin. Listing imports this module."""

from __future__ import annotations

from golfbench.hookspecs import hookimpl
from golfbench.specs import LearnerSpec, Parameter


@hookimpl
def golfbench_learners() -> list[LearnerSpec]:
    """Offer ``single`` and ``committee``."""
    return [
        LearnerSpec(
            name="single",
            factory="golfbench.learning.learner:Single",
            summary="One network, fitted by Adam.",
            license="MIT",
        ),
        LearnerSpec(
            name="committee",
            factory="golfbench.learning.learner:Committee",
            summary="Several networks that differ by their seeds; their spread is an uncertainty.",
            parameters=(Parameter("members", 3, "Networks."),),
            citation="arXiv:1801.09319",
            license="MIT",
        ),
    ]
