"""The demonstration: filters on a photograph, and a network trained on handwritten digits.

Every convolution, transposed convolution and gradient is convlab's; the rest is NumPy. It needs the
packages of ``pip install "convlab[demo]"``.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import convlab
from convlab._timing import best_time

ACCURACY_GOAL = 0.97
NOISE = 0.3  # greatest standard deviation, on images between 0 and 1

Array = np.ndarray[Any, np.dtype[Any]]


# ---- filters on a photograph ---------------------------------------------------------------------


def gaussian_kernel(sigma: float) -> Array:
    """Return a square kernel that blurs, of sum 1, cut off at three sigma."""
    reach = np.arange(-int(3 * sigma), int(3 * sigma) + 1)
    profile = np.exp(-(reach**2) / (2 * sigma**2))
    kernel = np.outer(profile, profile)
    return (kernel / kernel.sum()).astype(np.float32)


def filter_colours(image: Array, kernel: Array) -> Array:
    """Filter the red, green and blue of an image (H, W, 3) alike; the edge pixels are repeated."""
    rows, columns = kernel.shape
    padded = np.pad(image, ((rows // 2,) * 2, (columns // 2,) * 2, (0, 0)), mode="edge")
    weight = np.broadcast_to(kernel[:, :, None, None], (*kernel.shape, 1, 3))
    return convlab.conv2d(padded, weight, groups=3, layout="channels_last")


def edge_strength(image: Array) -> Array:
    """Return the length of the brightness gradient, (H, W, 3) to (H, W), by Sobel's two kernels."""
    brightness = np.pad(image.mean(axis=2), 1, mode="edge")
    across = np.outer([1, 2, 1], [-1, 0, 1])
    slopes = convlab.conv2d(brightness[None], np.stack([across, across.T])[:, None].astype("f4"))
    return np.hypot(*slopes)


def enlarge(image: Array, factor: int) -> Array:
    """Enlarge an image (H, W, 3) bilinearly: a transposed convolution with a triangle."""
    side = np.minimum(np.arange(1, 2 * factor), np.arange(1, 2 * factor)[::-1]) / factor
    weight = np.outer(side, side).astype(np.float32)[:, :, None, None]
    weight = np.broadcast_to(weight, (*weight.shape[:2], 3, 1))
    padded = np.pad(image, ((0, 1), (0, 1), (0, 0)), mode="edge")
    return convlab.conv_transpose2d(
        padded,
        weight,
        stride=factor,
        padding=((factor - 1, factor),) * 2,
        groups=3,
        layout="channels_last",
    )


def filtered_photograph(image: Array) -> dict[str, Array]:
    """Return every picture that the demonstration makes of a photograph, by title."""
    blur = filter_colours(image, gaussian_kernel(3))
    identity = np.zeros_like(kernel := gaussian_kernel(1.5))
    identity[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    emboss = filter_colours(image, np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]], np.float32))
    detail = image[66:140, 84:195]
    return {
        "photograph": image,
        "blurred (Gaussian, 19x19)": blur,
        "sharpened (unsharp mask, 9x9)": filter_colours(image, 3 * identity - 2 * kernel),
        "edges (Sobel, 3x3)": edge_strength(image),
        "embossed (3x3)": 0.5 + emboss.mean(axis=2) / 2,
        "a detail, enlarged 6 times (transposed)": enlarge(detail, 6),
    }


# ---- the network ---------------------------------------------------------------------------------


