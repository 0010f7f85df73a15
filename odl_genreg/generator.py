# SPDX-License-Identifier: MPL-2.0
"""G: a generative model as an ODL operator from latent space to image space."""

import math

import torch

from .precision_factor import num_entries
from .torch_bridge import (
    TorchOperator,
    check_device,
    frozen,
    torch_device,
    torch_dtype,
)

__all__ = ("Generator",)


class Generator(TorchOperator):
    """Generative model ``G : Z -> X``.

    The operator

        ``G(z) = offset + scale * network(z)``

    with the derivative and the weighted adjoint of a `TorchOperator`.

    Notes
    -----
    The network is used frozen and in evaluation mode, through a twin that shares its
    memory; the caller's module is left as it is. Solvers of smooth problems, and the
    theory of PALM, want a continuously differentiable network: SiLU, ELU, softplus
    or tanh rather than ReLU.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        latent_space,
        image_space,
        *,
        encoder: torch.nn.Module | None = None,
        intensity: tuple[float, float] = (0.0, 1.0),
        decoder_variance: float | None = None,
        precision: torch.nn.Module | None = None,
    ):
        """Initialize a new instance.

        Parameters
        ----------
        network : torch.nn.Module
            Module that maps ``(batch, *latent_space.shape)`` to ``(batch, n, m)``,
            ``(batch, 1, n, m)`` or ``(batch, n * m)``, ``(n, m)`` the shape of
            ``image_space``.
        latent_space : `TensorSpace`
            Space ``Z``, with the dtype and device of ``network``.
        image_space : `TensorSpace` or `DiscretizedSpace`
            Space ``X``, with the dtype and device of ``network``.
        encoder : torch.nn.Module, optional
            Module that maps images of the network's output shape to
            ``(batch, *latent_space.shape)``. It gives a start to projections.
        intensity : pair of float, optional
            ``(offset, scale)`` from the output of ``network`` to the unit of the
            images, 1/mm for example; ``scale`` is positive.
        decoder_variance : positive float, optional
            Variance of a pixel of an image about ``G(z)``, in the squared unit of the
            images. It gives the default of ``mu``, see `soft_constraint`.
        precision : torch.nn.Module, optional
            Module that maps latents to Cholesky factors ``(batch, k, n, m)`` of the
            precision of images about ``G(z)``, in the unit of ``network``; see
            `precision_factor.whiten` and `structured_deviation`.

        Raises
        ------
        TypeError
            If ``network``, ``encoder`` or ``precision`` is not a torch module.
        ValueError
            If dtype, device, shapes, ``intensity`` or ``decoder_variance`` do not
            fit, or if the network gives a value that is not finite.

        Examples
        --------
        A network that fills the image with its latent, in images of unit 1/mm:

        >>> class Constant(torch.nn.Module):
        ...     def forward(self, z):
        ...         return z[:, :, None, None].expand(-1, 1, 2, 3)
        >>> X = odl.uniform_discr([0, 0], [2, 3], (2, 3), dtype="float32")
        >>> Z = odl.rn(1, dtype="float32")
        >>> G = ogr.Generator(Constant(), Z, X, intensity=(1.0, 10.0))
        >>> G(Z.element([0.5])).asarray()
        array([[ 6.,  6.,  6.],
               [ 6.,  6.,  6.]], dtype=float32)
        """
        modules = {"network": network, "encoder": encoder, "precision": precision}
        for name, module in modules.items():
            if module is not None or name == "network":
                _check_module(name, module, latent_space, image_space)
        pair = isinstance(intensity, (tuple, list)) and len(intensity) == 2
        offset, scale = map(float, intensity if pair else (math.nan, math.nan))
        if not (math.isfinite(offset) and math.isfinite(scale) and scale > 0):
            raise ValueError(
                "`intensity` must be a finite offset and a positive finite scale, "
                f"got {intensity}; use (0.0, 1.0) for the network's own unit."
            )
        if decoder_variance is not None and not 0 < decoder_variance < math.inf:
            raise ValueError(
                f"`decoder_variance` must be positive, got {decoder_variance}; "
                "leave it out if it is not known."
            )
        super().__init__(network, latent_space, image_space)
        self.encoder = None if encoder is None else frozen(encoder)
        self.precision = None if precision is None else frozen(precision)
        self.intensity = (offset, scale)
        self.decoder_variance = decoder_variance
        self._output_shape = self._check_output(network)
        if self.encoder is not None:
            self._check_codes()
        if self.precision is not None:
            self._check_factor()

    def batch(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(batch, *Z.shape)`` to images ``(batch, *X.shape)``."""
        images, (offset, scale) = super().batch(z), self.intensity
        return images if (offset, scale) == (0, 1) else offset + scale * images

    def push_forward(self, z: torch.Tensor, h: torch.Tensor):
        """Return ``G(z_b)`` and ``J h_bk``, with the factor ``scale`` in ``J``."""
        offset, scale = self.intensity
        x, tangents = super().push_forward(z, h)
        return offset + scale * x, scale * tangents

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Encode images ``(batch, *X.shape)`` to latents ``(batch, *Z.shape)``.

        Raises
        ------
        NotImplementedError
            If the generator has no encoder.
        """
        if self.encoder is None:
            raise NotImplementedError(
                "`encoder` must be given to encode images, got a generator without; "
                "minimize ||x - G(z)|| with `soft_constraint(G, mu=0.0).latent(x)`."
            )
        offset, scale = self.intensity
        with torch.no_grad():
            network_images = ((x - offset) / scale).reshape(-1, *self._output_shape)
            return self.encoder(network_images).reshape(-1, *self.domain.shape)

    def _check_output(self, network):
        """Return the shape of one output of the network at ``z = 0``."""
        Z, X = self.domain, self.range
        z = torch.zeros(1, *Z.shape, dtype=torch_dtype(Z), device=torch_device(Z))
        with torch.no_grad():
            output = self.module(z)
        shape = tuple(output.shape)
        if shape not in ((1, *X.shape), (1, 1, *X.shape), (1, X.size)):
            raise ValueError(
                f"`network` must return images of the shape {X.shape} of `image_space` "
                f"(with a batch axis, and one channel or flat), got {shape}; take an "
                "`image_space` of the network's shape, and compose the regularizer "
                "with a resampling to reach it: `R @ Resampling(X, image_space)`."
            )
        if not torch.isfinite(output).all():
            raise ValueError(
                "`network` must return finite values, got NaN or inf at z = 0; "
                "check its weights."
            )
        return shape[1:]

    def _check_codes(self):
        Z, X = self.domain, self.range
        x = torch.zeros(1, *self._output_shape, dtype=torch_dtype(X))
        with torch.no_grad():
            code = self.encoder(x.to(torch_device(X)))
        if code.numel() != Z.size:
            raise ValueError(
                f"`encoder` must return latents of the shape {Z.shape} of "
                f"`latent_space`, got {tuple(code.shape)}; return the mean alone."
            )

    def _check_factor(self):
        Z, X = self.domain, self.range
        z = torch.zeros(1, *Z.shape, dtype=torch_dtype(Z), device=torch_device(Z))
        with torch.no_grad():
            shape = tuple(self.precision(z).shape)
        wanted = [(1, num_entries(radius), *X.shape) for radius in range(1, 10)]
        if shape not in wanted:
            raise ValueError(
                "`precision` must return factors (batch, 1 + 2 r (r + 1), n, m) for a "
                f"radius r and images (n, m) = {X.shape}, got {shape}; see "
                "`precision_factor.whiten`."
            )


def _check_module(name, module, latent_space, image_space):
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            f"`{name}` must be a torch.nn.Module, got {type(module).__name__}; "
            "wrap a function in a module with a `forward`."
        )
    dtypes = {p.dtype for p in module.parameters() if p.is_floating_point()}
    for space_name, space in (
        ("latent_space", latent_space),
        ("image_space", image_space),
    ):
        if dtypes and dtypes != {torch_dtype(space)}:
            raise ValueError(
                f"`{space_name}` must have the dtype of `{name}`, "
                f"got {space.dtype_identifier} and {_names(dtypes)}; convert the "
                "module with `to`, or build the space with its dtype."
            )
    check_device(name, module, latent_space=latent_space, image_space=image_space)


def _names(values):
    return ", ".join(sorted(str(value).removeprefix("torch.") for value in values))
