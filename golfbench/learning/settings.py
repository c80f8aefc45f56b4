"""Hyper-parameters of training and of the learning loop, with the published values beside the defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

#: The published guard against blow-ups: nothing is learned from forces (what is left of them after the delta model)
#: whose Frobenius norm is larger, Hartree/Å. Typical norms are 0.2 to 1.
FORCE_NORM_GUARD = 10.5


class TrainSettings(BaseModel):
    """How a network is fitted (golf-paper, Table 5; published values in brackets).

    The loss is that of the published code: ``energy_weight``·MSE(E) + ``force_weight``·mean over molecules, atoms and
    components of the squared force error, here in units of the potential's scale, which leaves their ratio unchanged.

    Attributes:
        batch_size: Molecules per update [64]; small batches suit a CPU, where time grows with their size.
        learning_rate: Adam's, at the start of its cosine decay to a thousandth [1e-4].
        energy_weight: ρ [0.01].
        force_weight: [0.99].
        gradient_clip: Largest gradient norm [1.0].
        ema_decay: Decay of the exponential moving average of the weights that acts and is evaluated; 0 is off [off].
        schedule: Of the rate after the warm-up: ``cosine`` [cosine], or ``constant``, which presumes no end.
        warmup_updates: Updates over which the rate grows from zero [0].
        weight_decay: Decoupled, of AdamW [0].
        rates: Factor of the rate by the beginning of a parameter's name; 0 freezes, 1 where nothing is said.
        difference_weight: Weight of the energy differences between conformers of one molecule, which need no reference
            energies; conformers are then drawn in pairs [0].
        validation_share: Share of the molecules, with all their conformers, that is not learned from; the weights that
            are best on it are kept, those of the start among them [0].
        keeps_start: Whether the weights of the start come back if training made labels worse that it had not learned
            from yet (see ``learning.kept.Ahead``) [no].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(5.0e-4, gt=0)
    energy_weight: float = Field(0.01, ge=0)
    force_weight: float = Field(0.99, ge=0)
    gradient_clip: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.99, ge=0, lt=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_updates: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0)
    rates: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    difference_weight: float = Field(0.0, ge=0)
    validation_share: float = Field(0.0, ge=0, le=0.5)
    keeps_start: bool = False


class FineTuning(TrainSettings):
    """How weights that were made elsewhere, at another level of theory, are trained within the loop.

    Gentle, and never to a worse model than the start: a rate and a number of updates that suit a fresh network ruin a
    good one. Reference energies follow the labels (see ``learning.references``).

    Attributes:
        updates_per_label: Updates for each label asked for.
    """

    learning_rate: float = Field(1.0e-4, gt=0)
    energy_weight: float = Field(0.0025, ge=0)
    keeps_start: bool = True
    updates_per_label: int = Field(8, ge=0)


class GolfSettings(BaseModel):
    """The learning loop (Algorithm 1), with the deviations of the published code as named options.

    Attributes:
        updates_per_label: U, updates for each label asked for [50 for 10 000 labels, 500 for 1000].
        initial_share: Share of each batch taken from the initial set [0.1].
        parallel: Trajectories per round [120].
        steps: T, environment steps of a training trajectory [100].
        inner_steps: Optimizer updates per environment step [5].
        lag: Rounds between asking for labels and learning from them, in which the oracle works while trajectories and
            training go on [0: everybody waits for the last label of a round].
        deterministic: Labels are learned from in the order in which they were asked for, exactly ``lag`` rounds later;
            otherwise as they come, at most ``lag`` rounds later.
        explorer: What offers states to label: ``walks`` on the model's forces, ``given`` trajectories of the dataset,
            or ``relaxed``, the minima of the surrogate [walks].
        restart: Where trajectories start: ``initial`` (D_0 only, the published code) or ``all`` (the grown set,
            Algorithm 1).
        twin_decay: Share of itself that the network's twin keeps in a round, for a selection that looks at it.
        force_norm_guard_hartree_per_angstrom: Labels with a larger Frobenius norm of the forces (minus those of the
            delta model) are not learned from [10.5]; ``None`` switches it off.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    updates_per_label: int = Field(10, ge=0)
    initial_share: float = Field(0.1, ge=0, le=1)
    parallel: int = Field(8, ge=1)
    steps: int = Field(100, ge=1)
    inner_steps: int = Field(5, ge=1)
    lag: int = Field(1, ge=0)
    deterministic: bool = True
    explorer: Literal["walks", "given", "relaxed"] = "walks"
    restart: Literal["initial", "all"] = "initial"
    twin_decay: float = Field(0.9, ge=0, lt=1)
    force_norm_guard_hartree_per_angstrom: float | None = FORCE_NORM_GUARD
