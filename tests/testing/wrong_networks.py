"""Wrong models and optimizers: what the specs of ``wrong_plugin`` name."""

import numpy as np
import torch
from wrong_components import Morse

from golfbench.contracts import Evaluation


class Net(torch.nn.Module):
    """A sound network."""

    cutoff = 4.0

    def __init__(self):
        super().__init__()
        self.atom = torch.nn.Embedding(100, 8)
        self.out = torch.nn.Sequential(torch.nn.Linear(9, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

    def terms(self, batch, i, j):
        r = (batch.positions[i] - batch.positions[j]).norm(dim=-1).to(self.atom.weight.dtype)
        pair = self.atom(batch.numbers[i]) * self.atom(batch.numbers[j])
        return self.out(torch.cat([pair, r[:, None]], -1))[:, 0] * self.window(r)

    def window(self, r):
        return (1 + torch.cos(torch.pi * r.clamp(max=self.cutoff) / self.cutoff)) / 2

    def forward(self, batch):
        i, j = batch.pairs
        zero = self.atom.weight.new_zeros(len(batch))
        return zero.index_add(0, batch.molecule[i], self.terms(batch, i, j))


class IdleNet(Net):
    def __init__(self):
        super().__init__()
        self.spare = torch.nn.Linear(3, 3)


class MoodyNet(Net):
    calls = 0

    def forward(self, batch):
        self.calls += 1
        return super().forward(batch) * (1 + 0.01 * self.calls)


class MixingNet(Net):
    """Normalises by the batch."""

    def forward(self, batch):
        energies = super().forward(batch)
        return energies / (1 + energies.abs().mean())


class FarSightedNet(Net):
    """Looks at all pairs, whatever the cutoff."""

    def forward(self, batch):
        n = len(batch.numbers)
        same = (batch.molecule[:, None] == batch.molecule) & ~torch.eye(n, dtype=torch.bool)
        i, j = same.nonzero(as_tuple=True)
        zero = self.atom.weight.new_zeros(len(batch))
        return zero.index_add(0, batch.molecule[i], self.terms(batch, i, j))

    def window(self, r):
        return torch.exp(-r / 10)


class JumpingNet(Net):
    def window(self, r):
        return torch.ones_like(r)


class DetachedNet(Net):
    """Forces that are not the energy's: part of the energy is hidden from differentiation."""

    def window(self, r):
        return super().window(r.detach())


class TiltedNet(Net):
    """Knows where x is."""

    def forward(self, batch):
        i, j = batch.pairs
        x = (batch.positions[i, 0] - batch.positions[j, 0]).to(self.atom.weight.dtype)
        r = (batch.positions[i] - batch.positions[j]).norm(dim=-1).to(x.dtype)
        return super().forward(batch).index_add(0, batch.molecule[i], x * x * self.window(r))


class Fixed:
    """A sound fixed model; also what the wrong ones start from."""

    cutoff = 0.0

    def __init__(self, sign=1.0):
        self.oracle = Morse(force_factor=sign)

    def energy_forces(self, batch):
        labels = [self.oracle.label(m) for m in batch.current_molecules()]
        energies = torch.tensor([e for e, _ in labels], dtype=torch.float64)
        return Evaluation(energies, torch.from_numpy(np.concatenate([f for _, f in labels])))


class FixedFlipped(Fixed):
    def __init__(self):
        super().__init__(-1.0)


class FixedCrosstalk(Fixed):
    def energy_forces(self, batch):
        evaluation = super().energy_forces(batch)
        return Evaluation(evaluation.energies + 0.001 * (len(batch) - 1), evaluation.forces)


class Descent:
    """A sound optimizer with momentum."""

    def allocate(self, slots, atoms, device):
        self.last = torch.zeros(slots, atoms, 3, dtype=torch.float64)

    def admit(self, slot, molecule):
        self.last[slot] = 0.0

    def step(self, slots, positions, energies, forces):
        moves = (0.15 * torch.nan_to_num(forces) + 0.3 * self.last[slots]).clamp(-0.2, 0.2)
        self.last[slots] = moves
        return moves


class Nosy(Descent):
    """Takes its rate from the whole batch."""

    def step(self, slots, positions, energies, forces):
        return super().step(slots, positions, energies, forces / (1 + forces.norm() / 100))


class Remembering(Descent):
    def admit(self, slot, molecule):
        pass


class Pushing(Descent):
    """Moves padding."""

    def step(self, slots, positions, energies, forces):
        return super().step(slots, positions, energies, forces) + 1e-3


class Inplace(Descent):
    def step(self, slots, positions, energies, forces):
        forces *= 0.9
        return super().step(slots, positions, energies, forces)


class Uphill(Descent):
    def step(self, slots, positions, energies, forces):
        return -super().step(slots, positions, energies, forces)
