"""Components that each break one promise."""

from golfbench import hookimpl
from golfbench.specs import (
    DatasetSpec,
    ExecutorSpec,
    ModelSpec,
    OptimizerSpec,
    OracleSpec,
    Parameter,
    SelectionSpec,
)

MODULE = "wrong_components"
NETWORKS = "wrong_networks"


def oracle(name: str, attribute: str, **fields) -> OracleSpec:
    given = {"isolated": True, "charged": False, "open_shell": False, **fields}
    return OracleSpec(name=name, factory=f"{MODULE}:{attribute}", summary="Wrong.", method="Morse", **given)


@hookimpl
def golfbench_oracles():
    return [
        oracle("sound", "sound"),
        oracle("flipped", "flipped"),
        oracle("energies-in-ev", "energies_in_ev"),
        oracle("all-in-ev", "all_in_ev"),
        oracle("per-bohr", "per_bohr"),
        oracle("stateful", "Stateful"),
        oracle("ordered", "ordered"),
        oracle("oriented", "oriented"),
        oracle("no-sulfur", "NoSulfur"),
        oracle("charge-blind", "ChargeBlind", charged=True),
        oracle("mutating", "Mutating", isolated=False),
        oracle("noisy-import", "noisy", isolated=False),
        oracle("never-made", "never_made"),
        oracle("not-installed", "sound", requires=("no_such_engine",), install_hint="pip install no-such-engine"),
        OracleSpec(
            name="Unkempt",
            factory=f"{MODULE}:unkempt",
            summary="",
            method="{level}",
            parameters=(Parameter("level", "low", "", choices=("low", "high")), Parameter("size", None, "Size.")),
        ),
    ]


def model(name: str, attribute: str, **fields) -> ModelSpec:
    return ModelSpec(name=name, factory=f"{NETWORKS}:{attribute}", summary="Wrong.", **fields)


@hookimpl
def golfbench_models():
    return [
        model("sound-net", "Net"),
        model("idle-net", "IdleNet"),
        model("moody-net", "MoodyNet"),
        model("mixing-net", "MixingNet"),
        model("far-sighted-net", "FarSightedNet"),
        model("jumping-net", "JumpingNet"),
        model("detached-net", "DetachedNet"),
        model("tilted-net", "TiltedNet"),
        model("fixed", "Fixed", trainable=False),
        model("fixed-flipped", "FixedFlipped", trainable=False),
        model("fixed-crosstalk", "FixedCrosstalk", trainable=False),
    ]


@hookimpl
def golfbench_optimizers():
    names = ("Nosy", "Remembering", "Pushing", "Inplace", "Uphill")
    return [OptimizerSpec(name=name.lower(), factory=f"{NETWORKS}:{name}", summary="Wrong.") for name in names]


@hookimpl
def golfbench_selections():
    def selection(name: str, attribute: str, **fields) -> SelectionSpec:
        return SelectionSpec(name=name, factory=f"{MODULE}:{attribute}", summary="Wrong.", **fields)

    return [
        selection("labels-nan", "LabelsNan"),
        selection("dice", "Dice"),
        selection("inventing", "Inventing"),
        selection("endless", "Endless"),
        selection("peeking", "Peeking"),
        selection("blind", "FirstState", sees=frozenset({"surrogate"})),
        selection("silent", "FirstState", asks_oracle=False),
        selection("by-force", "RoundRule"),
        selection("by-spread", "Spreading", sees=frozenset({"committee"})),
        selection("out-of-range", "OutOfRange"),
        selection("twice", "Twice"),
        selection("stingy", "Stingy"),
        selection("round-dice", "RoundDice"),
        selection("sorting", "Sorting"),
        selection("round-peeking", "RoundPeeking"),
        selection("unnamed-spread", "Spreading"),
    ]


@hookimpl
def golfbench_datasets():
    return [
        DatasetSpec(name="muddled", factory=f"{MODULE}:Muddled", summary="Wrong.", method="GFN2-xTB"),
    ]


@hookimpl
def golfbench_executors():
    pool = "concurrent.futures:ThreadPoolExecutor"
    workers = (Parameter("max_workers", 2, "Calls at a time."),)
    return [
        ExecutorSpec(name="threads", factory=pool, summary="Sound.", parameters=workers),
        ExecutorSpec(name="swallowing", factory=f"{MODULE}:Swallowing", summary="Wrong."),
    ]
