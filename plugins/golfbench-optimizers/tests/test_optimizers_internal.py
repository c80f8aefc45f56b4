"""Internal coordinates, the Hessian in them, and the optimizer that walks in them."""

import numpy as np
import pytest
import torch
from ase.units import Bohr

from golfbench.chemistry import embed
from golfbench.errors import ConfigurationError
from golfbench.learning.opening import open_fixed_model
from golfbench.minimization import StoppingRule, minimize
from golfbench.molecules import Molecule
from golfbench.specs import ComponentRef
from golfbench.units import HARTREE_TO_KCAL_MOL
from golfbench_optimizers import internals
from golfbench_optimizers.hessian_guess import contact_curvature, contact_pairs, force_constants
from golfbench_optimizers.lbfgs import LBFGS
from golfbench_optimizers.line_minimum import cubic_minimum
from golfbench_optimizers.restricted_step import SLACK, Metric, restricted_step
from golfbench_optimizers.rfo_internal import RFOInternal, Walk, external_motions
from golfbench_optimizers.secant import Secants
from golfbench_optimizers.topology import find_topology, outdated

BUTYNE, PARACETAMOL, SALICYLAMIDE = "CC#CC", "CC(=O)Nc1ccc(O)cc1", "NC(=O)c1ccccc1O"
CO2 = np.array([[0.0, 0.0, 0.0], [1.16, 0.0, 0.0], [-1.16, 0.0, 0.0]])
WATER = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def start(smiles, seed=1):
    return embed(smiles, smiles, 1, seed)[0]


def shaken(molecule, scale=0.03):
    noise = np.random.default_rng(5).normal(scale=scale, size=molecule.positions.shape)
    return molecule.positions + noise


@pytest.fixture(scope="module")
def mmff():
    return open_fixed_model(ComponentRef("mmff94"))


@pytest.fixture(scope="module")
def gfn2():
    pytest.importorskip("golfbench_xtb")
    return open_fixed_model(ComponentRef("gfn2-xtb"))


def walked(model, molecules, fmax=0.01, optimizer=None, limit=100, **settings):
    """Return the outcomes in the order of the molecules."""
    rule = StoppingRule(fmax, limit)
    outcomes = minimize(model, molecules, optimizer or RFOInternal(), rule, **settings)
    return sorted(outcomes, key=lambda outcome: outcome.point.index)


@pytest.mark.parametrize("smiles", [PARACETAMOL, BUTYNE, "CC(C)(C)S(=O)(=O)N", "C=C=C", "N#CCC(=O)O"])
def test_derivatives_agree_with_finite_differences(smiles):
    molecule = start(smiles)
    x = shaken(molecule)
    topology = find_topology(molecule.numbers, molecule.positions)
    _, matrix = internals.values_and_derivatives(topology, x)
    step = 1e-5
    for column in range(x.size):
        moved = np.zeros(x.size)
        moved[column] = step
        up, _ = internals.values_and_derivatives(topology, x + moved.reshape(x.shape))
        down, _ = internals.values_and_derivatives(topology, x - moved.reshape(x.shape))
        numeric = internals.wrap(topology, up - down) / (2 * step)
        assert np.abs(numeric - matrix[:, column]).max() < 1e-7


def test_values_are_the_textbook_ones():
    x = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 2.0], [0, 1.0, 2.0]])
    quadruple = np.array([[0, 1, 2, 3]])
    assert internals.bond(x, quadruple[:, 1:3])[0] == pytest.approx(2.0)
    assert internals.angle(x, quadruple[:, :3])[0] == pytest.approx(np.pi / 2)
    assert abs(internals.torsion(x, quadruple)[0]) == pytest.approx(np.pi / 2)
    bent = np.array([[np.cos(0.02), np.sin(0.02), 0.0], [0, 0, 0], [-np.cos(0.02), np.sin(0.02), 0]])
    value, _ = internals.linear_bend(bent, np.array([[0, 1, 2]]), np.array([[0, 1.0, 0]]))
    assert value[0] == pytest.approx(2 * np.sin(0.02), rel=1e-12)  # to third order π minus the angle


