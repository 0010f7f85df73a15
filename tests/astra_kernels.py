# SPDX-License-Identifier: MPL-2.0
"""The kernels of ASTRA 2.5 for CUDA in torch: rays forward, voxels backward.

All points are in units of voxels about the center of the volume, axes 0, 1, 2 are those
of a volume ``(slices z, rows y, columns x)``. Textures are interpolated linearly, with
zeros outside: ``x_0 / 2`` half a voxel before the center of voxel 0. The hardware has
interpolation weights of 8 bits; here they are exact.
"""

import dataclasses

import torch


@dataclasses.dataclass
class Rays:
    """A projection geometry in units of voxels, and the sides of the voxels.

    Parameters
    ----------
    shape : tuple of int
        Shape of the volume ``(z, y, x)``.
    sides : torch.Tensor
        Sides of a voxel, ``(3,)``.
    source : torch.Tensor
        Directions of rays, or positions of the source, one for each angle ``(A, 3)``.
    corner, u, v : torch.Tensor
        Corner of the detector, and the steps from one column and row to the next.
    cone : bool
        Whether ``source`` is a position.
    detector : tuple of int
        Rows and columns of the detector.
    """

    shape: tuple[int, int, int]
    sides: torch.Tensor
    source: torch.Tensor
    corner: torch.Tensor
    u: torch.Tensor
    v: torch.Tensor
    cone: bool
    detector: tuple[int, int]

    def pixels(self, angle):
        """Centers of the detector pixels, ``(V, U, 3)``."""
        rows, columns = (
            torch.arange(n, dtype=self.sides.dtype) + 0.5 for n in self.detector
        )
        u, v = self.u[angle], self.v[angle]
        return self.corner[angle] + rows[:, None, None] * v + columns[:, None] * u

    def voxels(self):
        """Centers of the voxels, ``(z, y, x, 3)``."""
        axes = [
            torch.arange(n, dtype=self.sides.dtype) - (n - 1) / 2 for n in self.shape
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def interpolate(images, i, j):
    """Bilinear interpolation of each image at its own ``i, j``, zero outside.

    ``tex2D`` with ``cudaFilterModeLinear`` and ``cudaAddressModeBorder``, of images
    ``(k, n, m)`` at indices ``(k, ...)``.
    """
    k, n, m = images.shape
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    number = torch.arange(k).reshape(-1, *[1] * (i.ndim - 1))
    i, j = (i + 1).clamp(0, n + 1), (j + 1).clamp(0, m + 1)
    i_0, j_0 = i.floor().clamp(max=n).long(), j.floor().clamp(max=m).long()
    a, b = i - i_0, j - j_0
    first = (1 - b) * padded[number, i_0, j_0] + b * padded[number, i_0, j_0 + 1]
    i_0 += 1
    second = (1 - b) * padded[number, i_0, j_0] + b * padded[number, i_0, j_0 + 1]
    return (1 - a) * first + a * second


def forward(volume, rays, main=None):
    """Integrals along rays by Joseph's method, ``(V, A, U)``.

        ``sum_k tex(k, p_k) |d| / |d_0|``

    over the slices ``k`` along the main axis 0 of the ray, ``p_k`` where it meets the
    slice, ``d`` its direction with lengths in the unit of the geometry, and the side of
    a voxel along the axis as the thickness of a slice. See ``par3D_FP_t`` in
    cuda/3d/par3d_fp.cu and ``cone_FP_t`` in cuda/3d/cone_fp.cu.

    Parameters
    ----------
    volume : torch.Tensor
        Volume ``(z, y, x)``.
    rays : Rays
        The geometry.
    main : torch.Tensor, optional
        Main axis of each ray, ``(A, V, U)``. Default: one for each angle, the largest
        component of the ray, in a cone of that to the center of the detector; among
        equal ones x before y before z.
    """
    data = volume.new_zeros(rays.detector[0], len(rays.source), rays.detector[1])
    for angle, source in enumerate(rays.source):
        points = rays.pixels(angle)
        directions = points - source if rays.cone else source.expand_as(points)
        if main is None:
            central = _center(rays, angle) - source if rays.cone else source
            axes = torch.full(rays.detector, 2 - int(central.abs().flip(0).argmax()))
        else:
            axes = main[angle]
        for axis in range(3):
            chosen = axes == axis
            if bool(chosen.any()):
                data[:, angle][chosen] = _joseph(
                    volume, points[chosen], directions[chosen], axis, rays
                )
    return data


def _center(rays, angle):
    rows, columns = rays.detector
    return rays.corner[angle] + rows * rays.v[angle] / 2 + columns * rays.u[angle] / 2


def _joseph(volume, points, directions, axis, rays):
    """Sum the slices of one axis along rays ``(n, 3)``."""
    shape = volume.shape
    others = [k for k in range(3) if k != axis]
    slopes = directions / directions[:, axis : axis + 1]
    numbers = torch.arange(shape[axis])[:, None]
    steps = numbers - (shape[axis] - 1) / 2 - points[:, axis]
    i, j = (points[:, k] + steps * slopes[:, k] + (shape[k] - 1) / 2 for k in others)
    total = interpolate(volume.movedim(axis, 0), i, j).sum(0)
    lengths = slopes * rays.sides
    if axis == 1 and not rays.cone:
        # par3d_fp.cu has fS2 = fVolScaleY / fVolScaleY where Z / Y is meant: rays of
        # main axis y get a wrong length if they are oblique in z, and z is not y.
        lengths[:, 0] = slopes[:, 0] * rays.sides[1]
    return lengths.norm(dim=1) * total


def backward(data, rays, weighting="default"):
    """Sum over the angles of the data at the projected centers of voxels.

        ``sum_a tex(u_a(x), v_a(x)) w_a(x)``

    with the density of rays ``w``, which makes it nearly the transpose of `forward`:
    the volume of a voxel over ``|u x v|`` for parallel beam, cuda/3d/par3d_bp.cu, and
    times ``m(x)^2``, the square of the magnification ``|u v (s-d)| / |u v (s-x)|``,
    in a cone, cuda/3d/cone_bp.cu.

    Parameters
    ----------
    data : torch.Tensor
        Data ``(V, A, U)``.
    rays : Rays
        The geometry.
    weighting : {'default', '2d_weighting'}, optional
        ASTRA's ProjectionKernel. '2d_weighting', for a volume of one slice, has
        ``e_z`` in place of ``v`` in ``|u x v|``, and ``m(x)`` in place of its square.
    """
    volume = data.new_zeros(rays.shape)
    x = rays.voxels()
    flat = weighting == "2d_weighting"
    for angle, source in enumerate(rays.source):
        u, v, corner = rays.u[angle], rays.v[angle], rays.corner[angle]
        points, magnification = x, 1.0
        normal = torch.linalg.cross(u, v)
        if rays.cone:
            magnification = ((source - corner) @ normal) / ((source - x) @ normal)
            points = source + magnification[..., None] * (x - source)
            direction = normal
        else:
            direction = source
        offset = points - corner
        # Coordinates of a parallel projection onto the detector, by Cramer's rule.
        volume_uv = direction @ normal
        column = offset @ torch.linalg.cross(v, direction) / volume_uv
        row = offset @ torch.linalg.cross(direction, u) / volume_uv
        values = interpolate(data[None, :, angle], row[None] - 0.5, column[None] - 0.5)[
            0
        ]
        up = torch.tensor([1.0, 0, 0], dtype=x.dtype) if flat else v
        # |u x v| with the sides of the voxels: `scaled_cross3` of ASTRA.
        area = (torch.linalg.cross(u, up) * rays.sides.prod() / rays.sides).norm()
        weights = rays.sides.prod() / area
        volume += weights * magnification ** (1 if flat else 2) * values
    return volume
