# SPDX-License-Identifier: MPL-2.0
"""The bridge: elements, torch modules as operators, operators as torch functions."""

import copy

import numpy as np
import odl
import pytest
import torch

from checks import adjoint_error, derivative_order
from generators import (
    NETWORKS,
    Counted,
    DenseOperator,
    array,
    data_space,
    forward_operator,
    image_space,
    latent_space,
    mlp_network,
    random_element,
)
from odl_genreg.torch_bridge import (
    LinearMap,
    TorchOperator,
    as_element,
    as_tensor,
    batch_products,
    frozen,
    torch_device,
    torch_dtype,
    weight,
)
from tolerance import adjoint_tolerance, taylor_order, tolerance

each_impl = pytest.mark.parametrize("impl", ["numpy", "pytorch"])
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_network = pytest.mark.parametrize("name", list(NETWORKS))


def normal(*shape, seed=0, dtype=torch.float64):
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=source, dtype=torch.float64).to(dtype)


# --- Elements --- #


@each_impl
@each_dtype
def test_round_trip(impl, dtype):
    X = image_space(impl, dtype)
    x = random_element(X)
    tensor = as_tensor(x)
    assert (tensor.shape, tensor.dtype) == ((7, 9), getattr(torch, dtype))
    assert tensor.dtype == torch_dtype(X)
    assert tensor.device == torch_device(X)
    assert as_element(X, tensor) == x


@each_impl
def test_memory_is_shared_both_ways(impl):
    X = image_space(impl)
    x = X.zero()
    as_tensor(x)[2, 3] = 5.0
    assert x[2, 3] == 5.0
    tensor = torch.zeros(7, 9, dtype=torch.float64)
    y = as_element(X, tensor)
    tensor[1, 4] = 2.0
    assert y[1, 4] == 2.0
    y += X.one()
    assert tensor[1, 4] == 3.0


@each_impl
def test_tensor_of_an_element_has_no_graph(impl):
    leaf = torch.ones(7, 9, dtype=torch.float64, requires_grad=True)
    x = as_element(image_space(impl), 2 * leaf)
    assert not as_tensor(x).requires_grad
    assert leaf.requires_grad
    assert leaf.grad is None


def test_arrays_that_torch_cannot_share_are_copied():
    X = image_space()
    values = np.arange(63.0).reshape(7, 9)
    read_only = values.copy()
    read_only.flags.writeable = False
    for data in (read_only, values[::-1, ::-1][::-1, ::-1], np.asfortranarray(values)):
        assert np.array_equal(as_tensor(X.element(data)), values)
    x = X.element(values[::-1])
    assert np.array_equal(as_tensor(x), values[::-1])


@each_impl
def test_powers(impl):
    P = odl.ProductSpace(image_space(impl), 2)
    x = random_element(P)
    tensor = as_tensor(x)
    assert tensor.shape == (2, 7, 9)
    assert torch.equal(tensor[1], as_tensor(x[1]))
    assert as_element(P, tensor) == x


def test_weights():
    X, Z = image_space(), latent_space()
    assert weight(X) == pytest.approx(0.06)
    assert weight(Z) == 2.0
    assert weight(odl.rn(3)) == 1.0
    assert weight(odl.ProductSpace(X, 2)) == pytest.approx(0.06)
    assert weight(odl.ProductSpace(Z, 2, weighting=3.0)) == 6.0
    x, y = random_element(X), random_element(X, 1)
    assert x.inner(y) == pytest.approx(weight(X) * array(x) @ array(y))


# --- TorchOperator --- #


def torch_operator(name="mlp", impl="numpy"):
    dtype = "float32" if name == "conv" else "float64"
    X, Z = image_space(impl, dtype), latent_space(impl, dtype)
    return TorchOperator(NETWORKS[name](), Z, X)


@each_impl
@each_network
def test_value_is_that_of_the_module(name, impl):
    G = torch_operator(name, impl)
    z = random_element(G.domain)
    expected = NETWORKS[name]()(as_tensor(z)[None]).reshape(7, 9)
    torch.testing.assert_close(as_tensor(G(z)), expected.detach())
    batch = torch.stack([as_tensor(z), -as_tensor(z)])
    torch.testing.assert_close(G.batch(batch)[0], expected)


@each_impl
@each_network
def test_derivative_has_its_adjoint(name, impl):
    G = torch_operator(name, impl)
    derivative = G.derivative(random_element(G.domain))
    limit = adjoint_tolerance[G.range.dtype_identifier]
    assert adjoint_error(derivative) <= limit
    assert adjoint_error(derivative.adjoint) <= limit
    assert derivative.is_linear
    assert derivative.adjoint.adjoint is derivative


@each_impl
def test_derivative_order(impl):
    G = torch_operator("mlp", impl)
    z, h = random_element(G.domain), random_element(G.domain, 1)
    assert derivative_order(G, z, h) >= taylor_order


def test_functional_of_a_module_has_the_right_gradient_order():
    G = torch_operator("mlp")
    f = odl.functionals.L2NormSquared(G.range) @ G
    z, h = random_element(G.domain), random_element(G.domain, 1)
    rest = [abs(f(z + e * h) - f(z) - e * f.gradient(z).inner(h)) for e in (1e-2, 1e-3)]
    assert np.log10(rest[0] / rest[1]) >= taylor_order