def test_torsions_are_compared_across_the_branch_cut():
    molecule = start(PARACETAMOL)
    topology = find_topology(molecule.numbers, molecule.positions)
    bonds, angles, torsions, impropers, _ = topology.counts
    difference = np.full(sum(topology.counts), 2 * np.pi - 0.1)
    wrapped = internals.wrap(topology, difference)
    assert np.allclose(wrapped[bonds + angles :][: torsions + impropers], -0.1)
    assert np.allclose(wrapped[: bonds + angles], 2 * np.pi - 0.1)


@pytest.mark.parametrize(
    ("smiles", "motions"), [(PARACETAMOL, 54), (BUTYNE, 24), ("C1CC2CCC1C2", 51), ("C=C=C", 15), ("O.O", 12), ("N", 6)]
)
def test_coordinates_span_all_internal_motions(smiles, motions):
    molecule = start(smiles)
    topology = find_topology(molecule.numbers, molecule.positions)
    x = shaken(molecule, 0.01)
    _, matrix = internals.values_and_derivatives(topology, x)
    assert len(molecule) * 3 - 6 == motions
    external = np.linalg.qr(external_motions(x).T)[0]
    internal = np.eye(x.size) - external @ external.T
    assert np.linalg.matrix_rank(matrix @ internal, tol=1e-3) == motions
    assert np.linalg.svd(matrix @ internal, compute_uv=False)[motions:].max(initial=0.0) < 1e-10


@pytest.mark.parametrize("smiles", [PARACETAMOL, "O.O", BUTYNE, "C=C=C"])
def test_only_linear_bends_see_rotations_and_by_how_much_the_angle_is_bent(smiles):
    molecule = start(smiles)
    topology = find_topology(molecule.numbers, molecule.positions)
    x = shaken(molecule, 0.01)
    _, matrix = internals.values_and_derivatives(topology, x)
    shifts = np.tile(np.eye(3), len(x))
    turns = np.stack([np.cross(axis, x).ravel() for axis in np.eye(3)])
    expected = np.zeros((3, len(matrix)))
    if len(topology.linear):
        first, middle, last = (x[atoms] for atoms in topology.linear.T)
        bent = sum((end - middle) / np.linalg.norm(end - middle, axis=1, keepdims=True) for end in (first, last))
        # The two axes are fixed in space: a rotation by ω changes (u + v)·axis by ω·((u + v) × axis).
        seen = np.concatenate([np.cross(bent, topology.axes[:, i]) for i in range(2)])
        expected[:, -len(seen) :] = seen.T
        assert 1e-3 < np.abs(seen).max() < 0.1
    assert np.abs(matrix @ shifts.T).max() < 1e-12
    assert np.abs(turns @ matrix.T - expected).max() < 1e-12


def test_coordinates_of_straight_chains_and_fragments():
    carbon_dioxide = find_topology(np.array([6, 8, 8]), CO2)
    assert carbon_dioxide.counts == (2, 0, 0, 0, 2)
    _, matrix = internals.values_and_derivatives(carbon_dioxide, CO2)
    assert np.linalg.matrix_rank(matrix) == 4
    butyne = start(BUTYNE)
    across = find_topology(butyne.numbers, butyne.positions)
    assert len(across.linear) == 2
    assert across.counts[2] == 9  # the methyl groups turn against each other across the triple bond
    assert across.torsion_share == pytest.approx(1 / 9)
    dimer = start("O.O")
    assert find_topology(dimer.numbers, dimer.positions).auxiliary.sum() == 2  # one bond, both ways
    alone = find_topology(np.array([2]), np.zeros((1, 3)))
    assert alone.counts == (0, 0, 0, 0, 0)


