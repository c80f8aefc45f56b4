"""The twin of a network: an average over rounds, which a resumed loop has again."""

import numpy as np
import torch

from golfbench.learning.twin import Twin


def weights(potential):
    return torch.cat([p.detach().flatten() for n in potential.networks for p in n.parameters()]).clone()


def shift(potential, by):
    with torch.no_grad():
        for network in potential.networks:
            for parameter in network.parameters():
                parameter.add_(by)


def test_the_twin_is_the_moving_average_of_the_network_over_rounds(labelled, make_potential):
    potential = make_potential(labelled)
    twin, start = Twin(potential, 0.75), weights(potential)
    shift(potential, 0.4)
    assert torch.equal(weights(twin._potential), start)  # what trains the one leaves the other
    expected, acting = start.numpy().astype(float), start.numpy() + 0.4
    for _ in range(3):
        twin.follow()
        expected = 0.75 * expected + 0.25 * acting
    np.testing.assert_allclose(weights(twin._potential).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_twin_says_what_a_potential_with_its_weights_says(labelled, make_potential):
    from golfbench.batches import make_batch

    potential, molecule = make_potential(labelled), labelled[3].molecule
    twin = Twin(potential, 0.9)

    def energy():
        return float(potential.energy_forces(make_batch([molecule], potential.cutoff)).energies[0])

    before = energy()
    assert twin.energy(molecule) == before
    shift(potential, 0.05)
    assert energy() != before
    assert twin.energy(molecule) == before


def test_a_twin_goes_on_from_its_state(labelled, make_potential):
    potential = make_potential(labelled)
    twin = Twin(potential, 0.5)
    shift(potential, 0.1)
    twin.follow()
    kept = {name: tensor.clone() for name, tensor in twin.state().items()}
    other = Twin(potential, 0.5)
    assert other.energy(labelled[0].molecule) != twin.energy(labelled[0].molecule)
    other.restore(kept)
    assert other.energy(labelled[0].molecule) == twin.energy(labelled[0].molecule)
