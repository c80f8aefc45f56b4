"""Rules that look at a whole round, on rounds made by hand; the numbers are obtained in another way than the rules'."""

import numpy as np
import pytest
from ase.build import molecule as named

from golfbench.contracts import Candidate, Label, LabelledMolecule, Round, State
from golfbench.errors import ConfigurationError
from golfbench.molecules import Molecule
from golfbench.registry import registry
from golfbench.specs import SelectionSpec
from golfbench_selections.features import greedy_variances, shrunk_covariance
from golfbench_selections.rounds import FarthestFeatures


def offered(features: list[list[float]]) -> list[Candidate]:
    atoms = named("H2O")
    return [
        Candidate(
            Molecule(f"water/0@{k}", atoms.numbers, atoms.positions),
            State(k, atoms.positions, 0.0, np.zeros((3, 3)), features=np.array(place)),
        )
        for k, place in enumerate(features)
    ]


PLACES = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-9.0, -9.0], [9.0, 9.0]]


def test_before_anything_is_learned_the_middle_of_what_is_offered_stands_for_a_label():
    rng = np.random.default_rng(0)
    chosen = FarthestFeatures().choose(Round(0, offered(PLACES), 2, rng, np.zeros((0, 0))))
    assert sorted(chosen) == [3, 4]  # the two far ends, not two neighbours


@pytest.mark.parametrize(("label", "first"), [([9.0, 9.0], 3), ([-9.0, -9.0], 4)])
def test_with_labels_the_farthest_from_them_comes_first(label, first):
    rng = np.random.default_rng(0)
    chosen = FarthestFeatures().choose(Round(0, offered(PLACES), 1, rng, np.array([label])))
    assert chosen == [first]


# --- Scores ----------------------------------------------------------------------------------------------------------

WATER = named("H2O")
PULL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])


def candidate(name, atoms=WATER, forces=None, **seen):
    zero = np.zeros((len(atoms), 3))
    molecule = Molecule(name, atoms.numbers, atoms.positions)
    step = int(name.rpartition("@")[2])
    return Candidate(molecule, State(step, atoms.positions, 0.0, zero if forces is None else forces, **seen))


def choose(text, candidates, budget=3, training_features=None):
    """Return the ids that a selection chooses, in its order."""
    selection = registry().component(SelectionSpec, text).create()
    chosen = selection.choose(Round(0, candidates, budget, np.random.default_rng(0), training_features))
    return [candidates[k].molecule.id for k in chosen]


def test_the_largest_forces_come_first_and_one_of_each_trajectory_before_the_second_of_any():
    offered = [candidate("a@1", forces=2 * PULL), candidate("a@2", forces=3 * PULL), candidate("b@1", forces=PULL)]
    assert choose("force-norm", offered) == ["a@2", "b@1", "a@1"]


def test_a_force_is_weighed_by_the_number_of_atoms_that_feel_it():
    two = named("H2")  # the same largest force, on one atom of two
    forces = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # root mean square: 0.707 of two atoms, 0.816 of three
    assert choose("force-norm", [candidate("h2@1", two, forces), candidate("water@1", forces=PULL)])[0] == "water@1"


def test_what_model_and_surrogate_disagree_on_comes_first_and_what_the_surrogate_fails_on_last():
    offered = [
        candidate("same@1", forces=5 * PULL, surrogate_forces=5 * PULL),
        candidate("turned@1", forces=PULL, surrogate_forces=-PULL),
        candidate("failed@1", forces=9 * PULL, surrogate_forces=np.full((3, 3), np.nan)),
        candidate("off@1", forces=PULL, surrogate_forces=0 * PULL),
    ]
    assert choose("force-mismatch", offered) == ["turned@1", "off@1", "same@1", "failed@1"]


def test_the_energies_that_a_committee_disagrees_on_count_for_their_size():
    # 3 / sqrt(3 atoms) = 1.73, 2.6 / sqrt(2 atoms) = 1.84
    offered = [candidate("water@1", energy_spread=3.0), candidate("h2@1", named("H2"), energy_spread=2.6)]
    assert choose("committee-energy", offered) == ["h2@1", "water@1"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("committee-energy", "committee"),
        ("committee-force", "committee"),
        ("force-mismatch", "surrogate"),
        ("kernel", "features"),
        ("mahalanobis", "features"),
        ("farthest-features", "features"),
    ],
)
def test_what_a_rule_lacks_is_said(text, word):
    with pytest.raises(ConfigurationError, match=f"{text}.*{word}"):
        choose(text, [candidate("water@1")])


