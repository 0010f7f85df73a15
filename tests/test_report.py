# SPDX-License-Identifier: MPL-2.0
"""The report on a generator: numbers against closed forms, the page, the command."""

import json
import sys

import numpy as np
import odl
import pytest
import torch

import odl_genreg as ogr
from generators import linear_network, linear_parts, make_generator
from odl_genreg import cli
from odl_genreg.evaluation import latent_statistics
from odl_genreg.networks import VAE
from odl_genreg.projection import sample_latents
from odl_genreg.report import feasible, latent, smooth, unfeasible, write_report
from odl_genreg.report.finding import montage


def images_of(G, number, seed, noise=0.0):
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        images = G.batch(sample_latents(G.domain, number, seed))
    return images + noise * torch.randn(
        images.shape, generator=source, dtype=images.dtype
    )


def test_feasible_of_a_linear_generator():
    G = make_generator("linear")
    W, b = linear_parts(G)
    images = images_of(G, 40, 1, noise=0.3)
    finding = feasible(G, images)
    flat = images.flatten(1).numpy().T - b[:, None]
    z, *_ = np.linalg.lstsq(W, flat, rcond=None)
    expected = -10 * np.log10(((flat - W @ z) ** 2).mean(0))
    assert finding.value == pytest.approx(expected.mean(), abs=0.01)
    assert finding.details["projection PSNR, dB, deciles"] == pytest.approx(
        np.percentile(expected, range(10, 100, 10)), abs=0.01
    )
    ideal = (G.domain.size / G.range.size) ** 0.5
    kept = finding.details["share of noise in the range, mean"]
    assert kept == pytest.approx(ideal, rel=0.15)
    (picture,) = finding.pictures.values()
    assert picture.shape == (2 * 7, 11 * 9)


def test_unfeasible_tells_images_of_the_prior_from_others():
    G = make_generator("mlp")
    images, others = images_of(G, 200, 100), images_of(G, 200, 200)
    alike = unfeasible(G, images, others)
    assert alike.value == pytest.approx(1, abs=0.15)
    assert alike.details["precision"] > 0.8
    assert alike.details["recall"] > 0.8
    shifted = unfeasible(G, images + 1, others + 1)
    assert shifted.value > 3
    assert shifted.details["precision"] < 0.2
    assert len(shifted.details["earth mover's distance, samples"]) == 3


def test_smooth_of_a_linear_generator():
    G = make_generator("linear")
    finding = smooth(G, images_of(G, 5, 1, noise=0.1))
    assert finding.value == 1.0
    values = np.linalg.svd(linear_parts(G)[0], compute_uv=False)
    assert finding.details["ratio, median"] == pytest.approx(values[0] / values[-1])
    assert finding.details["restarts"] == 10


def test_loss_surface_of_a_linear_generator():
    """``|B d|^2`` grows from the center, and is the same at opposite points."""
    G = make_generator("linear")
    finding = smooth(G, images_of(G, 3, 1, noise=0.1))
    picture = list(finding.pictures.values())[1]
    assert picture.shape == (56, 3 * 56)
    for plane in picture.split(56, dim=1):
        assert plane.min() == 0
        assert plane.max() == 1
        assert plane[27:29, 27:29].max() == 0
        turned = plane.flip(0, 1)
        assert (turned == plane).double().mean() > 0.95


def test_many_latents_by_lanczos(monkeypatch):
    """The extremes are those of the whole Jacobians."""
    G = make_generator("mlp")
    images = images_of(G, 3, 1)
    whole = smooth(G, images).details
    module = sys.modules["odl_genreg.report.smooth"]
    monkeypatch.setattr(module, "MAX_COLUMNS", 2)
    monkeypatch.setattr(module, "FEW", 100)
    few = smooth(G, images).details
    for name in ("largest singular value, deciles", "smallest singular value, deciles"):
        assert few[name] == pytest.approx(whole[name], rel=1e-3)


def test_latent_tells_encodings_from_the_prior():
    """An encoder that inverts the generator gives back the latents."""
    network = linear_network()
    inverse = torch.linalg.pinv(network.weight.detach())
    encoder = torch.nn.Linear(63, 3, dtype=torch.float64)
    with torch.no_grad():
        encoder.weight.copy_(inverse)
        encoder.bias.copy_(-inverse @ network.bias)
    Z, X = make_generator("linear").domain, make_generator("linear").range
    G = ogr.Generator(network, Z, X, encoder=encoder)
    with torch.no_grad():
        z = sample_latents(Z, 300, seed=5)
        alike, other = latent(G, G.batch(z)), latent(G, G.batch(z.abs()))
    assert alike.value < 0.02
    assert alike.details["p value"] > 0.05
    assert "cannot be told" in alike.sentence
    assert other.value > 0.1
    assert other.details["p value"] < 0.01
    assert "They can be told" in other.sentence


