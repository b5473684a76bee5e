"""Double descent in closed form: least squares on p random features of n samples is worst at p = n.

φ(x) = relu(W x) with rows of W uniform on the sphere (Rahimi and Recht 2007); the weights are those of least norm that
fit one-hot targets, β = Φ⁺Y. At p = n the smallest singular value of Φ is close to zero and β explodes (Belkin et al.
2019, arXiv:1812.11118; Mei and Montanari 2019, arXiv:1908.05355); on either side of it errors are moderate. No step
size, no number of steps: what is left of double descent when training is taken away.

Stated beforehand, without noise and with it: log₁₀ of the squared error at p = n is above that at 80 and at 1,000
features by more than HIGHER. 640 trials (quick: 160), each alone, for what NumPy solves has no shape to share; minutes
of a core and no GPU, estimated, not measured.
"""

import numpy as np

import dlx
from dlx import claims, data, figures

SAMPLES = 300
HIGHER = 0.5  # powers of ten, by which the peak stands out
FEATURES = (10, 20, 40, 80, 150, 210, 255, 285, 300, 315, 345, 400, 550, 1_000, 2_000, 4_000)


@dlx.trial(version=1, name="RandomFeatures")
def random_features(
    ctx: dlx.Context, features: int, samples: int, label_noise: float, test_samples: int
) -> dict[str, float]:
    """Fit by least norm and test: shares of wrong classes, the weights' norm, log₁₀ of the squared error (summed over
    the ten outputs, mean over samples)."""
    splits = data.MNIST1D(n=samples, label_noise=label_noise, validation=0.0, test_samples=test_samples).load(ctx)
    (x, y), (x_test, y_test) = ([part.numpy() for part in s.take(s.rows)] for s in (splits["train"], splits["test"]))
    weights = ctx.rng("init").normal(size=(x.shape[1], features))
    weights /= np.linalg.norm(weights, axis=0)
    solution, *_ = np.linalg.lstsq(lift(x, weights), np.eye(10)[y], rcond=1e-12)
    outputs = lift(x_test, weights) @ solution
    squared_error = np.mean(np.sum((outputs - np.eye(10)[y_test]) ** 2, axis=1))
    return {
        "test/error": np.mean(outputs.argmax(axis=1) != y_test),
        "test/log10_squared_error": np.log10(squared_error),
        "train/error": np.mean((lift(x, weights) @ solution).argmax(axis=1) != y),
        "norm": np.linalg.norm(solution),
    }


def lift(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Features (n, p) of inputs (n, 40) in float64, scaled so that their squares sum to O(1)."""
    return np.maximum(inputs @ weights, 0.0) / np.sqrt(weights.shape[1])


STUDY = dlx.Study(
    name="random-features",
    question="Does least squares on random features of MNIST-1D do worst where there are as many features as samples?",
    template=random_features(
        features=dlx.grid(*FEATURES), samples=SAMPLES, label_noise=dlx.grid(0.0, 0.15), test_samples=12_000
    ),
    seeds=20,
    claims=tuple(
        claims.Peak("test/log10_squared_error", over="features", at=SAMPLES, left=80, right=1_000, by=HIGHER,
                    where={"label_noise": noise}, name=f"peak at p = n, label noise {noise}")
        for noise in (0.0, 0.15)
    ),
    figures=(
        figures.Curves(
            x="features", y="test/log10_squared_error", name="squared_error_by_features", log_x=True,
            title=f"Least squares on random features of MNIST-1D, n = {SAMPLES} samples",
            x_label="random features p", y_label="log₁₀ of the test squared error (per sample)",
        ),
        figures.Curves(
            x="features", y=("test/error", "train/error"), name="error_by_features", scale=100, log_x=True,
            title=f"Least squares on random features of MNIST-1D, n = {SAMPLES} samples",
            x_label="random features p", y_label="error (%)",
        ),
    ),
    presets={"quick": {"seeds": 5, "template.test_samples": 1_000}},
)