def parameters(rng: np.random.Generator) -> dict[str, Array]:
    """Draw the network's weights and biases, scaled so that signals keep their size (He et al.)."""

    def weight(*shape: int, inputs: int) -> Array:
        return rng.normal(0, np.sqrt(2 / inputs), shape).astype(np.float32)

    return {
        "w1": weight(24, 1, 3, 3, inputs=9),
        "b1": np.zeros(24, np.float32),
        "w2": weight(48, 24, 3, 3, inputs=24 * 9),
        "b2": np.zeros(48, np.float32),
        "w3": weight(48 * 4 * 4, 10, inputs=48 * 4 * 4),
        "b3": np.zeros(10, np.float32),
        "w4": weight(48, 16, 3, 3, inputs=48 * 9 // 4),
        "b4": np.zeros(16, np.float32),
        "w5": weight(16, 1, 3, 3, inputs=16 * 9),
        "b5": np.zeros(1, np.float32),
    }


ENCODE1: dict[str, Any] = {"padding": "same"}
ENCODE2: dict[str, Any] = {"padding": 1, "stride": 2}
DECODE1: dict[str, Any] = {"padding": 1, "stride": 2, "output_padding": 1}
DECODE2: dict[str, Any] = {"padding": 1}


@dataclass
class Activations:
    """What one forward pass of a batch leaves for the backward pass."""

    images: Array  # (N, 1, 8, 8)
    a1: Array  # (N, 24, 8, 8)
    a2: Array  # (N, 48, 4, 4)
    scores: Array  # (N, 10)
    a4: Array  # (N, 16, 8, 8)
    restored: Array  # (N, 1, 8, 8)


def forward(p: dict[str, Array], images: Array) -> Activations:
    """Classify and restore a batch of images: two heads on one pair of convolutions.

    The first head is dense, and says which digit it is. The second is a pair of transposed
    convolutions, and draws the digit without its noise.
    """
    a1 = np.maximum(convlab.conv2d(images, p["w1"], p["b1"], **ENCODE1), 0)
    a2 = np.maximum(convlab.conv2d(a1, p["w2"], p["b2"], **ENCODE2), 0)
    scores = a2.reshape(len(a2), -1) @ p["w3"] + p["b3"]
    a4 = np.maximum(convlab.conv_transpose2d(a2, p["w4"], p["b4"], **DECODE1), 0)
    restored = convlab.conv_transpose2d(a4, p["w5"], p["b5"], **DECODE2)
    return Activations(images, a1, a2, scores, a4, restored)


def losses(a: Activations, labels: Array, clean: Array) -> tuple[float, float, Array, Array]:
    """Return cross-entropy, mean squared error, and their gradients in scores and restored."""
    shifted = a.scores - a.scores.max(axis=1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    cross_entropy = -log_probability[rows, labels].mean()
    d_scores = np.exp(log_probability)
    d_scores[rows, labels] -= 1
    difference = a.restored - clean
    d_restored = difference * np.float32(2 / difference.size)
    return float(cross_entropy), float((difference**2).mean()), d_scores / len(rows), d_restored


def backward(
    p: dict[str, Array], a: Activations, d_scores: Array, d_restored: Array
) -> dict[str, Array]:
    """Return the gradient of every parameter, given those of the two heads."""
    grad: dict[str, Any] = {}
    da1: Any
    da2: Any
    da4: Any
    da4, grad["w5"], grad["b5"] = convlab.conv_transpose2d_backward(
        d_restored, a.a4, p["w5"], **DECODE2
    )
    da2, grad["w4"], grad["b4"] = convlab.conv_transpose2d_backward(
        da4 * (a.a4 > 0), a.a2, p["w4"], **DECODE1
    )
    grad["w3"] = a.a2.reshape(len(a.a2), -1).T @ d_scores
    grad["b3"] = d_scores.sum(axis=0)
    da2 += (d_scores @ p["w3"].T).reshape(a.a2.shape)
    da1, grad["w2"], grad["b2"] = convlab.conv2d_backward(
        da2 * (a.a2 > 0), a.a1, p["w2"], **ENCODE2
    )
    _, grad["w1"], grad["b1"] = convlab.conv2d_backward(
        da1 * (a.a1 > 0), a.images, p["w1"], needs=("weight", "bias"), **ENCODE1
    )
    return grad


class Adam:
    """Adam (Kingma and Ba, 2015): steps scaled by running means of gradients and their squares."""

    def __init__(self, p: dict[str, Array]) -> None:
        self.p = p
        self.mean = {name: np.zeros_like(value) for name, value in p.items()}
        self.square = {name: np.zeros_like(value) for name, value in p.items()}
        self.steps = 0

    def step(self, grad: dict[str, Array], rate: float) -> None:
        """Move every parameter, in place."""
        self.steps += 1
        rate *= np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        for name, value in self.p.items():
            self.mean[name] += 0.1 * (grad[name] - self.mean[name])
            self.square[name] += 0.001 * (grad[name] ** 2 - self.square[name])
            value -= rate * self.mean[name] / (np.sqrt(self.square[name]) + 1e-8)


def multiplications(batch: int) -> int:
    """Count the multiply-adds of the convolutions in one training step.

    Each layer is computed three times, forward and for its two gradients, but for the first, whose
    input needs no gradient.
    """
    w1, w2, w4, w5 = (24 * 9 * 64, 24 * 48 * 9 * 16, 48 * 16 * 9 * 16, 16 * 9 * 64)
    return batch * (2 * w1 + 3 * (w2 + w4 + w5))


@dataclass
class Digits:
    """Images (N, 1, 8, 8) between 0 and 1 and what they show, to learn from and held out."""

    train: Array
    train_labels: Array
    test: Array
    test_labels: Array


def load_digits(rng: np.random.Generator) -> Digits:
    """Split scikit-learn's 1797 digits: a quarter, drawn at random, is held out."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    order = rng.permutation(len(labels))
    test, train = np.split(order, [len(labels) // 4])
    return Digits(images[train], labels[train], images[test], labels[test])


def add_noise(images: Array, level: Array | float, rng: np.random.Generator) -> Array:
    """Spoil images with normal noise of one standard deviation, or of one per image."""
    level = np.reshape(np.float32(level), (-1, 1, 1, 1))
    return images + level * rng.standard_normal(images.shape, dtype=np.float32)


def accuracy(p: dict[str, Array], images: Array, labels: Array) -> float:
    """Return the share of images whose highest score is the right digit's."""
    return float((forward(p, images).scores.argmax(axis=1) == labels).mean())


@dataclass
class History:
    """What training leaves to be drawn: one entry per step, and per epoch."""

    cross_entropy: list[float] = field(default_factory=list)
    squared_error: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0


def train(
    p: dict[str, Array],
    digits: Digits,
    rng: np.random.Generator,
    *,
    epochs: int,
    batch: int = 64,
    progress: Callable[[range], Any] = iter,
) -> History:
    """Train on noisy digits, to name them and to restore them, and measure on those held out."""
    history = History()
    adam = Adam(p)
    for epoch in (bar := progress(range(epochs))):
        rate = 0.004 * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        start = time.perf_counter()
        for rows in batches(rng.permutation(len(digits.train)), batch):
            clean = digits.train[rows]
            noisy = add_noise(clean, rng.uniform(0, NOISE, batch), rng)
            a = forward(p, noisy)
            entropy, error, d_scores, d_restored = losses(a, digits.train_labels[rows], clean)
            adam.step(backward(p, a, d_scores, d_restored), rate)
            history.cross_entropy.append(entropy)
            history.squared_error.append(error)
        history.seconds += time.perf_counter() - start
        history.accuracy.append(accuracy(p, digits.test, digits.test_labels))
        if hasattr(bar, "set_postfix_str"):
            bar.set_postfix_str(f"held-out accuracy {history.accuracy[-1]:.1%}")
    return history


def batches(order: Array, size: int) -> Iterator[Array]:
    """Cut an order into runs of one size; the rest is left for the next epoch."""
    for start in range(0, len(order) - size + 1, size):
        yield order[start : start + size]


# ---- what it prints and draws --------------------------------------------------------------------


def report_filter_speed(image: Array) -> None:
    """Print how fast one large filter passes over the photograph, beside scipy.ndimage."""
    grey = np.ascontiguousarray(image.mean(axis=2))
    kernel = gaussian_kernel(2)
    side = len(kernel)
    ours = best_time(lambda: convlab.conv2d(grey[None], kernel[None, None], padding="same"), 0.2)
    gflops = 2 * grey.size * kernel.size / ours / 1e9
    print(f"  {side}x{side} filter: {1 / ours:,.0f} images/s, {gflops:.1f} GFLOP/s", end="")
    try:
        from scipy import ndimage
    except ImportError:
        print()
        return
    theirs = best_time(lambda: ndimage.correlate(grey, kernel, mode="constant"), 0.2)
    print(f"; scipy.ndimage {1 / theirs:,.0f} images/s ({theirs / ours:.1f} times as long)")


def montage(images: Array, columns: int, gap: int) -> Array:
    """Lay images (N, 1, 8, 8) out in rows, `gap` pixels under each and 2 beside it left empty."""
    cells = np.pad(images[:, 0], ((0, 0), (0, gap), (0, 2)), constant_values=np.nan)
    _, height, width = cells.shape
    rows = cells.reshape(-1, columns, height, width)
    return rows.transpose(0, 2, 1, 3).reshape(-1, columns * width)


class PictureError(Exception):
    """The picture's folder or format is not to be had."""


def picture_path(output: str) -> Path:
    """Make the picture's folder, and see that Matplotlib knows the format, before time is spent."""
    from matplotlib.figure import Figure

    path = Path(output)
    formats = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:] not in formats:
        raise PictureError(f"{path} does not end in one of .{', .'.join(sorted(formats))}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(str(error)) from error
    return path


def draw(
    path: Path,
    photographs: dict[str, Array],
    history: History,
    p: dict[str, Array],
    digits: Digits,
    rng: np.random.Generator,
) -> None:
    """Save the picture: photographs above; learning, hard digits and restored digits below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 13.2), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[6.4, 6.2], hspace=0.03)
    above.suptitle("A photograph through convlab", fontweight="bold")
    for axes, (title, picture) in zip(above.subplots(2, 3).flat, photographs.items(), strict=True):
        axes.imshow(picture.clip(0, 1), cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize="medium")
        axes.axis("off")

    below.suptitle("A network that learned digits through convlab", fontweight="bold")
    left, right = below.subfigures(1, 2, width_ratios=[1, 1.35], wspace=0.04)
    draw_learning(left, history)
    hard, restored = right.subplots(2, 1, height_ratios=[39, 30])
    draw_hard_digits(hard, p, digits)
    draw_restored_digits(restored, p, digits, rng)
    figure.savefig(path)


def draw_learning(figure: Any, history: History) -> None:
    """Draw the two losses of every step, and the accuracy of every epoch."""
    from matplotlib.ticker import MultipleLocator

    losses, shares = figure.subplots(2, 1, sharex=True)
    epochs = len(history.accuracy)
    steps = (1 + np.arange(len(history.cross_entropy))) * epochs / len(history.cross_entropy)
    losses.semilogy(steps, history.cross_entropy, color="tab:blue", linewidth=0.9)
    losses.semilogy(steps, history.squared_error, color="tab:orange", linewidth=0.9)
    losses.set_title("losses on each batch", fontsize="medium")
    losses.legend(["cross-entropy of the class", "squared error of the restored digit"])
    shares.plot(1 + np.arange(epochs), history.accuracy, "o-", color="tab:green", markersize=4)
    shares.axhline(ACCURACY_GOAL, color="0.6", linestyle="--", linewidth=1)
    shares.set_title(f"accuracy on held-out digits: {history.accuracy[-1]:.1%}", fontsize="medium")
    shares.set_ylim(min(0.9, *history.accuracy) - 0.01, 1.005)
    shares.yaxis.set_major_locator(MultipleLocator(0.05))
    shares.yaxis.set_major_formatter("{x:.0%}")
    shares.set_xlabel("epoch")
    for axes in (losses, shares):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)


def draw_hard_digits(axes: Any, p: dict[str, Array], digits: Digits, shown: int = 30) -> None:
    """Draw the held-out digits whose class leads by least, and what they are taken for."""
    scores = forward(p, digits.test).scores
    ranked = np.sort(scores, axis=1)
    worst = np.argsort(ranked[:, -1] - ranked[:, -2])[:shown]
    columns = 10
    axes.imshow(montage(digits.test[worst], columns, gap=5), cmap="gray_r", vmin=0, vmax=1)
    for place, index in enumerate(worst):
        guess, truth = scores[index].argmax(), digits.test_labels[index]
        row, column = divmod(place, columns)
        axes.text(
            10 * column + 3.5,
            13 * row + 9.3,
            f"{guess}" if guess == truth else f"{guess}, not {truth}",
            color="tab:green" if guess == truth else "tab:red",
            fontweight="bold",
            ha="center",
            va="center",
        )
    axes.set_title(
        f"the {shown} held-out digits it is least sure of, and what it takes them for",
        fontsize="medium",
    )
    axes.axis("off")


def draw_restored_digits(
    axes: Any, p: dict[str, Array], digits: Digits, rng: np.random.Generator
) -> None:
    """Draw held-out digits with noise, as the network restores them, and as they were."""
    shown = 10
    clean = digits.test[:shown]
    noisy = add_noise(clean, NOISE, rng)
    rows = np.concatenate([noisy, forward(p, noisy).restored, clean])
    axes.imshow(montage(rows, shown, gap=2), cmap="gray_r", vmin=0, vmax=1)
    for row, label in enumerate(["noisy", "restored", "original"]):
        axes.text(-1.5, 10 * row + 3.5, label, ha="right", va="center")
    axes.set_title("noise removed, by the transposed convolutions", fontsize="medium")
    axes.axis("off")


def run(output: str = "out/demo.png", *, seed: int = 0, epochs: int = 25) -> int:
    """Run the demonstration.

    Parameters
    ----------
    output : str
        Where the picture is saved; folders are made.
    seed : int
        Of everything drawn at random.
    epochs : int
        Passes over the digits.

    Returns
    -------
    int
        0, or 1 where fewer than 97 % of the held-out digits are recognised.

    Raises
    ------
    ImportError
        If scikit-learn, tqdm or matplotlib is missing.
    PictureError
        If the picture could not be saved there.
    """
    from sklearn import datasets
    from tqdm import tqdm

    path = picture_path(output)
    convlab.show_config()
    image = (datasets.load_sample_image("china.jpg") / 255).astype(np.float32)
    print(f"\nFiltering a photograph of {image.shape[0]} x {image.shape[1]} pixels")
    photographs = filtered_photograph(image)
    report_filter_speed(image)

    print(f"\nTraining on handwritten digits (seed {seed})")
    rng = np.random.default_rng(seed)
    digits = load_digits(rng)
    p = parameters(rng)
    # Layers this small gain nothing from a second thread, and lose much where cores are busy.
    with convlab.num_threads(1):
        history = train(
            p, digits, rng, epochs=epochs, progress=lambda r: tqdm(r, unit="epoch", leave=True)
        )
    images = 64 * len(history.cross_entropy)
    gflop = 2 * multiplications(images) / 1e9
    print(
        f"  {history.seconds:.1f} s on one thread: {images / history.seconds:,.0f} images/s, "
        f"{gflop / history.seconds:.1f} GFLOP/s of convolutions, all else included"
    )
    print(f"  {history.accuracy[-1]:.2%} of {len(digits.test)} held-out digits are right")

    draw(path, photographs, history, p, digits, rng)
    print(f"\nThe picture is {path}")
    if history.accuracy[-1] < ACCURACY_GOAL:
        print(f"That is less than {ACCURACY_GOAL:.0%}: the demonstration has failed.")
        return 1
    return 0
