# SPDX-License-Identifier: MPL-2.0
"""Derivatives of modules layer by layer, against automatic ones."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from generators import image_space, latent_space, mlp_network, seeded
from odl_genreg import Generator
from odl_genreg.networks import VAE
from odl_genreg.torch_bridge import push_forward

ACTIVATIONS = [
    "CELU",
    "ELU",
    "GELU",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "Mish",
    "ReLU",
    "SELU",
    "Sigmoid",
    "SiLU",
    "Softplus",
    "Softsign",
    "Tanh",
]
VECTORS = {
    "linear": nn.Linear(6, 4),
    "no bias": nn.Linear(6, 4, bias=False),
    "flatten": nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Flatten()),
    "dropout": nn.Dropout(0.5),
    "identity": nn.Identity(),
    "batch norm": nn.BatchNorm1d(6),
    "layer norm": nn.LayerNorm(6),
    "softmax": nn.Softmax(1),
}
VECTORS |= {name: getattr(nn, name)() for name in ACTIVATIONS}
VECTORS["in place"] = nn.SiLU(inplace=True)
IMAGES = {
    "conv": nn.Conv2d(4, 3, 3, stride=2, padding=1),
    "circular": nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"),
    "groups": nn.Conv2d(4, 2, 3, groups=2),
    "transposed": nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1),
    "transposed, one channel": nn.ConvTranspose2d(4, 1, (1, 2), stride=2),
    "transposed, folded": nn.ConvTranspose2d(
        9, 1, 3, stride=2, padding=1, output_padding=1, dilation=2
    ),
    "transposed, groups": nn.ConvTranspose2d(4, 2, 3, groups=2),
    "nearest": nn.Upsample(scale_factor=2),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "shuffle": nn.PixelShuffle(2),
    "pool": nn.AvgPool2d(2),
    "pad": nn.ZeroPad2d(1),
    "reflect": nn.ReflectionPad2d(1),
    "replicate": nn.ReplicationPad2d(1),
    "batch norm": nn.BatchNorm2d(4),
    "max pool": nn.MaxPool2d(2),
}


def compare(module, *shape):
    module = module.double().eval().requires_grad_(False)
    source = torch.Generator().manual_seed(0)
    x = torch.randn(2, *shape, generator=source, dtype=torch.float64)
    t = torch.randn(2, 3, *shape, generator=source, dtype=torch.float64)
    before = x.clone(), t.clone()
    value, pushed = push_forward(module, x, t)
    assert torch.equal(x, before[0])
    assert torch.equal(t, before[1])
    assert not value.requires_grad
    assert not pushed.requires_grad
    torch.testing.assert_close(value, module(x.clone()))
    for k in range(3):
        _, expected = torch.autograd.functional.jvp(
            lambda x: module(x.clone()), x, t[:, k]
        )
        torch.testing.assert_close(pushed[:, k], expected)


@pytest.mark.parametrize("name", VECTORS)
def test_layers_of_vectors(name):
    compare(VECTORS[name], 6)


@pytest.mark.parametrize("name", IMAGES)
def test_layers_of_images(name):
    channels = 9 if "folded" in name else 4
    compare(IMAGES[name], channels, 4, 6)


def test_statistics_of_batch_norm_are_those_of_training():
    module = nn.BatchNorm2d(2)
    source = torch.Generator().manual_seed(1)
    module(3 + 2 * torch.randn(5, 2, 4, 3, generator=source))
    assert not torch.equal(module.running_mean, torch.zeros(2))
    compare(module, 2, 4, 3)


class Residual(nn.Module):
    """A module of one's own, with layers that are known."""

    def __init__(self):
        super().__init__()
        self.part = seeded(nn.Linear(6, 6))

    def forward(self, x):
        return x + self.part(x).tanh()


def test_modules_of_ones_own():
    compare(Residual(), 6)
    compare(nn.Sequential(Residual(), nn.SiLU(), seeded(nn.Linear(6, 2))), 6)


class Attention(nn.Module):
    """Scaled dot products, as between the pixels of a feature map."""

    def __init__(self):
        super().__init__()
        self.part = seeded(nn.Linear(4, 12))

    def forward(self, x):
        q, k, v = self.part(x.reshape(-1, 1, 3, 4)).chunk(3, dim=-1)
        return nn.functional.scaled_dot_product_attention(q, k, v).flatten(1)


def test_attention():
    """Against a difference: torch's own `jvp` does not differentiate it."""
    module = nn.Sequential(Attention(), nn.SiLU()).double().requires_grad_(False)
    x, t = torch.randn(
        2, 2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    _, pushed = push_forward(module, x, t[:, None])
    difference = (module(x + 1e-5 * t) - module(x - 1e-5 * t)) / 2e-5
    torch.testing.assert_close(pushed[:, 0], difference, rtol=1e-7, atol=1e-9)


def test_constant_module():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones(len(x), 3, dtype=x.dtype)

    value, pushed = push_forward(Constant(), torch.zeros(2, 4), torch.ones(2, 5, 4))
    assert torch.equal(value, torch.ones(2, 3))
    assert torch.equal(pushed, torch.zeros(2, 5, 3))


def test_decoder_of_the_vae():
    compare(VAE((8, 12), latent_dim=3, channels=(4, 5), hidden=6).decoder, 3)


def test_linearization_of_a_generator_carries_the_scale():
    network = mlp_network()
    G = Generator(network, latent_space(), image_space(), intensity=(1.0, 10.0))
    z = torch.tensor([[0.1, 0.2, 0.3], [1.0, -1.0, 0.0]]).double()
    x, columns = G.linearize(z)
    torch.testing.assert_close(x, G.batch(z))
    for row in range(2):
        expected = torch.autograd.functional.jacobian(
            lambda v: G.batch(v[None])[0], z[row]
        )
        torch.testing.assert_close(columns[row].movedim(0, -1), expected)


@pytest.mark.slow
def test_no_hidden_second():
    """Forward mode of torch loads decompositions at its first call; ours does not."""
    code = (
        "import sys, odl, torch, odl_genreg as ogr; "
        "X = odl.uniform_discr([0, 0], [1, 1], (28, 28), dtype='float32'); "
        "G = ogr.load_generator('mnist-vae', X); "
        "D = ogr.squared_l2(odl.IdentityOperator(X), X.one()); "
        "ogr.reconstruct(D, ogr.soft_constraint(G), 100.0, restarts=1, maxiter=3); "
        "G.derivative(G.domain.zero())(G.domain.one()); "
        "assert 'torch._decomp.decompositions_for_jvp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