def test_one_forward_pass_for_value_and_adjoint():
    module = Counted(mlp_network())
    G = TorchOperator(module, latent_space(), image_space())
    z, y = random_element(G.domain), random_element(G.range)
    G(z)
    first = G.derivative(z).adjoint(y)
    second = G.derivative(z.copy()).adjoint(y)
    assert module.counter() == (1, 2)
    assert first == second
    G(2 * z)
    assert module.counter.forward == 2


def test_derivative_keeps_its_point():
    G = torch_operator("mlp")
    z, h = random_element(G.domain), random_element(G.domain, 1)
    derivative = G.derivative(z)
    before = derivative(h).copy(), derivative.adjoint(G.range.one()).copy()
    z += 3 * G.domain.one()
    G(z)
    assert derivative(h) == before[0]
    assert derivative.adjoint(G.range.one()) == before[1]


@pytest.mark.parametrize("change", ["parameter", "optimizer", "buffer"])
def test_changes_in_place_are_noticed(change):
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = mlp_network()
            self.register_buffer("scale", torch.ones((), dtype=torch.float64))

        def forward(self, z):
            return self.scale * self.network(z)

    module = Scaled()
    G = TorchOperator(module, latent_space(), image_space())
    z = random_element(G.domain)
    before = G(z).copy()
    if change == "parameter":
        with torch.no_grad():
            module.network[0].weight.mul_(2)
    elif change == "buffer":
        module.scale.mul_(2)
    else:
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        module(as_tensor(z)[None]).sum().backward()
        optimizer.step()
    after = G(z)
    assert (after - before).norm() > 1e-3
    expected = module(as_tensor(z)[None]).detach().reshape(7, 9)
    torch.testing.assert_close(as_tensor(after), expected)


def test_module_is_left_as_it_was(global_state_untouched):
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 63, dtype=torch.float64),
        torch.nn.BatchNorm1d(63, dtype=torch.float64),
        torch.nn.Dropout(0.5),
    )
    module[1].requires_grad_(False)
    module(normal(4, 3)).sum().backward()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    grads = [p.grad if p.grad is None else p.grad.clone() for p in module.parameters()]
    flags = [p.requires_grad for p in module.parameters()]
    with global_state_untouched():
        G = TorchOperator(module, latent_space(), image_space())
        z = random_element(G.domain)
        assert G(z) == G(z)  # evaluation mode: no dropout
        G.derivative(z)(z)
        G.derivative(z).adjoint(G.range.one())
    assert all(m.training for m in module.modules())
    assert (
        flags
        == [p.requires_grad for p in module.parameters()]
        == [True] * 2 + [False] * 2
    )
    for old, p in zip(grads, module.parameters(), strict=True):
        assert (old is None and p.grad is None) or torch.equal(old, p.grad)
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key])


def test_frozen_twin_shares_tied_weights():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    module[1].weight = module[0].weight
    twin = frozen(module)
    assert twin[0].weight is twin[1].weight
    assert twin[0].weight.data_ptr() == module[0].weight.data_ptr()
    assert copy.deepcopy(module)[0].weight.data_ptr() != twin[0].weight.data_ptr()


def test_constant_module_has_the_derivative_zero():
    class Constant(torch.nn.Module):
        def forward(self, z):
            return torch.ones(len(z), 7, 9, dtype=z.dtype)

    G = TorchOperator(Constant(), latent_space(), image_space())
    z = random_element(G.domain)
    assert G.derivative(z)(z) == G.range.zero()


# --- LinearMap --- #


def operators(impl="numpy"):
    X = image_space(impl)
    A = forward_operator(X)
    Y = odl.rn(4, weighting=3.0, impl=impl)
    matrix = np.random.default_rng(0).standard_normal((4, 3))
    yield "one by one", A
    yield "adjoint", A.adjoint
    yield "identity", odl.IdentityOperator(X)
    yield "scaled", -2.5 * A
    yield "scaled inside", A * 1.5
    yield "composed", A @ (3.0 * A.adjoint)
    for pad_mode in ("symmetric", "constant", "periodic", "order0"):
        yield pad_mode, odl.Gradient(X, pad_mode=pad_mode)
    yield "backward", odl.Gradient(X, method="backward")
    yield "divergence", odl.Gradient(X, pad_mode="symmetric").adjoint
    yield "composed gradient", odl.Gradient(X) @ A.adjoint
    if impl == "numpy":
        # The adjoint of ODL's own leaves out weights that differ.
        yield "matrix", odl.MatrixOperator(matrix, latent_space(weighting=3.0), Y)
        P = odl.ProductSpace(X, 2)
        yield "power", odl.IdentityOperator(P)


OPERATORS = [
    pytest.param(operator, id=f"{impl} {name}")
    for impl in ("numpy", "pytorch")
    for name, operator in operators(impl)
]
each_operator = pytest.mark.parametrize("operator", OPERATORS)