# --- Features --------------------------------------------------------------------------------------------------------


def by_gaussian_process(offered, learned, noise, count):
    """Pick by the posterior variance of an explicit kernel matrix, solved anew for each pick."""
    everything = np.concatenate([offered, learned])
    unit = np.square(everything).sum(axis=1).mean()
    known, chosen = learned, []
    for _ in range(count):
        gram = known @ known.T / unit + noise * np.eye(len(known))
        cross = offered @ known.T / unit
        left = (offered**2).sum(axis=1) / unit - (cross * np.linalg.solve(gram, cross.T).T).sum(axis=1)
        left[chosen] = -1.0
        chosen.append(int(left.argmax()))
        known = np.concatenate([known, offered[chosen[-1] :][:1]])
    return chosen


@pytest.mark.parametrize(("size", "labels"), [(3, 5), (8, 2), (20, 40), (30, 1)])
def test_the_kernel_picks_what_a_gaussian_process_knows_least_of(size, labels):
    rng = np.random.default_rng(size)
    offered, learned = rng.normal(size=(25, size)), rng.normal(size=(labels, size))
    expected = by_gaussian_process(offered, learned, 1e-3, 12)
    assert greedy_variances(offered, learned, 1e-3, 12) == expected
    names = [f"m{k}@1" for k in range(25)]
    chosen = choose("kernel", [candidate(n, features=x) for n, x in zip(names, offered, strict=True)], 12, learned)
    assert chosen == [names[k] for k in expected]


def test_the_kernel_does_not_pick_the_twin_of_what_it_has_picked():
    places = [[5.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]
    assert greedy_variances(np.array(places), np.zeros((0, 3)), 1e-3, 3) == [0, 2, 3]


def test_the_kernel_refuses_labels_without_noise():
    with pytest.raises(ConfigurationError, match="noise"):
        registry().component(SelectionSpec, "kernel:noise=0").create()


def test_unlikely_features_are_told_by_the_spread_of_the_training_set():
    rng = np.random.default_rng(0)
    learned = rng.normal(size=(4000, 2)) * [10.0, 0.1]  # far along the first axis is usual, along the second it is not
    offered = [candidate("usual@1", features=np.array([9.0, 0.0])), candidate("odd@1", features=np.array([0.0, 1.0]))]
    assert choose("mahalanobis", offered, training_features=learned) == ["odd@1", "usual@1"]


def test_many_rows_are_hardly_shrunk_and_few_are_almost_a_multiple_of_the_identity():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 4))
    many = rng.normal(size=(50000, 4)) @ root
    assert np.allclose(shrunk_covariance(many, 4), np.cov(many.T, bias=True), rtol=0.02, atol=0.02)
    few = rng.normal(size=(3, 40))
    shrunk = shrunk_covariance(few, 40)
    assert np.isclose(shrunk.trace(), np.cov(few.T, bias=True).trace())  # the mean variance is kept
    assert np.linalg.cond(shrunk) < 100  # where that of three rows is singular


def test_the_shrinkage_is_the_published_one():
    """The share of the identity, from the definitions of Ledoit and Wolf (lemma 3.2 to 3.4), sample by sample."""
    rows = np.random.default_rng(5).normal(size=(7, 3)) * [4.0, 1.0, 0.2]
    off = rows - rows.mean(axis=0)
    sample = sum(np.outer(x, x) for x in off) / 7
    mean = np.trace(sample) / 3
    distance = np.linalg.norm(sample - mean * np.eye(3)) ** 2 / 3
    error = min(sum(np.linalg.norm(np.outer(x, x) - sample) ** 2 / 3 for x in off) / 49, distance)
    share = error / distance
    assert 0 < share < 1
    assert np.allclose(shrunk_covariance(rows, 3), share * mean * np.eye(3) + (1 - share) * sample)


@pytest.mark.parametrize("rows", [np.zeros((0, 3)), np.ones((1, 3)), np.ones((5, 3))])
def test_rows_without_a_spread_leave_the_plain_distance(rows):
    assert np.array_equal(shrunk_covariance(rows, 3), np.eye(3))


# --- Mixtures --------------------------------------------------------------------------------------------------------


