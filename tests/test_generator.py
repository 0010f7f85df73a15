# SPDX-License-Identifier: MPL-2.0
"""The generator: values, output shapes, units, encoder, derivative."""

import odl
import pytest
import torch

from checks import adjoint_error, derivative_order, taylor_order
from generators import (
    NETWORKS,
    array,
    image_space,
    latent_space,
    linear_network,
    linear_parts,
    make_generator,
    random_element,
    seeded,
)
from odl_genreg import Generator
from odl_genreg.torch_bridge import as_tensor
from tolerance import adjoint_tolerance, tolerance
from tolerance import taylor_order as least_order

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_network = pytest.mark.parametrize("name", list(NETWORKS))
each_weighting = pytest.mark.parametrize("weighting", [None, 1.0])


class Reshaped(torch.nn.Module):
    """Linear network with an output of a given shape."""

    def __init__(self, *shape):
        super().__init__()
        self.network, self.shape = linear_network(), shape

    def forward(self, z):
        return self.network(z).reshape(len(z), *self.shape)


@pytest.mark.parametrize("shape", [(7, 9), (1, 7, 9), (63,)])
def test_output_shapes(shape):
    G = Generator(Reshaped(*shape), latent_space(), image_space())
    z = random_element(G.domain)
    B, b = G.module.network.weight.numpy(), G.module.network.bias.numpy()
    assert array(G(z)) == pytest.approx(B @ array(z) + b, rel=1e-12)
    assert G.batch(torch.zeros(4, 3).double()).shape == (4, 7, 9)


def test_latents_of_any_shape():
    class Flatten(torch.nn.Module):
        def forward(self, z):
            assert z.shape[1:] == (3, 1)
            return (z.sum((1, 2))[:, None]).expand(-1, 63)

    G = Generator(Flatten(), odl.rn((3, 1)), image_space())
    assert G(G.domain.one())[2, 3] == 3.0


@each_impl
@each_weighting
@each_network
def test_adjoint(name, impl, weighting):
    G = make_generator(name, impl, weighting, intensity=(0.2, 3.0))
    error = adjoint_error(G.derivative(random_element(G.domain)))
    assert error <= adjoint_tolerance[G.range.dtype_identifier]


@each_impl
@each_weighting
def test_derivative_order(impl, weighting):
    G = make_generator("mlp", impl, weighting, intensity=(0.2, 3.0))
    z, h = random_element(G.domain), random_element(G.domain, 1)
    assert derivative_order(G, z, h) >= least_order
    f = odl.functionals.L2NormSquared(G.range) @ G
    assert taylor_order(f, z, h) >= least_order


def test_riesz_rescaling():
    """Cells of half the volume halve the adjoint, and nothing else."""
    X = image_space()
    half = image_space(weighting=0.03)
    z = random_element(latent_space())
    G, H = (Generator(linear_network(), latent_space(), S) for S in (X, half))
    assert array(G(z)) == pytest.approx(array(H(z)), rel=0)
    y = X.one()
    full = array(G.derivative(z).adjoint(y))
    assert array(H.derivative(z).adjoint(half.one())) == pytest.approx(full / 2)


def test_intensity():
    plain, G = make_generator(), make_generator(intensity=(0.5, 4.0))
    z = random_element(G.domain)
    assert array(G(z)) == pytest.approx(0.5 + 4 * array(plain(z)))
    h = random_element(G.domain, 1)
    B, _ = linear_parts(G)
    assert array(G.derivative(z)(h)) == pytest.approx(4 * B @ array(h))


@pytest.mark.parametrize("shape", [(7, 9), (1, 7, 9), (63,)])
def test_encoder_gets_images_of_the_network(shape):
    received = []

    class Encoder(torch.nn.Module):
        def forward(self, x):
            received.append(x.shape)
            return x.flatten(1)[:, :3]

    G = Generator(
        Reshaped(*shape),
        latent_space(),
        image_space(),
        encoder=Encoder(),
        intensity=(1.0, 2.0),
    )
    x = random_element(G.range)
    code = G.encode(torch.stack([as_tensor(x)] * 2))
    assert received[-1] == (2, *shape)
    assert code.shape == (2, 3)
    assert code[1].tolist() == pytest.approx(((array(x) - 1) / 2)[:3].tolist())
    assert not code.requires_grad


def test_caller_keeps_the_network(global_state_untouched):
    layers = torch.nn.Linear(3, 63), torch.nn.Dropout(0.5)
    network = seeded(torch.nn.Sequential(*layers)).double()
    encoder = seeded(torch.nn.Linear(63, 3)).double()
    with global_state_untouched():
        G = Generator(network, latent_space(), image_space(), encoder=encoder)
        z = random_element(G.domain)
        G.derivative(z).adjoint(G(z))
        G.encode(as_tensor(G(z)).reshape(1, 7, 9))
    for module in (network, encoder):
        assert module.training
        assert all(p.requires_grad and p.grad is None for p in module.parameters())


def test_generator_follows_training_of_the_network():
    network = linear_network()
    G = Generator(network, latent_space(), image_space())
    z = random_element(G.domain)
    before = G(z).copy()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    network(as_tensor(z)[None]).pow(2).sum().backward()
    optimizer.step()
    assert (G(z) - before).norm() > 1e-2
    expected = network(as_tensor(z)[None]).detach()[0].tolist()
    assert array(G(z)).tolist() == pytest.approx(expected, rel=tolerance["float64"])


@pytest.mark.slow
# Raised by torch itself.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_network_is_used_as_it_was():
    """`torch.compile` compiles at the first call: here never."""
    network = NETWORKS["conv"]()
    compiled = torch.compile(network)
    Z, X = latent_space(dtype="float32"), image_space(dtype="float32")
    G = Generator(compiled, Z, X)
    assert type(G.module) is type(network)
    assert list(G.module.state_dict()) == list(network.state_dict())
    assert (
        adjoint_error(G.derivative(random_element(Z))) <= adjoint_tolerance["float32"]
    )
    with torch.no_grad():
        network[0].bias.add_(1.0)
    assert torch.equal(G.module[0].bias, network[0].bias)
