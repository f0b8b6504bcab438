"""Contracts held against steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from verify.contracts import Contract, Verdict, judge, read, subject

SHOP = "tests.verify.contracts.shop"


def contract(folder: Path, said: str, target: str = f'target = "{SHOP}:plain"') -> Contract:
    path = folder / "some.graph.toml"
    path.write_text(f"[contracts.one]\n{target}\n{said}\n")
    (found,) = read(path)
    return found


def verdict(folder: Path, said: str, target: str = f'target = "{SHOP}:plain"') -> Verdict:
    return judge(contract(folder, said, target))


@pytest.mark.parametrize(
    "said",
    [
        'loss = "mse"\nregularization = 1\nclipping = false\nwatched = "*"\nguards = false',
        'loss = { is = "MeanSquaredError" }',
        'loss = ["mse"]\nforbids = ["*PyFunc*"]\nmax_ops = 2000\nmax_bytes = 10000',
        'regularization = [{ on = "*hidden/kernel", is = "L2", l2 = 0.01 }]\ndecayed = []',
        'watched = ["*", "!*bias", "*bias"]\nunwatched = []',
    ],
)
def test_kept(said: str, tmp_path: Path) -> None:
    found = verdict(tmp_path, said)
    if "!*bias" in said:  # exceptions hold wherever they stand
        assert "too many" in found.message
    else:
        assert found.kept, found.message


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('loss = "mae"', "expected mae"),
        ('loss = { is = "MeanSquaredError", weight = 0.5 }', "weight 0.5"),
        ("loss = false", "expected no data loss"),
        ("clipping = [-1, 1]", "not clipped"),
        ('watched = ["*", "!*head/bias"]', "too many: shop/head/bias"),
        ("max_ops = 3", "at most 3 ops"),
        ('regularization = [{ on = "*head/kernel", is = "L1", l1 = 0.1 }]', "none there"),
    ],
)
def test_broken(said: str, message: str, tmp_path: Path) -> None:
    found = verdict(tmp_path, said)
    assert not found.kept
    assert found.error is None
    assert message in found.message


@pytest.mark.parametrize(
    ("target", "said", "message"),
    [
        ('target = "no.such:thing"', 'loss = "mse"', "no.such can't be imported: ModuleNotFound"),
        (f'target = "{SHOP}:nothing"', 'loss = "mse"', "has no nothing"),
        ('target = "tests.verify.contracs.shop:plain"', 'loss = "mse"', f"mean {SHOP}:plain?"),
        (f'target = "{SHOP}:plian"', 'loss = "mse"', f"has no plian; did you mean {SHOP}:plain?"),
        (f'target = "{SHOP}:NO_FACTORY"', 'loss = "mse"', "is 3, which can't be called"),
        (f'target = "{SHOP}:raises"', 'loss = "mse"', "failed: RuntimeError: the disk"),
        (f'target = "{SHOP}:plain"\nstep = "warm"', 'loss = "mse"', "Sequential has no warm"),
        (f'target = "{SHOP}:controlled"\nstep = "warmupon"', 'loss = "mse"', "mean warmup_on?"),
        ('file = "nowhere"', 'loss = "mse"', "nowhere does not exist"),
        (f'target = "{SHOP}:plain"', 'loss = "mze"', "Keras has no loss 'mze'"),
        (f'target = "{SHOP}:plain"', 'loss = {is = "Huber", delt = 1}', "delt"),
        (f'target = "{SHOP}:plain"', f'loss = "{SHOP}:nothing"', "has no nothing"),
        (f'target = "{SHOP}:plain"', 'watched = "*nothing*"', "matches no trainable variable"),
        (f'target = "{SHOP}:plain"', 'watched = ["*", "!*x*"]', "'!*x*' excludes nothing"),
        (f'target = "{SHOP}:plain"', 'forbids = ["*Py*", "!Print"]', "excludes nothing"),
        (f'target = "{SHOP}:plain"', 'forbids = "*PyFnc*"', "did you mean PyFunc"),
        (f'target = "{SHOP}:plain"', 'regularization = [{on = "*", is = "L7"}]', "regularizers.L7"),
    ],
)
def test_what_can_not_be_checked(target: str, said: str, message: str, tmp_path: Path) -> None:
    found = verdict(tmp_path, said, target)
    assert found.error is not None
    assert message in found.error
    assert "some.graph.toml:1: contracts.one" in found.error


def test_losses_of_ones_own(tmp_path: Path) -> None:
    target = f'target = "{SHOP}:own_losses"'
    assert verdict(tmp_path, f'loss = "{SHOP}:quartic"', target).kept
    scaled = f'loss = {{ is = "{SHOP}:Scaled", scale = 2.0 }}'
    assert "expected Scaled" in verdict(tmp_path, scaled, target).message


def test_branches_by_the_value_of_their_guard(tmp_path: Path) -> None:
    said = """
[contracts.one.guards.warmup.true]
loss = { is = "Huber" }
clipping = [-0.1, 0.1]
[contracts.one.guards.warmup.false]
loss = "mse"
clipping = false
"""
    target = f'target = "{SHOP}:main"'
    assert verdict(tmp_path, said, target).kept
    swapped = said.replace("true", "x").replace("false", "true").replace("x]", "false]")
    swapped = swapped.replace("clipping = true", "clipping = false")
    assert "guards['warmup': True] loss" in verdict(tmp_path, swapped, target).message


def test_forbidden_ops_with_exceptions(tmp_path: Path) -> None:
    target = f'target = "{SHOP}:calls_python"'
    assert "EagerPyFunc at" in verdict(tmp_path, 'forbids = "*PyFunc*"', target).message
    assert verdict(tmp_path, 'forbids = ["*PyFunc*", "!EagerPyFunc"]', target).kept


def test_a_saved_model(tmp_path: Path) -> None:
    module = tf.Module()
    module.weight = tf.Variable(1.0, name="weight")

    @tf.function(input_signature=[tf.TensorSpec((4,)), tf.TensorSpec((4,))])
    def train(x: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((y - x * module.weight) ** 2)
        module.weight.assign_sub(tape.gradient(loss, module.weight))
        return {"loss": loss}

    module.train = train
    tf.saved_model.save(module, str(tmp_path / "exported"), signatures={"train": train})
    assert verdict(tmp_path, 'watched = "weight"', 'file = "exported"\nsignature = "train"').kept


def test_a_factory_is_called_once_and_its_steps_are_traced_once(tmp_path: Path) -> None:
    subject.forget()
    target = f'target = "{SHOP}:controlled"\nstep = "warmup_on"'
    first = verdict(tmp_path, 'loss = { is = "Huber" }', target)
    again = verdict(tmp_path, "clipping = [-0.1, 0.1]", target)
    assert first.kept
    assert again.kept
    made = subject._MADE[f"{SHOP}:controlled", None]
    other = contract(tmp_path, 'loss = "mse"', target.replace("_on", "_off"))
    subject.captured(subject.subject_of(other))
    assert subject._MADE[f"{SHOP}:controlled", None] is made
    assert len(subject._STEPS) == 2


def test_losses_by_output_or_by_what_they_train(tmp_path: Path) -> None:
    assert verdict(tmp_path, 'loss = { "shop/*" = { is = "MeanSquaredError" } }').kept
    found = verdict(tmp_path, 'loss = { "shop/head/*" = "mse" }')
    assert not found.kept
    assert "expected mse for shop/head/*" in found.message