@each_operator
def test_map_equals_the_operator(operator):
    linear_map, X = LinearMap(operator), operator.domain
    x = normal(2, 3, *X.shape)
    y = linear_map(x)
    assert y.shape == (2, 3, *operator.range.shape)
    single = as_tensor(operator(as_element(X, x[1, 2])))
    torch.testing.assert_close(y[1, 2], single, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(linear_map(x[1, 2]), single, rtol=1e-10, atol=1e-10)


@each_operator
def test_transpose_is_that_of_plain_sums(operator):
    linear_map = LinearMap(operator)
    x, y = normal(*operator.domain.shape), normal(*operator.range.shape, seed=1)
    left, right = (linear_map(x) * y).sum(), (x * linear_map.T(y)).sum()
    assert left.item() == pytest.approx(right.item(), rel=1e-10, abs=1e-10)
    ratio = weight(operator.domain) / weight(operator.range)
    adjoint = as_tensor(operator.adjoint(as_element(operator.range, y)))
    torch.testing.assert_close(linear_map.T(y), ratio * adjoint, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(linear_map.T.T(x), linear_map(x))


def small_maps():
    """Maps with few entries, one for each kind of product."""
    X = odl.uniform_discr([0, 0], [1, 3], (3, 2))
    matrix = np.random.default_rng(0).standard_normal((4, 6))
    yield LinearMap(DenseOperator(matrix, X, data_space(4)))
    yield LinearMap(odl.Gradient(X, pad_mode="symmetric"))
    yield LinearMap(odl.Gradient(X, pad_mode="constant"))
    yield LinearMap(-2.0 * DenseOperator(matrix, X, data_space(4)))


@pytest.mark.parametrize("linear_map", list(small_maps()))
def test_derivatives_of_first_and_second_order(linear_map):
    x = normal(2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(linear_map, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: linear_map(x) ** 2, x)


@pytest.mark.parametrize("linear_map", list(small_maps()))
def test_function_transforms(linear_map):
    f = torch.func
    x, h = normal(5, 3, 2), normal(5, 3, 2, seed=1)
    y = linear_map(x)
    torch.testing.assert_close(f.vmap(linear_map)(x), y)
    torch.testing.assert_close(
        f.vmap(linear_map, in_dims=1)(x.movedim(0, 1).contiguous()), y
    )
    torch.testing.assert_close(f.jvp(linear_map, (x,), (h,))[1], linear_map(h))
    jacobian = f.jacfwd(linear_map)(x[0])
    torch.testing.assert_close(jacobian, f.jacrev(linear_map)(x[0]))
    product = torch.tensordot(jacobian, h[0], dims=2)
    torch.testing.assert_close(product, linear_map(h[0]))
    per_sample = f.vmap(f.grad(lambda x: (linear_map(x) ** 2).sum()))(x)
    torch.testing.assert_close(per_sample, 2 * linear_map.T(y))
    hessian = f.hessian(lambda x: (linear_map(x) ** 2).sum())(x[0])
    product = torch.tensordot(hessian, h[0], dims=2)
    torch.testing.assert_close(product, 2 * linear_map.T(linear_map(h[0])))


@each_dtype
def test_map_keeps_dtype_and_input(dtype):
    A = forward_operator(image_space(dtype=dtype))
    x = normal(2, 7, 9, dtype=getattr(torch, dtype))
    before = x.clone()
    y = LinearMap(A)(x)
    assert y.dtype == x.dtype
    assert torch.equal(x, before)
    expected = A.matrix @ x[0].double().numpy().ravel()
    assert np.allclose(y[0], expected, rtol=tolerance[dtype], atol=tolerance[dtype])


def test_empty_batch_and_expanded_input():
    linear_map = LinearMap(forward_operator(image_space()))
    assert linear_map(torch.zeros(0, 7, 9, dtype=torch.float64)).shape == (0, 10)
    row = normal(1, 7, 9)
    torch.testing.assert_close(
        linear_map(row.expand(3, 7, 9)), linear_map(row).expand(3, 10)
    )


def test_products_can_be_registered():
    class Doubling(odl.Operator):
        def __init__(self, space):
            super().__init__(space, space, linear=True)

    @batch_products.register
    def _(operator: Doubling):
        return (lambda x: 2 * x), (lambda y: 2 * y)

    x = normal(4, 7, 9)
    assert torch.equal(LinearMap(Doubling(image_space()))(x), 2 * x)


def test_gradient_through_the_torch_side_is_that_of_odl():
    """``grad_torch = w_X * grad_ODL`` for ``||A G(z) - y||^2`` with weights."""
    G, A = torch_operator("mlp"), forward_operator(image_space())
    f = odl.functionals.L2NormSquared(A.range) @ A @ G
    z = random_element(G.domain)
    leaf = as_tensor(z)[None].clone().requires_grad_()
    value = weight(A.range) * (LinearMap(A)(G.batch(leaf)) ** 2).sum()
    value.backward()
    assert value.item() == pytest.approx(f(z), rel=tolerance["float64"])
    torch.testing.assert_close(
        leaf.grad[0], weight(G.domain) * as_tensor(f.gradient(z))
    )
