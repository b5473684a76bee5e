"""Something of everything that lies on the shelves of metrics and of augmentation."""

import dataclasses

from dlx import data, metrics

AUGMENTATIONS = {
    "Flip": data.Flip(), "Crop": data.Crop(2), "Cutout": data.Cutout(3), "Noise": data.Noise(0.3),
}
SMALL = {  # as recording takes long
    "sharpness": {"iterations": 3, "samples": 20}, "hessian_trace": {"probes": 2},
    "gradient_noise": {"batches": 4, "samples": 48}, "fourier_sparsity": {"p": 3, "of": "2.weight"},
}
METRICS = [
    cls(**SMALL.get(name, {})) for name in metrics.__all__
    if name.islower() and dataclasses.is_dataclass(cls := getattr(metrics, name))
    and cls not in (metrics.only, metrics.crossing)  # of other metrics
]
METRICS += [metrics.margin("min"), metrics.margin(normalised=True), metrics.singular_value(2, "2.weight"),
          metrics.sam_sharpness(adaptive=True), metrics.jacobian_norm(relative=True),
          metrics.fourier_sparsity(3, "2.weight", together=True)]
