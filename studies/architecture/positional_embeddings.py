"""Positional embeddings: which codes let a small net draw a picture, or a volume, from coordinates?

An MLP of coordinates alone learns low frequencies first and blurs; codes of the coordinates mend it. Periodic ones are
[cos 2πBx, sin 2πBx] with B basic (one cycle a side), log-linear or Gaussian(σ) (Tancik et al. 2020, arXiv:2006.10739),
and the sines of a SIREN (Sitzmann et al. 2020, arXiv:2006.09661); codes without a period Gaussian bumps along each
coordinate, one-hot intervals (Zheng et al. 2021, arXiv:2107.02561, who argue that periods are not needed) and radial
bumps. Of three grey pictures of scikit-image every other point of every other row is seen; the volume is the test
signal of Marschner and Lobb (1994), seen at random points. Full batch, Adam at one learning rate, as in the papers.

Stated beforehand: held-out PSNR is an inverted U in σ, on each picture and in the volume; none < basic < log-linear <
Gaussian; bumps and SIREN beat none, and radial bumps in full; bumps beat one-hot intervals, for codes must overlap;
bumps are within `PARITY` of Gaussian features. `QUICK`, the scales at which embeddings are compared, was chosen by
validation at seeds 1000 and 1001 among five to seven of each; `FULL` is that times the ratio of points a side, as a
power of two, and for radial bumps one over the spacing of their centres. `--preset tuned` searches for scale and
learning rate in each cell, on equal budgets, beside Tancik's figures of other pictures. `scale` counts in sides of the
square: σ in cycles a side, 1/σ of bumps, intervals a side, of a SIREN the deviation of its first layer's frequencies.

Quick found all four inverted U. It leaves undecided whether Gaussian beats log-linear (0.1 ± 0.5 dB on pictures) and,
corrected, whether bumps are within 1 dB of it (−0.2 ± 0.5; volume: 0.1 ± 1.3, and basic, if anything, below none).

Full: 1,240 trials in 22 packs of up to 80, 1.5 GPU-hours (estimated, not measured). Quick: 220 trials in packs of up to
64. Tuned: 1,824 trials. Neither full nor tuned has been run. Intervals are over seeds, the pictures being fixed.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import dlx
from dlx import claims, data, figures, losses, metrics, models, optim

NOTICEABLE, PARITY = 1.0, 1.0  # dB: by which a peak stands out and an embedding wins; within which two are level
PICTURES, PLAIN = ("camera", "astronaut", "coffee"), ("none", "basic")  # PLAIN: codes without a scale
TANCIK = {"none": 19.3, "basic": 21.7, "log": 24.9, "gaussian": 25.6}  # dB, published, of other pictures
BETTER = (("gaussian", "none"), ("siren", "none"), ("bumps", "none"), ("bumps", "onehot"), ("rbf", "none"))
SWEEP = (0.125, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
SIGMAS = (0.125, 0.5, 1.0, 2.0, 8.0)
SMALL = {
    "template.data[Picture].size": 48, "template.data[Volume].n": 1_280, "template.data[Volume].frequency": 1.0,
    "template.data[Volume].test_samples": 2_000, "template.model.width": 64, "template.steps": 300,
}
COLOURS = {"none": "#000000", "basic": "#555555", "log": "#56B4E9", "gaussian": "#0072B2", "siren": "#009E73",
           "bumps": "#D55E00", "rbf": "#E69F00", "onehot": "#CC79A7"}
QUICK = {  # data → embedding → the scale at which it is compared
    "Picture": {"log": 3.0, "gaussian": 2.0, "siren": 0.75, "bumps": 16.0, "onehot": 24.0},
    "Volume": {"log": 1.5, "gaussian": 0.5, "siren": 0.5, "bumps": 8.0, "onehot": 24.0},
}
FULL = {
    "Picture": {"log": 16.0, "gaussian": 8.0, "siren": 4.0, "bumps": 64.0, "onehot": 128.0, "rbf": 16.0},
    "Volume": {"log": 4.0, "gaussian": 2.0, "siren": 2.0, "bumps": 32.0, "onehot": 64.0, "rbf": 8.0},
}


def frequencies(trial: dlx.Training) -> int:
    """As many as make the embedding twice as wide as a layer."""
    coordinates = trial.data.dimensions().inputs
    each = {"gaussian": 2, "log": 2 * coordinates, "bumps": coordinates, "onehot": coordinates}
    return 2 * trial.model.width // each.get(trial.model.encoding, 1)


def is_idle(trial: dlx.Training) -> bool:
    """Whether sines stand on codes, or a code without a scale comes with another than the first."""
    plain = trial.model.encoding in PLAIN and trial.model.scale != SWEEP[0]
    return trial.model.encoding != "none" if trial.model.activation == "sine" else plain


def is_not_quick(trial: dlx.Training) -> bool:
    """Whether quick goes without it: of all but Gaussian features it has one scale."""
    table = QUICK[type(trial.data).__name__]
    kind = "siren" if trial.model.activation == "sine" else trial.model.encoding
    return is_idle(trial) or trial.model.scale not in (SIGMAS if kind == "gaussian" else (table.get(kind, SWEEP[0]),))


def arm(kind: str, scale: float | None = None) -> dict[str, Any]:
    """The cells of an embedding, at one scale or at all."""
    net = {"encoding": "none", "activation": "sine"} if kind == "siren" else {"encoding": kind, "activation": "relu"}
    return {**net, **({} if scale is None else {"scale": scale})}


def inverted_u(inside: tuple[float, float], high: float) -> tuple[claims.Claim, ...]:
    """A peak over σ, on each picture and in the volume."""
    places = {name: {"data": "Picture", "name": name} for name in PICTURES} | {"volume": {"data": "Volume"}}
    return tuple(claims.Peak("test/psnr", over="model.scale", at=inside, left=SWEEP[0], right=high, by=NOTICEABLE,
                             where={**place, **arm("gaussian")}, name=f"inverted U in σ: {said}")
                 for said, place in places.items())


def comparisons(scales: Mapping[str, Mapping[str, float]]) -> tuple[claims.Claim, ...]:
    """Which embedding is better, on pictures and in the volume, each at its scale."""
    found: list[claims.Claim] = []
    for where, table in scales.items():
        nets = {kind: arm(kind, scale) for kind, scale in {**dict.fromkeys(PLAIN, SWEEP[0]), **table}.items()}
        about, said = {"data": where}, where.lower()
        found += [claims.Higher("test/psnr", nets[better], than=nets[worse], by=NOTICEABLE, where=about,
                                name=f"{said}: {better} above {worse}")
                  for better, worse in BETTER if better in nets]
        found += [claims.Ordering("test/psnr", [nets[k] for k in (*PLAIN, "log", "gaussian")], where=about,
                                  name=f"{said}: none < basic < log < gaussian"),
                  claims.Equivalent("test/psnr", nets["bumps"], nets["gaussian"], margin=PARITY, where=about,
                                    name=f"{said}: bumps level with gaussian")]
    return tuple(found)


def by_place(results: dlx.Results) -> dict[str, list[Any]]:
    """Embeddings and cells that ran, on each picture and in the volume."""
    found: dict[str, list[Any]] = {}
    for row in results.cells().to_pylist():
        if row["test/psnr.mean"] is not None:
            kind = "siren" if row["model.activation"] == "sine" else row["model.encoding"]
            found.setdefault(row["data[Picture].name"] or "volume", []).append((kind, row))
    return found


def psnr_over_scale(results: dlx.Results) -> Any:
    """Held-out PSNR over the scale, a panel for each data set; codes without a scale are level lines."""
    from matplotlib.figure import Figure

    figure, legend = Figure(figsize=(6, 6.4), layout="constrained"), dict[str, Any]()
    for axes, (place, rows) in zip(figure.subplots(2, 2, sharex=True).flat, by_place(results).items(), strict=False):
        for kind, colour in COLOURS.items():
            line = sorted((r["model.scale"], r["test/psnr.mean"], r["test/psnr.half_width"] or 0.0)
                          for k, r in rows if k == kind)
            if line and kind in PLAIN:
                legend[kind] = axes.axhline(line[0][1], color=colour, linestyle="--" if kind == "none" else ":")
            elif line:
                scale, mean, half = zip(*line, strict=True)
                legend[kind] = axes.errorbar(scale, mean, half, color=colour, capsize=2, marker="oD"[len(line) == 1])
        axes.set(title=place, xscale="log", xlabel="scale (per side)", ylabel="held-out PSNR (dB)")
        axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(legend.values(), legend.keys(), loc="outside upper left", ncols=4)
    figure.supxlabel("Means over seeds, bars: 95 % t intervals. Scale: σ in cycles a side (gaussian, siren), highest\n"
                     "frequency (log), 1/σ of bumps, intervals a side (onehot).", x=0.01, ha="left", fontsize=8.5)
    return figure


def reconstructions(results: dlx.Results) -> Any:
    """What each embedding makes of camera at its best scale, and Gaussian features at their worst."""
    import torch
    from matplotlib.figure import Figure

    rows = sorted(by_place(results)["camera"], key=lambda found: found[1]["test/psnr.mean"])
    size = next(c.size for c in results.study.template.data.options if isinstance(c, data.Picture))
    points = data.Picture("camera", size, grey=True).load(dlx.Context(0))["test"]
    drawn = {"the picture": points.targets}
    for kind, row in [next(r for r in rows if r[0] == "gaussian"), *{kind: (kind, row) for kind, row in rows}.values()]:
        net = results.load_model(results.where(cell=row["cell"], phase="final").table["key"][0].as_py())
        scale = f" {row['model.scale']:g}" if kind not in PLAIN and "model.scale" in row else ""
        with torch.no_grad():
            drawn[f"{kind}{scale}: {row['test/psnr.mean']:.1f} dB"] = net(points.inputs.to(net[-1].weight.dtype))
    rows_of_three = math.ceil(len(drawn) / 3)
    figure = Figure(figsize=(6, 2.1 * rows_of_three), layout="constrained")
    for axes, said in itertools.zip_longest(figure.subplots(rows_of_three, 3).flat, drawn):
        axes.set_axis_off()
        if said is not None:
            axes.imshow(drawn[said].reshape(size, size).numpy(), cmap="gray", vmin=0, vmax=1)
            axes.set_title(said, fontsize=9)
    return figure


STUDY = dlx.Study(
    name="positional-embeddings",
    question="Which embedding of coordinates, periodic or not, lets a net draw pictures and volumes best?",
    template=dlx.Training(
        data=dlx.grid(data.Picture(dlx.grid(*PICTURES), size=256, grey=True), data.Volume(n=64_000, frequency=6.0)),
        model=models.CoordinateNet(
            width=256, depth=2, encoding=dlx.grid("gaussian", "none", "basic", "log", "bumps", "onehot", "rbf"),
            frequencies=dlx.derived(frequencies, name="codes"), scale=dlx.grid(*SWEEP),
            activation=dlx.grid("relu", "sine"), length=2.0,
            omega=dlx.derived(lambda t: math.pi * 3**0.5 * t.data.dimensions().inputs * t.model.scale, name="siren"),
        ),
        optimizer=optim.Adam(lr=1e-3), steps=2_000, loss=losses.MSE(), metrics=(metrics.psnr(),), measure=4,
        watch=("val",),
    ),
    seeds=5, keep="final", skip=is_idle, pack=80,
    claims=(*inverted_u((1.0, 16.0), 128.0), *comparisons(FULL)), figures=(psnr_over_scale, reconstructions),
    presets={
        "quick": {
            **SMALL,
            "template.model.encoding": dlx.grid("gaussian", "none", "basic", "log", "bumps", "onehot"),
            "template.model.scale": dlx.grid(*sorted({*SIGMAS, *(s for t in QUICK.values() for s in t.values())})),
            "template.optimizer.lr": 3e-3, "skip": is_not_quick,
            "claims": (*inverted_u((0.5, 2.0), 8.0), *comparisons(QUICK)),
        },
        "tuned": {
            **SMALL,
            "template.model.encoding": dlx.grid("gaussian", "none", "basic", "log", "bumps", "onehot", "rbf"),
            "template.model.scale": dlx.loguniform(0.1, 100.0), "template.optimizer.lr": dlx.loguniform(3e-4, 3e-2),
            "objective": dlx.maximize("val/psnr"), "search": dlx.TPE(trials=8, repeats=3),
            "skip": lambda t: t.model.activation == "sine" and t.model.encoding != "none",
            "claims": [claims.Equivalent("test/psnr", arm(kind), arm("gaussian"), margin=PARITY, where={"data": where},
                                         name=f"{where.lower()}: {kind} level with gaussian")
                       for where in QUICK for kind in ("log", "siren", "bumps", "rbf")],
            "figures": (reconstructions, figures.Dots(
                rows="encoding", metric="test/psnr", panels=("name",), name="beside_published",
                where={"data": "Picture", "activation": "relu"}, published=dict.fromkeys(PICTURES, TANCIK),
                published_label="Tancik, other pictures", x_label="held-out PSNR (dB)")),
        },
    },
)