def test_coordinates_are_renewed_when_a_bond_breaks_or_an_angle_straightens():
    numbers = np.array([8, 1, 1])
    topology = find_topology(numbers, WATER)
    assert topology.counts == (2, 1, 0, 0, 0)
    assert not outdated(topology, numbers, WATER * 1.1)
    broken = WATER.copy()
    broken[1, 0] = 1.6
    assert outdated(topology, numbers, broken)
    assert outdated(topology, numbers, np.array([[0, 0, 0], [0.96, 0, 0], [-0.96, 0.01, 0]]))
    bent = CO2 + np.array([[0, 0.35, 0], [0, 0, 0], [0, 0, 0]])
    assert outdated(find_topology(np.array([6, 8, 8]), CO2), np.array([6, 8, 8]), bent)


def test_torsions_across_linear_atoms_are_as_stiff_as_the_ends_of_their_axis():
    def torsions_of(smiles):
        molecule = start(smiles)
        topology = find_topology(molecule.numbers, molecule.positions)
        bonds, angles, torsions, *_ = topology.counts
        return force_constants(topology, molecule.numbers, molecule.positions)[bonds + angles :][:torsions].sum()

    assert torsions_of("C=C=C") == pytest.approx(torsions_of("C=C"), rel=0.3)
    assert torsions_of(BUTYNE) < torsions_of("C=C=C") / 3


def test_force_constants_have_the_form_of_lindhs():
    topology = find_topology(np.array([8, 1, 1]), WATER)
    constants = force_constants(topology, np.array([8, 1, 1]), WATER)
    r = np.linalg.norm(WATER[1:], axis=1) / Bohr
    strength = np.exp(0.3949 * (2.10**2 - r**2))
    assert constants == pytest.approx([*(0.30 / Bohr**2 * strength), 0.08 * strength.prod()], rel=1e-12)


def test_torsions_around_an_axis_share_its_constant():
    x = np.array([[1.34, 0, 0], [0, 0, 0], [0, 0, 2.05], [0, 1.34, 2.05]])
    numbers = np.array([1, 16, 16, 1])
    topology = find_topology(numbers, x)
    assert topology.counts == (3, 2, 1, 0, 0)
    axis = np.exp(0.28 * (3.40**2 - (2.05 / Bohr) ** 2))
    assert force_constants(topology, numbers, x)[-1] == pytest.approx(0.015 * axis**3, rel=1e-12)
    ethane = start("CC")
    _, _, torsions, *_ = (topology := find_topology(ethane.numbers, ethane.positions)).counts
    constants = force_constants(topology, ethane.numbers, ethane.positions)
    assert torsions == 9
    carbons = np.linalg.norm(ethane.positions[0] - ethane.positions[1]) / Bohr
    assert constants[-9:].sum() == pytest.approx(0.015 * np.exp(3 * 0.28 * (2.87**2 - carbons**2)), rel=1e-12)


@pytest.mark.parametrize(
    ("values", "slopes", "expected"),
    [
        ((0.0, 0.0), (-1.0, 1.0), (0.5, -0.25)),  # t² - t
        ((0.0, 1.0), (-3.0, 9.0), (0.5, -1.0)),  # 4t³ - 3t
        ((0.0, -1.0), (-1.0, -1.0), (np.nan, np.nan)),  # a straight line
        ((0.0, 1.0), (1.0, 1.0), (np.nan, np.nan)),
    ],
)
def test_the_cubic_between_two_points_has_its_minimum(values, slopes, expected):
    assert cubic_minimum(values, slopes) == pytest.approx(expected, nan_ok=True)


def test_after_an_overshoot_the_walk_goes_on_from_the_minimum_in_between():
    walk, x = Walk(np.array([8, 8]), memory=5, radius=0.6), np.array([[0.0, 0, 0], [0, 0, 1.25]])
    lengths = []
    for _ in range(3):
        length = np.linalg.norm(x[1] - x[0])
        unit = (x[1] - x[0]) / length
        slope = 8 * (length - 1.2)  # a bond several times stiffer than the model's
        lengths.append(length)
        x = walk.next(x, 4 * (length - 1.2) ** 2, np.array([-slope * unit, slope * unit]))
    assert lengths[1] < 1.15
    assert lengths[2] == pytest.approx(1.2, abs=1e-9)


