# SPDX-License-Identifier: MPL-2.0
"""Generators as files: safetensors for the numbers, JSON for what they mean."""

import odl
import torch

from .checkpoint_files import SHIPPED, read_checkpoint, write_checkpoint
from .generator import Generator
from .networks import GAN, VAE, Autoencoder, LocalVAE, StructuredVAE
from .torch_bridge import torch_dtype

__all__ = ("load_generator", "save_generator", "shipped_generators")

FAMILIES = {
    "vae": VAE,
    "lvae": LocalVAE,
    "svae": StructuredVAE,
    "ae": Autoencoder,
    "gan": GAN,
}


def shipped_generators() -> list[str]:
    """Return the names of the generators that ship with the package.

    Examples
    --------
    >>> ogr.checkpoint.shipped_generators()
    ['mnist-ae', 'mnist-gan', 'mnist-vae', 'shapes-gan', 'shapes-vae']
    """
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def save_generator(
    path,
    generator: Generator,
    *,
    architecture: dict | None = None,
    description: dict | None = None,
    dtype: torch.dtype | None = None,
):
    """Write a generator as ``path.safetensors`` and ``path.json``.

    Each file is written under a temporary name and moved in place, the description
    last: a checkpoint on disk is whole or an error.

    Parameters
    ----------
    path : path-like
        Where to write, with or without suffix.
    generator : `Generator`
        Generator to write.
    architecture : dict, optional
        ``{"name": "vae", "arguments": {...}}`` of a network of this package; the names
        of the others are "lvae", "svae", "ae" and "gan". Without, loading needs the
        network.
    description : dict, optional
        What else to know: training data, seed, versions, figures.
    dtype : torch.dtype, optional
        Floating-point type of the stored weights, such as ``torch.float16``. Default:
        that of the generator.

    Raises
    ------
    ValueError
        If ``architecture`` is none of this package, or ``description`` has an entry of
        the header.
    """
    if architecture is not None:
        _build(architecture)
    tensors = _prefixed("network", generator.module)
    for name in ("encoder", "precision"):
        module = getattr(generator, name)
        if module is not None:
            tensors |= _prefixed(name, module)
    if dtype is not None:
        tensors = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
    header = {
        "architecture": architecture,
        "image_shape": list(generator.range.shape),
        "latent_shape": list(generator.domain.shape),
        "intensity": list(generator.intensity),
        "decoder_variance": generator.decoder_variance,
    }
    description = description or {}
    if taken := {"format", "sha256", *header} & set(description):
        raise ValueError(
            f"`description` must leave {sorted(taken)} to the header, got values for "
            "them; rename them."
        )
    write_checkpoint(path, header | description, tensors)


def load_generator(
    name,
    image_space=None,
    latent_space=None,
    *,
    network: torch.nn.Module | None = None,
    encoder: torch.nn.Module | None = None,
    precision: torch.nn.Module | None = None,
) -> Generator:
    """Load a generator that ships with the package, or one from a file.

    Loading runs no code of the file.

    Parameters
    ----------
    name : str or path-like
        Name of a shipped generator, see `shipped_generators`, or the path that
        `save_generator` wrote.
    image_space : `DiscretizedSpace`, optional
        Space ``X``; the network is converted to its dtype and device. Default: cells of
        side 1 and volume 1, dtype float32, on the CPU.
    latent_space : `TensorSpace`, optional
        Space ``Z``. Default: ``odl.rn`` with the dtype, impl and device of ``X``.
    network, encoder, precision : torch.nn.Module, optional
        Modules that take the weights, for a checkpoint of a network that is none of
        this package. They are changed.

    Returns
    -------
    generator : `Generator`
        The generator with its intensity mapping and decoder variance.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If a file is damaged, of another format or architecture, or of another shape
        than ``image_space``.

    Examples
    --------
    >>> X = odl.uniform_discr([-1, -1], [1, 1], (28, 28), dtype="float32")
    >>> G = ogr.load_generator("mnist-vae", image_space=X)
    >>> G.domain
    rn(16, 'float32')
    """
    path = SHIPPED / name if str(name) in shipped_generators() else name
    header, tensors = read_checkpoint(path)
    if network is None:
        network, encoder, precision = _build(header["architecture"])
    shape = tuple(header["image_shape"])
    if image_space is None:
        image_space = odl.uniform_discr([0] * len(shape), shape, shape, dtype="float32")
    if image_space.shape != shape:
        raise ValueError(
            f"`image_space` must have the shape {shape} of the checkpoint, got "
            f"{image_space.shape}; take an `image_space` of that shape, and compose "
            "the regularizer with a resampling: `R @ Resampling(X, image_space)`."
        )
    if latent_space is None:
        latent_space = odl.rn(
            tuple(header["latent_shape"]),
            dtype=image_space.dtype_identifier,
            impl=image_space.impl,
            device=image_space.device,
        )
    modules = {"network": network, "encoder": encoder, "precision": precision}
    stored = {key.partition(".")[0] for key in tensors}
    for name, module in modules.items():
        if name not in stored and name != "network":
            modules[name] = None
        elif module is not None:
            _fill(name, module, tensors)
            module.to(image_space.device, torch_dtype(image_space))
    return Generator(
        network,
        latent_space,
        image_space,
        encoder=modules["encoder"],
        precision=modules["precision"],
        intensity=tuple(header["intensity"]),
        decoder_variance=header["decoder_variance"],
    )


def _build(architecture):
    """Return untrained network, encoder and precision of one of our architectures."""
    if architecture is None:
        raise ValueError(
            "`network` must be given for a checkpoint of a network that is none of "
            "this package, got None; give the module, and its `encoder` if it has one."
        )
    name = architecture.get("name")
    if name not in FAMILIES:
        raise ValueError(
            f"`architecture` must have one of the names {tuple(FAMILIES)}, got "
            f"{name!r}; give the `network` itself."
        )
    try:
        network = FAMILIES[name](**architecture["arguments"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"`architecture` must have the arguments of a network {name!r}, got "
            f"{architecture.get('arguments')!r}; give the `network` itself."
        ) from error
    others = ("mean_encoder", "precision")
    return network.decoder, *(getattr(network, name, None) for name in others)


def _prefixed(prefix, module):
    state = module.state_dict()
    # Clones: safetensors takes no tensors that share memory, such as tied weights.
    return {
        f"{prefix}.{key}": tensor.cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }


def _fill(prefix, module, tensors):
    prefix += "."
    state = {
        key.removeprefix(prefix): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"`{prefix[:-1]}` must have the parameters of the checkpoint, got others; "
            f"build it as it was trained. {error}"
        ) from error
