"""The demonstration learns, filters rightly, and reports failure as failure."""

from pathlib import Path

import numpy as np
import pytest

from convlab import _demo

datasets = pytest.importorskip("sklearn.datasets")
SEED = 20


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


def as_float64(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.astype(np.float64) for name, value in p.items()}


def test_gradients_are_those_of_the_loss(rng: np.random.Generator) -> None:
    """Each parameter's gradient agrees with central differences of the loss along a direction."""
    p = as_float64(_demo.parameters(rng))
    clean, labels = rng.random((5, 1, 8, 8)), rng.integers(0, 10, 5)
    noisy = clean + 0.1 * rng.standard_normal(clean.shape)

    def loss(moved: dict[str, np.ndarray]) -> float:
        entropy, error, _, _ = _demo.losses(_demo.forward(moved, noisy), labels, clean)
        return entropy + error

    a = _demo.forward(p, noisy)
    _, _, d_scores, d_restored = _demo.losses(a, labels, clean)
    grad = _demo.backward(p, a, d_scores, d_restored.astype(np.float64))
    step = 1e-6
    for name, value in p.items():
        direction = rng.standard_normal(value.shape)
        direction /= np.linalg.norm(direction)
        slope = (
            loss(p | {name: value + step * direction}) - loss(p | {name: value - step * direction})
        ) / (2 * step)
        assert grad[name].shape == value.shape
        # A central difference errs by step**2 and by rounding, eps / step.
        assert (grad[name] * direction).sum() == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_adam_takes_the_textbook_step(rng: np.random.Generator) -> None:
    """The first step of Adam has the size of the rate and the sign of the gradient."""
    p = {"w": np.zeros(4)}
    _demo.Adam(p).step({"w": np.array([3.0, -0.5, 20.0, -1.0])}, rate=0.01)
    assert p["w"] == pytest.approx([-0.01, 0.01, -0.01, 0.01], rel=1e-4)


def test_digits_are_split(rng: np.random.Generator) -> None:
    """No digit is both learned from and held out, and none is lost."""
    digits = _demo.load_digits(rng)
    assert digits.train.shape == (1348, 1, 8, 8)
    assert digits.test.shape == (449, 1, 8, 8)
    whole = np.concatenate([digits.train, digits.test])
    expected = datasets.load_digits().images.sum() / 16
    assert whole.sum(dtype=np.float64) == pytest.approx(expected, rel=1e-6)


def test_blur_keeps_a_flat_image(rng: np.random.Generator) -> None:
    """A kernel of sum 1 leaves a constant image as it is, to its very edge, and keeps its shape."""
    image = np.full((20, 30, 3), 0.25, np.float32)
    kernel = _demo.gaussian_kernel(1.5)
    assert _demo.filter_colours(image, kernel) == pytest.approx(image, rel=1e-6)


def test_enlarging_interpolates() -> None:
    """Old pixels stand unchanged, a factor apart, and a ramp stays a ramp between them."""
    ramp = np.broadcast_to(np.arange(6, dtype=np.float32)[None, :, None], (4, 6, 3))
    large = _demo.enlarge(ramp, 3)
    assert large.shape == (12, 18, 3)
    expected = np.minimum(np.arange(18) / 3, 5)
    assert large[:, :, 0] == pytest.approx(np.broadcast_to(expected, (12, 18)), abs=1e-6)


def test_edges_of_a_step() -> None:
    """Sobel's filters answer on the two columns beside a step, and nowhere else."""
    image = np.zeros((6, 8, 3), np.float32)
    image[:, 4:] = 1
    strength = _demo.edge_strength(image)
    assert (strength[:, 3:5] == 4).all()
    assert (np.delete(strength, [3, 4], axis=1) == 0).all()


def test_training_is_reproducible() -> None:
    """The same seed gives the same accuracies, and one epoch learns far more than chance."""

    def accuracies() -> list[float]:
        rng = np.random.default_rng(SEED)
        digits, p = _demo.load_digits(rng), _demo.parameters(rng)
        return _demo.train(p, digits, rng, epochs=2).accuracy

    first = accuracies()
    assert first == accuracies()
    assert len(first) == 2
    assert first[-1] > 0.5


@pytest.mark.parametrize(("goal", "status"), [(0.0, 0), (1.01, 1)])
def test_run_reports(
    goal: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The demo saves a picture, prints accuracy, and its status says whether the goal was met."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    monkeypatch.setattr(_demo, "ACCURACY_GOAL", goal)
    picture = tmp_path / "folder" / "demo.png"
    assert _demo.run(str(picture), epochs=1) == status
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "held-out digits are right" in out
    assert ("has failed" in out) == bool(status)


@pytest.mark.parametrize("place", ["picture.xyz", "picture", "file/picture.png"])
def test_picture_must_have_its_place(place: str, tmp_path: Path) -> None:
    """A format that Matplotlib does not know, or no folder, is an error before anything runs."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(_demo.PictureError, match=r"does not end in|exists|Not a directory"):
        _demo.run(str(tmp_path / place))