def parts_of(text, count=2000):
    """Return how often each part follows a trajectory: those of golf end where the surrogate rises."""
    selection, ended = registry().component(SelectionSpec, text).create(), 0
    start = Molecule("water/0", WATER.numbers, WATER.positions)
    for seed in range(count):
        memory = selection.begin(start, np.random.default_rng(seed))
        for step, energy in enumerate([9.0, 8.0, 10.0]):
            decision = memory.observe(State(step, WATER.positions, 0.0, np.zeros((3, 3)), energy))
        ended += decision.end
    return ended / count


def test_trajectories_are_dealt_out_by_the_shares():
    sigma = (0.25 / 2000) ** 0.5
    assert abs(parts_of("mixed") - 0.5) < 4 * sigma
    assert abs(parts_of('mixed:parts="golf random",shares="3 1"') - 0.75) < 4 * sigma
    assert parts_of("mixed:parts=random golf,shares=0 1") == 1.0


def test_a_part_that_looks_at_the_round_chooses_among_its_own_trajectories_only():
    selection = registry().component(SelectionSpec, "mixed:parts=force-norm last").create()
    followed = {}
    for k in range(8):
        start = Molecule(f"m{k}", WATER.numbers, WATER.positions)
        memory = selection.begin(start, np.random.default_rng(k))
        # One that looks at the round takes every state as a candidate, the control waits for the last one.
        takes = memory.observe(State(1, WATER.positions, 0.0, PULL)).label
        followed[f"m{k}"] = "force-norm" if takes else "last"
    assert set(followed.values()) == {"last", "force-norm"}
    offered = [candidate(f"m{k}@{step}", forces=(k + step) * PULL) for k in range(8) for step in (1, 2)]
    chosen = selection.choose(Round(0, offered, 8, np.random.default_rng(0)))
    names = [offered[k].molecule.id for k in chosen][:8]
    mine = [name for name, part in followed.items() if part == "force-norm"]
    ranked = [f"{name}@2" for name in sorted(mine, key=lambda name: -int(name[1:]))]
    assert names[: len(mine)] == ranked  # as many as it follows, one of each trajectory


def test_a_mixture_sees_what_its_parts_see_and_no_more():
    def sees(text):
        return registry().find(SelectionSpec, text).sees

    assert sees("mixed") == {"surrogate"}
    assert sees("mixed:parts=random last") == set()
    assert sees("mixed:parts=kernel force-mismatch") == {"features", "training_set", "surrogate_forces"}
    assert not registry().find(SelectionSpec, "mixed:parts=none").asks_oracle


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("mixed:parts=golff random", "did you mean 'golf'"),
        ("mixed:parts=golf random,shares=1", "2 shares"),
        ("mixed:parts=golf random,shares=1 x", "numbers"),
        ("mixed:parts=golf random,shares=0 0", "2 shares"),
        ("mixed:parts=golf random,shares=1 -1", "2 shares"),
        ('mixed:parts=""', "names no selection"),
        ("mixed:parts=golf oracle-trajectory", "candidates of its own"),
        ("mixed:parts=golf:patience=0 random", "patience"),
    ],
)
def test_a_mixture_refuses_what_it_cannot_mix(text, word):
    with pytest.raises(ConfigurationError, match=word):
        registry().component(SelectionSpec, text).create()


# --- Ends and tangents -----------------------------------------------------------------------------------------------


def round_with(text, names, budget=8, **shown):
    """Return the ids that a selection chooses among states with these ids."""
    offered = [candidate(name) if isinstance(name, str) else name for name in names]
    selection = registry().component(SelectionSpec, text).create()
    chosen = selection.choose(Round(0, offered, budget, np.random.default_rng(0), **shown))
    return [offered[k].molecule.id for k in chosen]


def label(name, force):
    """Return a label whose largest force on an atom is so many Hartree/Å."""
    return LabelledMolecule(Molecule(name, WATER.numbers, WATER.positions), Label(-76.0, force * PULL, "GFN2-xTB"))


def test_unsettled_takes_new_compounds_first_then_those_that_were_the_most_wrong():
    known = [label("right/0@7", 0.5), label("wrong/1@3", 0.02), label("right/2@9", 0.001)]  # the last one counts
    names = ["right/0@8", "wrong/0@5", "new/0@4", "right/5@2"]
    assert round_with("unsettled:share=1", names, labelled=known) == ["new/0@4", "wrong/0@5", "right/0@8", "right/5@2"]
    assert round_with("unsettled", names, labelled=known) == ["new/0@4", "wrong/0@5"]
    assert round_with("unsettled:share=0.1", names, labelled=known) == ["new/0@4"]  # one at least


