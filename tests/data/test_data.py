"""What holds for all data on the shelf."""

import dataclasses
import math
import subprocess
import sys

import pytest
import torch

from dlx import data, shelf
from dlx.canonical import setting_digest
from dlx.context import Context
from dlx.errors import DeclarationError
from dlx.stacking import stack, unstack
from dlx.vectorise import vectorise

CASES = {
    "MNIST1D": data.MNIST1D(n=400),
    "Digits": data.Digits(),
    "FashionMNIST": data.FashionMNIST(),
    "CIFAR10": data.CIFAR10(recompressed=True),
    "TinyShakespeare": data.TinyShakespeare(length=48),
    "ETTh1": data.ETTh1(look_back=48, horizon=24),
    "ETTh1 stride": data.ETTh1(look_back=24, horizon=12, stride=7),
    "Series seasonal": data.Series("seasonal", look_back=36, horizon=12, noise=0.0),
    "Series chaotic": data.Series("chaotic", look_back=24, horizon=12, stride=5),
    "Series switching": data.Series("switching", look_back=24, horizon=12, draw=1),
    "ModularArithmetic": data.ModularArithmetic(p=31, share=0.4),
    "ModularArithmetic one-hot": data.ModularArithmetic(p=17, operation="divide", one_hot=True),
    "Parity": data.Parity(n=300, bits=12),
    "GroupWords": data.GroupWords("A4", length=9, n=300),
    "TeacherStudent": data.TeacherStudent(n=300, outputs=2, noise=0.1),
    "QuadraticSigns": data.QuadraticSigns(n=300, inputs=8),
    "NoisyCurve": data.NoisyCurve(n=300, outputs=2),
    "SparseLinear": data.SparseLinear(n=300, inputs=20, noise=0.1),
    "GaussianMixture": data.GaussianMixture(n=300, classes=5),
    "Picture": data.Picture("coffee", size=21),
    "Picture in grey": data.Picture("coffee", size=21, grey=True),
    "Volume": data.Volume(n=300, frequency=2.0),
    "LabelNoise": data.LabelNoise(data.Digits(), 0.2),
    "LabelNoise of words": data.LabelNoise(data.GroupWords("Z3", n=100), 0.2),
    "Subset": data.Subset(data.Digits(), 200),
    "Shift": data.Shift(data.Digits(), offset=0.1, noise=0.2),
    "Permuted": data.Permuted(data.Digits()),
    "Permuted series": data.Permuted(data.ETTh1(look_back=24, horizon=2)),
    "Subset of noise of a permutation": data.Subset(data.LabelNoise(data.Permuted(data.Digits()), 0.1), 50),
}
FROM_FILES = (data.FashionMNIST, data.CIFAR10, data.TinyShakespeare, data.ETTh1)
WITHOUT_SEED = (data.TinyShakespeare, data.ETTh1, data.Series)
DRAWN = (data.NoisyCurve, data.Parity, data.GroupWords, data.TeacherStudent, data.QuadraticSigns, data.SparseLinear,
         data.GaussianMixture, data.Volume)  # each seed has samples of its own


def source(made):
    """The data below all wrappers."""
    return source(made.data) if hasattr(made, "data") else made


@pytest.fixture(params=CASES)
def made(request):
    case = CASES[request.param]
    if isinstance(source(case), FROM_FILES):
        request.getfixturevalue("public_files")
    if isinstance(source(case), data.Picture):
        pytest.importorskip("skimage")
    return case


def values(splits):
    """Inputs and targets of each split, the first thousand."""
    return {name: split.take(split.rows[:1_000]) for name, split in splits.items()}


def equal(one, other):
    return all(torch.equal(a, b) for name in one for a, b in zip(one[name], other[name], strict=True))


def test_nothing_on_the_shelf_is_forgotten():
    public = [getattr(data, name) for name in data.__all__]
    on_the_shelf = {c for c in public if dataclasses.is_dataclass(c) and hasattr(c, "load")}
    assert {type(case) for case in CASES.values()} == on_the_shelf


def test_declaration_and_protocol(made):
    for component in (made, source(made)):
        assert isinstance(component, data.Data)
        if hasattr(component, "check"):
            component.check()


def test_every_setting_has_a_key_of_its_own():
    assert len({setting_digest(made) for made in CASES.values()}) == len(CASES)
    assert len({shelf.shape(made) for made in CASES.values()}) == len(CASES)


