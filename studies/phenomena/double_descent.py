"""Double descent in width: a larger network can be worse than a smaller one, and a still larger one better than both.

The set-up is that of the notebook `deep-double-descent` of the MNIST-1D repository (Greydanus and Kobak, after
section 8.4 of Prince, Understanding Deep Learning): an MLP 40-h-h-10, SGD with learning rate 0.01 and momentum 0.9,
batches of 100, 500 epochs (20,000 steps), all 4,000 samples for training, 12,000 regenerated ones for testing. Of the
labels 15 % are redrawn from all ten classes, so that 13.5 % are wrong. `--preset reference` repeats it at the four
widths of `PUBLISHED`; `--preset quick` takes 6,000 steps at learning rate 0.05, and its figures are its own.

`reference` over three seeds gave 51.7 ± 3.2, 49.3 ± 1.0, 54.4 ± 2.3 and 45.6 ± 2.6 % (95 % t intervals), against 48.97,
47.24, 54.05 and 45.47 % in the one published run.

Nothing is tuned: a learning rate tuned at each width would tune the peak away. Other conditions are one override:
`--set template.optimizer.weight_decay=0,0.001`, `--set template.steps=2000,20000`, `--set template.data.n=1000,4000`.
"""

import dlx
from dlx import data, figures, metrics, models, optim

WIDTHS = (2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 47, 61, 80, 104, 135, 177, 230, 300)
PUBLISHED = {9: 48.97, 16: 47.24, 47: 54.05, 300: 45.47}  # test error in %, 15 % label noise, one run each

STUDY = dlx.Study(
    name="double-descent",
    question="When does a wider network generalise worse than a narrower one, and what does label noise do to it?",
    template=dlx.Training(
        data=data.MNIST1D(n=4_000, label_noise=dlx.grid(0.0, 0.15), validation=0.0, test_samples=12_000),
        model=models.MLP(width=dlx.grid(*WIDTHS), depth=2),
        optimizer=optim.SGD(lr=0.01, momentum=0.9),
        batch_size=100,
        steps=20_000,
        metrics=(metrics.error(), metrics.loss()),
    ),
    seeds=5,
    figures=(
        figures.Curves(
            x="model.width", y=("test/error", "train/error"), name="error_by_width", scale=100, log_x=True,
            title="MNIST-1D, MLP 40-h-h-10: error by width, without and with label noise",
            x_label="width h of both hidden layers (units)", y_label="error (%)",
            points=figures.Points("published: 0.15, test, 20,000 steps", PUBLISHED),
        ),
    ),
    presets={
        "quick": {
            "template.model.width": dlx.grid(6, 10, 14, 20, 28, 40, 56, 80, 128),
            "template.optimizer.lr": 0.05,
            "template.steps": 6_000,
        },
        "reference": {
            "template.model.width": dlx.grid(*PUBLISHED),
            "template.data.label_noise": 0.15,
            "seeds": 3,
        },
    },
)