def test_unsettled_takes_one_end_of_each_compound_before_the_second_of_any():
    names = ["a/0@3", "a/1@3", "b/0@3", "c/0@3"]
    known = [label("b/3@1", 0.3), label("c/3@1", 0.1)]
    assert round_with("unsettled:share=1", names, labelled=known) == ["a/0@3", "b/0@3", "c/0@3", "a/1@3"]
    assert round_with("unsettled", names, labelled=[]) == ["a/0@3", "b/0@3"]


def test_end_mismatch_ranks_ends_by_the_pull_of_the_surrogate_and_puts_what_it_cannot_judge_last():
    pulls = {"a/0@9": 0.1, "b/0@9": 0.3, "c/0@9": np.nan, "d/0@9": 0.2}
    ends = [candidate(name, surrogate_forces=pull * PULL) for name, pull in pulls.items()]
    assert round_with("end-mismatch:share=1", ends) == ["b/0@9", "d/0@9", "a/0@9", "c/0@9"]
    assert round_with("end-mismatch", ends) == ["b/0@9", "d/0@9"]


@pytest.mark.parametrize("text", ["unsettled", "end-mismatch"])
def test_only_the_end_of_a_trajectory_is_a_candidate(text):
    selection = registry().component(SelectionSpec, text).create()
    memory = selection.begin(Molecule("water/0", WATER.numbers, WATER.positions), np.random.default_rng(0))
    states = [State(k, WATER.positions, -float(k), PULL, last=k == 3) for k in range(4)]
    found = [memory.observe(state) for state in states]
    assert [len(decision.label) for decision in found] == [0, 0, 0, 1]
    assert found[-1].label[0].step == 3
    assert found[-1].end


@pytest.mark.parametrize("share", ["0", "1.5", "-1"])
@pytest.mark.parametrize("name", ["unsettled", "end-mismatch"])
def test_what_is_no_share_is_refused(name, share):
    with pytest.raises(ConfigurationError, match="share"):
        registry().component(SelectionSpec, f"{name}:share={share}").create()


def test_first_labels_the_start_and_walks_no_further():
    selection = registry().component(SelectionSpec, "first").create()
    memory = selection.begin(Molecule("water/0", WATER.numbers, WATER.positions), np.random.default_rng(0))
    decision = memory.observe(State(0, WATER.positions, -76.0, PULL))
    assert [state.step for state in decision.label] == [0]
    assert decision.end
    broken = selection.begin(Molecule("water/0", WATER.numbers, WATER.positions), np.random.default_rng(0))
    assert not broken.observe(State(0, WATER.positions, np.nan, PULL)).label


def test_the_tangent_kernel_picks_what_a_gaussian_process_on_the_tangents_knows_least_of():
    rng = np.random.default_rng(11)
    tangents, known = rng.normal(size=(20, 6)), rng.normal(size=(9, 6))
    names = [f"m{k}/0@1" for k in range(20)]
    expected = by_gaussian_process(tangents, known, 1e-3, 7)
    chosen = round_with("tangent-kernel", names, 7, tangents=tangents, training_tangents=known)
    assert chosen == [names[k] for k in expected]


def test_a_mixture_shows_each_part_the_tangents_of_its_own_candidates():
    selection = registry().component(SelectionSpec, 'mixed:parts="tangent-kernel last"').create()
    followed = []
    for k in range(12):
        start = Molecule(f"m{k}/0", WATER.numbers, WATER.positions)
        memory = selection.begin(start, np.random.default_rng(k))
        followed.append(bool(memory.observe(State(1, WATER.positions, 0.0, PULL)).label))
    assert 0 < sum(followed) < 12
    offered = [candidate(f"m{k}/0@1") for k in range(12)]
    tangents = np.diag(np.arange(1.0, 13.0))  # the longest one is the least known
    round = Round(0, offered, 12, np.random.default_rng(0), tangents=tangents, training_tangents=np.zeros((0, 12)))
    mine = [k for k in range(12) if followed[k]]
    chosen = selection.choose(round)
    assert chosen[: len(mine)] == sorted(mine, reverse=True)


def test_what_the_new_rules_lack_is_said():
    with pytest.raises(ConfigurationError, match=r"tangent-kernel.*tangents"):
        round_with("tangent-kernel", ["water/0@1"])
    with pytest.raises(ConfigurationError, match=r"end-mismatch.*surrogate"):
        round_with("end-mismatch", ["water/0@1"])