def test_nothing_is_loaded_to_know_dimensions_and_samples():
    code = (
        "import sys\n"
        "from dlx import data\n"
        "for made in [data.MNIST1D(), data.Digits(), data.FashionMNIST(), data.CIFAR10(), data.TinyShakespeare(),\n"
        "             data.ETTh1(), data.ModularArithmetic(), data.Parity(), data.GroupWords(),\n"
        "             data.TeacherStudent(), data.SparseLinear(), data.GaussianMixture(), data.Picture(),\n"
        "             data.Volume(), data.Subset(data.Digits(), 3)]:\n"
        "    made.check(), made.dimensions(), made.samples()\n"
        "print([m for m in ('torch', 'numpy', 'sklearn', 'pyarrow', 'PIL', 'skimage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_splits_are_disjoint_and_of_the_declared_size(made):
    splits = made.load(Context(0))
    assert list(splits) == ["train", "val", "test"]
    assert len(splits["train"].rows) == made.samples()
    rows = [(split.inputs.data_ptr(), row) for split in splits.values() for row in split.rows.tolist()]
    assert len(rows) == len(set(rows))


def test_tensors_are_as_the_dimensions_say(made):
    inputs_of, outputs, shape, tokens = made.dimensions()
    assert tokens or inputs_of == math.prod(shape)
    for split in made.load(Context(0)).values():
        inputs, targets = split.take(split.rows[::7][:1_000])
        assert inputs.shape[1:] == shape and len(split.inputs) == len(split.targets)
        assert split.rows.dtype == torch.int64 and split.rows.min() >= 0 and split.rows.max() < len(split.inputs)
        if tokens:
            assert inputs.dtype == torch.int64 and inputs.min() >= 0 and inputs.max() < inputs_of
        else:
            assert inputs.is_floating_point() and inputs.isfinite().all()
        if targets.is_floating_point():
            assert targets.shape[1:] == (outputs,) and targets.isfinite().all()
        else:
            assert targets.dtype == torch.int64 and targets.min() >= 0 and targets.max() < outputs
            assert targets.shape[1:] in {(), shape[:1]}


def test_equal_seeds_give_equal_data_and_others_do_not(made):
    one, again, other = (made.load(Context(seed)) for seed in (3, 3, 4))
    assert equal(values(one), values(again))
    assert equal(values(one), values(other)) == isinstance(source(made), WITHOUT_SEED)


def test_members_share_their_tables(made):
    one, other = made.load(Context(1)), made.load(Context(2))
    for name in one:
        assert (one[name].inputs is other[name].inputs) == (not isinstance(source(made), DRAWN)), name
    noisy = "LabelNoise" in repr(made)
    assert (one["train"].targets is other["train"].targets) == (not isinstance(source(made), DRAWN) and not noisy)


def test_a_pack_takes_what_each_member_takes_alone(made):
    splits = [made.load(Context(seed)) for seed in range(3)]
    for name in splits[0]:
        of_members = [s[name] for s in splits]
        rows = [split.rows[torch.tensor([0, -1, 0])] for split in of_members]
        together = vectorise(lambda split, rows: split.take(rows))(
            stack(of_members, "cpu", torch.float32), stack(rows, "cpu", torch.float32, share=False)
        )
        for split, r, (inputs, targets) in zip(of_members, rows, unstack(together, 3), strict=True):
            alone = split.inputs[r], split.targets[r]
            assert torch.equal(inputs, alone[0].to(inputs.dtype)) and torch.equal(targets, alone[1].to(targets.dtype))


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if shelf.varies(case)])
def test_what_varies_changes_no_shape(name):
    case = CASES[name]
    (field, *_) = shelf.varies(case)
    value = getattr(case, field)
    others = {"name": "astronaut", "target": "axis", "n": value // 2 if isinstance(value, int) else None}
    other = dataclasses.replace(case, **{field: others[field] if field in others else value + 0.05})
    assert shelf.shape(case) == shelf.shape(other)
    one, two = case.load(Context(0)), other.load(Context(0))
    assert not equal(values(one), values(two))
    for split in one:
        assert [t.shape for t in one[split][:2]] == [t.shape for t in two[split][:2]]
        assert one[split].rows.shape == two[split].rows.shape or (field, split) == ("n", "train")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (data.Digits(validation=1.0), "validation"), (data.FashionMNIST(validation=-0.1), "validation"),
        (data.CIFAR10(validation=float("nan")), "validation"), (data.TinyShakespeare(length=0), "length"),
        (data.TinyShakespeare(length=60_000), "length"), (data.ETTh1(look_back=0), "look_back"),
        (data.TinyShakespeare(held_out=0), "held_out"), (data.TinyShakespeare(held_out=900), "held_out"),
        (data.ETTh1(look_back=8_000, horizon=700), "look_back"), (data.ETTh1(horizon=2_881), "horizon"),
        (data.ETTh1(stride=0), "stride"), (data.Series("random"), "kind"),
        (data.Series("chaotic", noise=-0.1), "noise"),
        (data.QuadraticSigns(inputs=7), "inputs"), (data.QuadraticSigns(target="circle"), "target"),
        (data.QuadraticSigns(basis="other"), "basis"), (data.QuadraticSigns(n=0), "n "),
        (data.ModularArithmetic(p=1), "p "), (data.ModularArithmetic(p=9, operation="divide"), "p "),
        (data.ModularArithmetic(share=1.0), "share"), (data.ModularArithmetic(share=0.0), "share"),
        (data.ModularArithmetic(validation=1.0), "validation"),
        (data.ModularArithmetic(p=3, share=0.9, validation=0.9), "validation"),
        (data.Parity(k=41), "k "), (data.Parity(n=0), "n "),
        (data.Parity(n=1, validation=0.9), "validation"), (data.GroupWords("S8"), "group"),
        (data.GroupWords("A2"), "group"), (data.GroupWords("Q8"), "group"), (data.GroupWords("Z1001"), "group"),
        (data.GroupWords(length=0), "length"), (data.TeacherStudent(width=0), "width"),
        (data.SparseLinear(inputs=4, nonzero=5), "nonzero"),
        (data.TeacherStudent(noise=float("inf")), "noise"), (data.GaussianMixture(classes=21), "classes"),
        (data.GaussianMixture(separation=-1.0), "separation"), (data.Picture(size=1), "size"),
        (data.Picture(size=401), "size"), (data.Volume(ripple=-0.1), "ripple"),
        (data.LabelNoise(data.Digits(), 1.5), "share"),
        (data.Subset(data.Digits(), 1_151), "n "), (data.Subset(data.Digits(), 0), "n "),
        (data.Shift(data.Digits(), noise=-1.0), "noise"), (data.Shift(data.Digits(), offset=float("inf")), "offset"),
        (data.Shift(data.GroupWords()), "data"), (data.Flip(1.5), "probability"), (data.Crop(-1), "padding"),
        (data.Cutout(-1), "size"), (data.Noise(float("nan")), "std"),
    ],
)
def test_check_names_the_field(wrong, field):
    with pytest.raises(DeclarationError, match=f"^{field}"):
        wrong.check()