def test_contacts_curve_along_their_line_only():
    x = np.array([[0.0, 0, 0], [0, 0, 2.2]])
    hessian = contact_curvature(np.array([[0, 1]]), np.array([1, 1]), x)
    assert hessian[2, 2] == pytest.approx(0.003)  # at the sum of the radii of two hydrogens
    assert hessian[2, 5] == pytest.approx(-0.003)
    assert not hessian[:2].any()
    molecule = start(BUTYNE)
    pairs = contact_pairs(find_topology(molecule.numbers, molecule.positions))
    assert len(pairs) == 9  # hydrogens at one end and at the other: five bonds apart


def test_secants_are_bfgs():
    rng = np.random.default_rng(2)
    quadratic = rng.normal(size=(6, 6))
    quadratic = quadratic @ quadratic.T + np.eye(6)
    initial = np.diag(rng.uniform(1, 3, 6))
    secants, dense = Secants.empty(10, 6), initial
    for step in rng.normal(size=(4, 6)):
        change = quadratic @ step
        secants.add(step, change)
        curved = dense @ step
        dense = dense + np.outer(change, change) / (step @ change) - np.outer(curved, curved) / (step @ curved)
    updated = initial + secants.correction(lambda rows: rows @ initial, lambda rows: rows)
    assert np.abs(updated - dense).max() < 1e-10
    secants.add(step, -change)  # negative curvature is not kept
    assert len(secants.steps) == 4
    for step in rng.normal(size=(9, 6)):
        secants.add(step, quadratic @ step)
    assert len(secants.steps) == 10


def test_restricted_step_is_newton_inside_and_as_long_as_the_radius_outside():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 5))
    hessian, gradient = root @ root.T + 0.1 * np.eye(5), rng.normal(size=5)
    metric = Metric(rng.normal(size=(3, 5)), 0.1)
    newton = restricted_step(hessian, metric, gradient, 1e6)
    assert np.allclose(newton.displacement, -np.linalg.solve(hessian, gradient))
    assert newton.predicted == pytest.approx(-0.5 * gradient @ np.linalg.solve(hessian, gradient))
    assert metric.length(newton.displacement) == pytest.approx(newton.length)
    short = restricted_step(hessian, metric, gradient, 0.1)
    d, shape = short.displacement, metric.matrix()
    assert np.sqrt(d @ shape @ d) == pytest.approx(short.length)
    assert 0.1 <= short.length <= SLACK * 0.1  # 1/‖d‖ is concave in λ: Newton iterations never pass the radius
    assert newton.predicted < short.predicted < 0
    pull, push = -(gradient + hessian @ d), shape @ d  # (H + λT) d = -g with one λ
    assert np.allclose(pull, (pull @ push) / (push @ push) * push)
    with pytest.raises(np.linalg.LinAlgError):
        restricted_step(-hessian, metric, gradient, 0.1)


