"""Signs of a quadratic form, or of one axis, of Gaussian inputs, rotated or not (Li, Zhang and Arora 2020)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from dlx.data.base import Dimensions, Split, Streams, check_at_least, check_validation, divided, kept
from dlx.errors import DeclarationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class QuadraticSigns:
    """x = z, or Qz, with z standard normal; two classes by the sign of a function of z (arXiv:2010.08515, section 5).

    n: samples to train and validate on; inputs: d, even.
    target: ``halves``, class 1 where the squares of the first d/2 entries of z sum to more than those of the others;
        or ``axis``, class 1 where z₁ > 0 (Ng 2004, for whom learners blind to rotations need some d samples).
    basis: of x: ``standard``, x = z; or ``rotated``, x = Qz with Q uniform over the orthogonal matrices (Haar), drawn
        by the seed.
    validation: share of n held out to validate; 0: none, there is no ``val`` split; test_samples: how many test.
    """

    n: int = 1_000
    inputs: int = 16
    target: Literal["halves", "axis"] = "halves"
    basis: Literal["standard", "rotated"] = "standard"
    validation: float = 0.2
    test_samples: int = 1_000

    varies: ClassVar[tuple[str, ...]] = ("target", "basis")

    def check(self) -> None:
        """Raise DeclarationError where a value is out of its range."""
        check_at_least(1, n=self.n, test_samples=self.test_samples)
        check_at_least(2, inputs=self.inputs)
        check_validation(self.validation, self.n)
        if self.inputs % 2:
            raise DeclarationError(f"inputs is {self.inputs}; it must be even, for it is cut into halves.")
        for name, known in (("target", ("halves", "axis")), ("basis", ("standard", "rotated"))):
            if (value := getattr(self, name)) not in known:
                raise DeclarationError(f"{name} is {value!r}; it must be {known[0]!r} or {known[1]!r}.")

    def dimensions(self) -> Dimensions:
        """``inputs`` numbers, two classes."""
        return Dimensions(self.inputs, 2, (self.inputs,))

    def samples(self) -> int:
        """Number of training samples, n less those that validate."""
        return kept(self.n, self.validation)

    def load(self, streams: Streams) -> Mapping[str, Split]:
        """Splits ``train``, ``val`` (unless ``validation`` is 0) and ``test``.

        Streams used: ``data`` (z) and ``rotation`` (Q).
        """
        import numpy as np
        import torch

        z = streams.rng("data").standard_normal((self.test_samples + self.n, self.inputs))
        halves = np.square(z).reshape(len(z), 2, -1).sum(axis=2)
        labels = z[:, 0] > 0 if self.target == "axis" else halves[:, 0] > halves[:, 1]
        turned = self.basis == "rotated"
        inputs = torch.from_numpy(z @ rotation(self.inputs, streams.rng("rotation")).T if turned else z)
        targets = torch.from_numpy(labels.astype(np.int64))
        test, pool = torch.arange(len(z)).tensor_split([self.test_samples])
        return divided(Split(inputs, targets, pool), self.validation, Split(inputs, targets, test))


def rotation(dim: int, rng: "np.random.Generator") -> "NDArray[np.float64]":
    """A uniformly drawn orthogonal matrix (dim, dim): QR with the signs of R's diagonal (Mezzadri 2007)."""
    import numpy as np

    q, r = np.linalg.qr(rng.standard_normal((dim, dim)))
    return q * np.sign(np.diag(r))