def test_latent_without_an_encoder_searches():
    """A linear generator: the nearest latents are those of the images."""
    G = make_generator("linear")
    z = sample_latents(G.domain, 60, seed=5)
    finding = latent(G, G.batch(z))
    statistics = latent_statistics(z)
    assert finding.sentence.startswith("Nearest latents")
    assert finding.details["variances"] == pytest.approx(statistics.variances, rel=1e-3)
    assert finding.details["latents compared"] == 60


def many_latents():
    """More latents than images: no covariance can be estimated."""
    network = torch.nn.Linear(30, 63, dtype=torch.float64)
    return ogr.Generator(network, odl.rn(30), make_generator("mlp").range)


def small_generator():
    vae = VAE((8, 12), latent_dim=3, channels=(4, 5), hidden=6)
    X = odl.uniform_discr([0, 0], [8, 12], (8, 12), dtype="float32")
    Z = odl.rn(3, dtype="float32")
    G = ogr.Generator(vae.decoder, Z, X, encoder=vae.mean_encoder)
    return G, {"name": "vae", "arguments": vae.arguments}


def test_report_is_a_page_and_numbers(tmp_path, global_state_untouched):
    G, _ = small_generator()
    images = torch.rand(40, 8, 12, generator=torch.Generator().manual_seed(0))
    with global_state_untouched():
        findings = write_report(
            G,
            images[:20],
            images[20:],
            tmp_path / "a" / "page",
            name="bars & <b>",
        )
    assert list(findings) == ["feasible", "unfeasible", "smooth", "latent"]
    numbers = json.loads((tmp_path / "a" / "page.json").read_text())["findings"]
    page = (tmp_path / "a" / "page.html").read_text()
    for name, finding in findings.items():
        assert numbers[name]["value"] == finding.value
        assert np.isfinite(finding.value)
        assert finding.question in page
    assert "bars &amp; &lt;b&gt;" in page
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page
    files = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert files == ["page.html", "page.json"]
    again = write_report(G, images[:20], images[20:], tmp_path / "b")
    assert again["feasible"].details == findings["feasible"].details
    assert again["unfeasible"].details == findings["unfeasible"].details


def test_report_without_an_encoder(tmp_path):
    G = make_generator("mlp")
    images = images_of(G, 40, 1)
    findings = write_report(G, images[:20], images[20:], tmp_path / "page")
    assert list(findings) == ["feasible", "unfeasible", "smooth", "latent"]
    few = write_report(many_latents(), images[:20], images[20:], tmp_path / "few")
    assert list(few) == ["feasible", "unfeasible", "smooth"]


@pytest.mark.parametrize("name", ["images", "others"])
@pytest.mark.parametrize("wrong", [(30, 5, 5), (10, 7, 9)])
def test_errors_before_any_work(tmp_path, name, wrong):
    batches = {"images": torch.zeros(30, 7, 9), "others": torch.zeros(30, 7, 9)}
    batches[name] = torch.zeros(wrong)
    with pytest.raises(ValueError, match=f"`{name}` must be at least 20 of the shape"):
        write_report(make_generator("mlp"), *batches.values(), tmp_path / "page")
    assert not list(tmp_path.iterdir())


def test_montage_puts_images_side_by_side():
    first = torch.arange(12.0).reshape(3, 2, 2)
    picture = montage([first, -first])
    assert picture.shape == (4, 6)
    assert torch.equal(picture[:2, 2:4], first[1])
    assert torch.equal(picture[2:, 4:], -first[2])


def test_command(tmp_path, capsys):
    G, architecture = small_generator()
    ogr.save_generator(tmp_path / "bars", G, architecture=architecture)
    images = np.random.default_rng(0).random((40, 8, 12)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    command = ["report", str(tmp_path / "bars"), "--data", str(tmp_path / "images.npy")]
    assert cli.main([*command, "--out", str(tmp_path / "page")]) == 0
    assert "Is nothing else in the range?" in capsys.readouterr().out
    numbers = json.loads((tmp_path / "page.json").read_text())
    assert numbers["generator"] == "bars"
    assert numbers["findings"]["unfeasible"]["details"]["number of images"] == 20
    others = ["--others", "shapes", "--out", str(tmp_path / "page")]
    assert cli.main([*command, *others]) == 1
    assert "`others` must be at least 20 of the shape" in capsys.readouterr().err