def test_external_motions_leave_all_internal_coordinates_alone():
    molecule = start(PARACETAMOL)
    _, matrix = internals.values_and_derivatives(
        find_topology(molecule.numbers, molecule.positions), molecule.positions
    )
    motions = external_motions(molecule.positions)
    assert np.abs(matrix @ motions.T).max() < 1e-10
    assert np.linalg.norm(motions, axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize(("smiles", "most"), [("O", 6), ("CCO", 8), (PARACETAMOL, 19)])
def test_minima_of_gfn2_in_few_force_calls(gfn2, smiles, most):
    molecule = start(smiles)
    (outcome,) = walked(gfn2, [molecule])
    (reference,) = walked(gfn2, [molecule], optimizer=LBFGS(), limit=400)
    assert outcome.status == reference.status == "converged"
    assert outcome.model_calls <= most
    assert outcome.model_calls < reference.model_calls
    # L-BFGS may stop half a kcal/mol up a flat torsion; walked on, both end in the same minimum.
    ends = [molecule.at(o.point.positions) for o in (outcome, reference)]
    minimum, other = (o.point.energy for o in walked(gfn2, ends, fmax=5e-4))
    assert abs(minimum - other) * HARTREE_TO_KCAL_MOL < 1e-5
    assert -1e-6 < (outcome.point.energy - minimum) * HARTREE_TO_KCAL_MOL < 1e-3


def test_fewer_than_half_the_force_calls_of_lbfgs(mmff):
    molecules = [start(s) for s in (PARACETAMOL, SALICYLAMIDE, "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "CN1CCC[C@H]1c1cccnc1")]
    ours = walked(mmff, molecules)
    theirs = walked(mmff, molecules, optimizer=LBFGS(), limit=400)
    assert {o.status for o in ours + theirs} == {"converged"}
    assert 2 * sum(o.model_calls for o in ours) < sum(o.model_calls for o in theirs)


def test_a_path_is_the_same_alone_in_a_batch_and_in_another_order(mmff):
    molecules = [start(s) for s in (PARACETAMOL, BUTYNE, "CCO", SALICYLAMIDE)]
    together = walked(mmff, molecules, in_flight=4)
    refilled = walked(mmff, molecules, in_flight=2)
    backwards = walked(mmff, molecules[::-1], in_flight=3)[::-1]
    alone = [walked(mmff, [molecule])[0] for molecule in molecules]
    for others in (refilled, backwards, alone):
        for one, other in zip(together, others, strict=True):
            assert one.model_calls == other.model_calls
            assert np.array_equal(one.point.positions, other.point.positions)


def test_odd_molecules_end_with_a_status_beside_good_ones(gfn2):
    close = WATER.copy()
    close[1] *= 0.5 / 0.96
    molecules = [
        Molecule("two atoms at 0.5 Å", np.array([8, 1, 1]), close),
        Molecule("bent CO2", np.array([6, 8, 8]), CO2 + np.array([[0, 0.5, 0], [0, 0, 0], [0, 0, 0]])),
        Molecule("atom", np.array([2]), np.zeros((1, 3))),
        Molecule("H2", np.array([1, 1]), np.array([[0.0, 0, 0], [0.9, 0, 0]])),
        start("O.O"),
        start(BUTYNE),
        start("CCO"),
    ]
    outcomes = walked(gfn2, molecules, fmax=0.02)
    assert [(o.status, o.error) for o in outcomes] == [("converged", None)] * len(molecules)
    assert outcomes[2].model_calls == 1
    assert max(o.model_calls for o in outcomes) < 60
    again = [molecule.at(o.point.positions) for molecule, o in zip(molecules, outcomes, strict=True)]
    assert [o.model_calls for o in walked(gfn2, again, fmax=0.02)] == [1] * len(molecules)


def test_a_process_in_which_numpy_raises_walks_all_the_same(gfn2):
    with np.errstate(all="raise"):
        assert [o.status for o in walked(gfn2, [start("O.O")], fmax=0.02)] == ["converged"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_force_that_is_not_finite_moves_nothing(value):
    moving = RFOInternal()
    moving.allocate(1, 3, torch.device("cpu"))
    moving.admit(0, Molecule("w", np.array([8, 1, 1]), WATER))
    forces = torch.full((1, 3, 3), value, dtype=torch.float64)
    step = moving.step(torch.tensor([0]), torch.from_numpy(WATER)[None], torch.zeros(1), forces)
    assert not step.any()


def test_coinciding_atoms_follow_their_forces():
    moving = RFOInternal()
    moving.allocate(1, 3, torch.device("cpu"))
    moving.admit(0, Molecule("w", np.array([8, 1, 1]), WATER))
    forces = torch.tensor([[[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 0]]], dtype=torch.float64)
    step = moving.step(torch.tensor([0]), torch.zeros(1, 3, 3, dtype=torch.float64), torch.zeros(1), forces)
    assert torch.isfinite(step).all()
    assert step[0, 0, 0] > 0 > step[0, 1, 0]


def test_parameters_out_of_range_are_refused():
    for settings in ({"memory": 0}, {"radius": 0.0}):
        with pytest.raises(ConfigurationError):
            RFOInternal(**settings)
