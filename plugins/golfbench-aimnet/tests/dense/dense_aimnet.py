"""A small AIMNet2 as TorchScript files hold it: one molecule, every atom with every other one, no sparse pairs.

Written from the equations of the paper, with einsum over dense matrices, to be read by the reader and compared.
"""

import torch
from torch import nn

from golfbench_aimnet.architecture import ELEMENTS

FEATURES, RADIAL, VECTORS = 3, 4, 2
STATE = FEATURES * RADIAL
HEARD = 2 * STATE + FEATURES * VECTORS


def perceptron(widths: list[int], ends_linear: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(len(widths) - 1):
        layers += [nn.Linear(widths[k], widths[k + 1]), nn.GELU()]
    return nn.Sequential(*layers[:-1]) if ends_linear else nn.Sequential(*layers)


class Radial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rc_s", torch.tensor(4.0))
        self.register_buffer("eta_s", torch.tensor(1.5))
        self.register_buffer("shifts_s", torch.linspace(0.8, 3.2, RADIAL))


class Conv(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.agh = nn.Parameter(0.5 * torch.randn(channels, RADIAL, VECTORS))


class Output(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = perceptron([6, 5, 5, 1], True)


class Shift(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shifts = nn.Embedding(64, 1)
        with torch.no_grad():
            known = torch.zeros(64, 1)
            known[list(ELEMENTS)] = -10.0 * torch.rand(len(ELEMENTS), 1) - 1.0
            self.shifts.weight.copy_(known)


class Coulomb(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rc", torch.tensor(3.5))


class D3(nn.Module):
    capped: torch.jit.Final[bool]
    s6: float
    s8: float
    a1: float
    a2: float

    def __init__(self, capped: bool) -> None:
        super().__init__()
        self.s6, self.s8, self.a1, self.a2 = 1.0, 0.3908, 0.566, 3.128
        cn = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0]).expand(95, 5)
        c6 = 5.0 + 20.0 * torch.rand(95, 95, 5, 5)
        c6 = 0.5 * (c6 + c6.permute(1, 0, 3, 2))
        first, second = cn[:, None, :, None].expand_as(c6), cn[None, :, None, :].expand_as(c6)
        self.register_buffer("c6ab", torch.stack([c6, first, second], dim=-1))
        self.register_buffer("r4r2", 2.0 + torch.rand(95))
        self.register_buffer("rcov", 1.0 + torch.rand(95))
        self.capped = capped
        if capped:
            self.register_buffer("cnmax", torch.full((95,), 2.5))

    def forward(self, numbers: torch.Tensor, d: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        bohr = d / 0.529177210903
        reach = (self.rcov[numbers][:, None] + self.rcov[numbers][None, :]) / bohr
        cn = (other / (1.0 + torch.exp(-16.0 * (reach - 1.0)))).sum(1)
        if self.capped:
            cn = torch.minimum(cn, self.cnmax[numbers])
        c6, first, second = torch.unbind(self.c6ab[numbers[:, None], numbers[None, :]], -1)
        weight = torch.exp(-4.0 * ((cn[:, None, None, None] - first) ** 2 + (cn[None, :, None, None] - second) ** 2))
        pair = (c6 * weight).sum([-1, -2]) / weight.sum([-1, -2])
        ratio = 3.0 * self.r4r2[numbers][:, None] * self.r4r2[numbers][None, :]
        radius = self.a1 * ratio.sqrt() + self.a2
        damped = self.s6 / (bohr**6 + radius**6) + self.s8 * ratio / (bohr**8 + radius**8)
        return -0.5 * 27.211386245988 * (pair * damped * other).sum()


class Dense(nn.Module):
    def __init__(self, capped: bool = True) -> None:
        super().__init__()
        extra = 1 + RADIAL + VECTORS
        self.aev = Radial()
        self.afv = nn.Embedding(64, STATE, padding_idx=0)
        self.conv_a, self.conv_q = Conv(FEATURES), Conv(1)
        self.mlps = nn.ModuleList(
            [
                perceptron([HEARD, 9, 7, 2 + STATE], True),
                perceptron([HEARD + extra, 9, 7, 2 + STATE], False),
                perceptron([HEARD + extra, 9, 7, 7, 6], False),
            ]
        )
        self.outputs = nn.ModuleDict(
            {"energy_mlp": Output(), "atomic_shift": Shift(), "lrcoulomb": Coulomb(), "d3bj": D3(capped)}
        )

    def hear(self, a: torch.Tensor, gs: torch.Tensor, gv: torch.Tensor) -> torch.Tensor:
        a = a.view(-1, self.conv_a.agh.shape[0], self.conv_a.agh.shape[1])
        near = torch.einsum("nmg,mag->nag", gs, a)
        far = torch.einsum("nmgd,mag,agh->nahd", gv, a, self.conv_a.agh)
        return torch.cat([a.flatten(1), near.flatten(1), (far**2).sum(-1).flatten(1)], -1)

    def hear_charges(self, q: torch.Tensor, gs: torch.Tensor, gv: torch.Tensor) -> torch.Tensor:
        near = torch.einsum("nmg,m->ng", gs, q)
        far = torch.einsum("nmgd,m,gh->nhd", gv, q, self.conv_q.agh[0])
        return torch.cat([q[:, None], near, (far**2).sum(-1)], -1)

    def neutral(self, q: torch.Tensor, f: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        return q + f**2 / ((f**2).sum() + 1e-6) * (total - q.sum())

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x, numbers = data["coord"][0], data["numbers"][0]
        total = data["charge"][0]
        other = 1.0 - torch.eye(len(x), dtype=x.dtype)
        r = x[None] - x[:, None]
        d = ((r**2).sum(-1) + (1.0 - other)).sqrt()
        envelope = other * (0.5 * torch.cos((d / self.aev.rc_s).clamp(0, 1) * 3.141592653589793) + 0.5)
        gs = torch.exp(-self.aev.eta_s * (d[:, :, None] - self.aev.shifts_s) ** 2) * envelope[:, :, None]
        gv = gs[..., None] * (r / d[..., None])[:, :, None, :]
        a = self.afv(numbers)
        out = self.mlps[0](self.hear(a, gs, gv))
        q = self.neutral(out[:, 0], out[:, 1], total)
        a = a + out[:, 2:]
        out = self.mlps[1](torch.cat([self.hear(a, gs, gv), self.hear_charges(q, gs, gv)], -1))
        q = self.neutral(q + out[:, 0], out[:, 1], total)
        a = a + out[:, 2:]
        aim = self.mlps[2](torch.cat([self.hear(a, gs, gv), self.hear_charges(q, gs, gv)], -1))
        atoms = self.outputs["energy_mlp"].mlp(aim) + self.outputs["atomic_shift"].shifts(numbers)
        near = torch.exp(1.0 - 1.0 / (1.0 - (d / self.outputs["lrcoulomb"].rc).clamp(0, 0.999999) ** 2))
        coulomb = 0.5 * 14.3996454784 * (other * (1.0 - near) * q[:, None] * q[None, :] / d).sum()
        data["energy"] = (atoms.sum() + coulomb + self.outputs["d3bj"](numbers, d, other))[None]
        return data


class Ensemble(nn.Module):
    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(members)

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.models[0](data)


class Other(nn.Module):
    """A network with the parts of AIMNet2 and another output."""

    def __init__(self) -> None:
        super().__init__()
        inner = Dense()
        self.afv, self.conv_a, self.mlps = inner.afv, inner.conv_a, inner.mlps
        self.outputs = nn.ModuleDict({"dipole": nn.Linear(1, 1)})

    def forward(self, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return data


def dense(seed: int = 0, capped: bool = True) -> nn.Module:
    torch.manual_seed(seed)
    return Dense(capped).eval()
