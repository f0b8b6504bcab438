"""Configs in files: read, written, described by a schema."""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema
import keras
import numpy as np
import pytest
from hypothesis import given, settings

import loopctl
from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.config import load_async_config, load_config, save_config
from loopctl.config.dicts_to_plan import ASYNC_KEYS, BRANCH_KEYS, MOMENTS
from tests.loopctl import file_config
from verify import strategies

NAMES = "tests.loopctl.file_config"
TOML = f"""
[gate]
cond = "batches % 10 < 8 and loss.mean(30) < 1e9"

[gate.true]
clipping = [-0.1, 0.1]
excluded_variables = ["*bias"]
gradients = "{NAMES}.halved"

[gate.false]
loss = "{NAMES}.HUBER"
loss_weights = ["piecewise([3], [0.5, 1])"]
variables = "{NAMES}.kernels"
per_example = {{ clip = 0.5, noise = "linear(1, 0.5, over=20)" }}
clipping = {{ global_norm = 0.5 }}
optimizer = {{ class_name = "SGD", config = {{ learning_rate = 0.5 }} }}
learning_rate = {{ "*kernel" = "linear(1, 0.1, over=20)" }}
repeat = 2

[late]
cond = "{NAMES}.later"

[late.true]
loss = false
ascend = "linear(0.01, 0.1, over=20)"
inference = ["dense", "dense_*"]
skip_nonfinite = true
regularize = true
learning_rate = "0.1 * cosine(1, 0, over=50, of=reinit_batches)"

[late.false]
objective = "{NAMES}.apart"
optimizer = {{ "*bias" = "adam", "*kernel" = {{ class_name = "SGD", config = {{ }} }} }}
loss_weights = {{ odd = 0.5, fit = "linear(0.5, 1, over=9)" }}
accumulate = 2
learning_rate = {{ "*bias" = 0.5 }}
average = {{ decay = 0.9, start = "epochs >= 2", into = "{NAMES}.last_layer" }}

[async.stop]
cond = "epochs == 2"
callback = "{NAMES}.halt"
when = "epoch_end"
"""


@pytest.fixture(scope="module")
def schema() -> Any:
    text = importlib.resources.files(loopctl).joinpath("config.schema.json").read_text()
    return json.loads(text)


def write(folder: Path, text: str, suffix: str = ".toml") -> Path:
    path = folder / f"control{suffix}"
    path.write_text(text)
    return path


def test_a_file_means_what_it_says(
    tmp_path: Path, model: keras.Model, data: tuple[Any, Any]
) -> None:
    path = write(tmp_path, TOML)
    config = load_config(path)
    assert (
        repr(config["gate"]["cond"])
        == "(when.batches % 10 < 8) & (when.loss.mean(30) < 1000000000.0)"
    )
    assert config["gate"][True] == {
        "clipping": (-0.1, 0.1),
        "excluded_variables": ["*bias"],
        "gradients": file_config.halved,
    }
    off = config["gate"][False]
    assert off["loss"] is file_config.HUBER
    assert off["variables"] is file_config.kernels
    assert off["optimizer"]["config"] == {"learning_rate": 0.5}
    assert config["late"]["cond"] is file_config.later
    assert repr(config["late"][False]["average"].pop("start")) == "when.epochs >= 2"
    assert config["late"][False].pop("average") == {"decay": 0.9, "into": file_config.last_layer}
    assert repr(off["learning_rate"]["*kernel"]) == "when.linear(1, 0.1, over=20)"
    callback = LoopControllerCallback(config, load_async_config(path))
    model.fit(*data, batch_size=4, epochs=9, verbose=0, callbacks=[callback])
    assert callback.epochs == 2


@pytest.mark.parametrize("suffix", [".toml", ".json", ".yaml"])
def test_round_trip(suffix: str, tmp_path: Path, schema: Any) -> None:
    original = load_config(write(tmp_path, TOML))
    extra = load_async_config(tmp_path / "control.toml")
    original["late"][True]["optimizer"] = keras.optimizers.Adam(0.25)
    original["gate"][False]["loss"] = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    path = tmp_path / f"again{suffix}"
    save_config(original, path, extra)
    config = load_config(path)
    loss = config["gate"][False].pop("loss")
    assert loss.get_config() == original["gate"][False].pop("loss").get_config()
    adam = config["late"][True].pop("optimizer")
    assert (
        keras.optimizers.get(adam).get_config()
        == original["late"][True].pop("optimizer").get_config()
    )
    # Conditions build conditions when compared; their spelling is what counts.
    conditions = [
        (
            repr(c["gate"].pop("cond")),
            repr(c["late"][False]["average"].pop("start")),
            repr(c["gate"][False].pop("loss_weights")),
            repr(c["late"][False].pop("loss_weights")),
            repr(c["late"][True].pop("ascend")),
            repr(c["late"][True].pop("learning_rate")),
            repr(c["gate"][False].pop("learning_rate")),
            repr(c["gate"][False].pop("per_example")),
        )
        for c in (config, original)
    ]
    assert conditions[0] == conditions[1]
    assert config == original
    assert repr(load_async_config(path)["stop"].pop("cond")) == "when.epochs == 2"
    if suffix == ".json":
        jsonschema.validate(json.loads(path.read_text()), schema)


def test_a_moment_of_an_async_action_is_text(tmp_path: Path, schema: Any) -> None:
    stop = {"step": when.every(3) & (when.loss.last() > 9), "callback": file_config.halt}
    extra = {"stop": stop, "end": {**stop, "when": "validation_end", "cond": when.always}}
    del extra["end"]["step"]
    path = tmp_path / "moments.json"
    save_config({"all": {"cond": when.always, True: {}}}, path, extra)
    jsonschema.validate(json.loads(path.read_text()), schema)
    read = load_async_config(path)
    assert repr(read["stop"]["step"]) == "when.every(3) & (when.loss.last() > 9)"
    assert (read["end"]["when"], repr(read["end"]["cond"])) == ("validation_end", "when.always")


@settings(max_examples=settings.default.max_examples // 3)
@given(strategies.setups(strategies.predicate_pairs()))
def test_random_configs_train_the_same_from_a_file(
    tmp_path_factory: pytest.TempPathFactory, setup: strategies.Setup
) -> None:
    path = tmp_path_factory.mktemp("files") / "control.json"
    try:
        save_config(setup.config, path)
    except ConfigError as error:  # a lambda, or a loss that does not tell its settings
        assert "has no name" in str(error) or "Keras does not report" in str(error)  # noqa: PT017
        return
    x, y = setup.data(3)
    weights = []
    for config in (setup.config, load_config(path)):
        model = setup.model()
        callback = LoopControllerCallback(config)
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gate]\ncond = 'batches % 2'\ntrue = {}", "which is a number and not a condition"),
        ("[gate]\ncond = 'every(2)'\ntrue = {cliping = [0, 1]}", "Did you mean 'clipping'?"),
        ("[gate]\ncond = 'every(2)'\ntrue = 3", 'config["gate"][True] is 3: a dict is needed'),
        (f"[gate]\ncond = '{NAMES}.ofen'\ntrue = {{}}", "has no 'ofen'. Did you mean 'often'?"),
        ("[gate]\ncond = 'no_such.often'\ntrue = {}", "there is no module 'no_such'"),
        ("gate = 3", 'config["gate"] is 3: a dict is needed'),
        ("[gate", "Expected ']'"),
        (
            "[gate]\ncond = 'always'\ntrue = {loss = {class_name = 'Hubr', config = {}}}",
            "Did you mean 'huber'?",
        ),
        (
            "[gate]\ncond = 'always'\ntrue = {loss = {class_name = 'Huber', config = 3}}",
            "which Keras can't read",
        ),
        (
            "[gate]\ncond = 'always'\ntrue = {optimizer = {class_name = 'Sdg', config = {}}}",
            "which is not a Keras optimizer",
        ),
    ],
)
def test_errors_name_the_file_and_the_place(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_files_that_are_not_there_or_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"unknown format: allowed are \.toml, \.json"):
        load_config(tmp_path / "none.ini")
    with pytest.raises(ConfigError, match="a table of actions is needed"):
        load_config(write(tmp_path, "[]", ".json"))
    with pytest.raises(ConfigError, match=r"control\.yaml"):
        load_config(write(tmp_path, "a: [", ".yaml"))


@pytest.mark.parametrize("suffix", [".toml", ".json", ".yaml"])
@pytest.mark.parametrize(
    ("key", "made"),
    [
        ("loss", keras.losses.Huber(delta=2.0, reduction="sum")),
        ("loss", keras.losses.CosineSimilarity(axis=1)),
        ("loss", keras.losses.SparseCategoricalCrossentropy(from_logits=True, axis=1)),
        ("optimizer", keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipnorm=1.0)),
        ("learning_rate", keras.optimizers.schedules.CosineDecay(0.1, 100, warmup_steps=3)),
        (
            "optimizer",
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 100), beta_1=0.8),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_settings_are_written_and_read(key: str, made: Any, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"control{suffix}"
    save_config({"gate": {"cond": when.always, True: {key: made}}}, path)
    read = load_config(path)["gate"][True][key]
    read = keras.optimizers.get(read) if key == "optimizer" else read
    assert type(read) is type(made)
    assert read.get_config() == made.get_config()
    assert getattr(read, "_fn_kwargs", None) == getattr(made, "_fn_kwargs", None)


class Forgetful(keras.losses.Loss):
    """Its setting is no part of its config."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        ({"gradients": lambda g, v: g}, 'config["gate"][True]["gradients"] is <function'),
        ({"loss_weights": keras.Variable(1.0, name="v")}, "is the variable 'v', which has no"),
        ({"loss": Forgetful(2.0)}, "whose scale Keras does not report"),
    ],
)
def test_what_has_no_name_is_not_written(branch: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    with pytest.raises(ConfigError) as error:
        save_config({"gate": {"cond": when.always, True: branch}}, path)
    assert message in str(error.value)
    assert not path.exists()


def test_the_schema_knows_every_key(schema: Any) -> None:
    definitions = schema["$defs"]
    assert tuple(definitions["branch"]["properties"]) == BRANCH_KEYS
    assert tuple(definitions["async"]["properties"]) == ASYNC_KEYS
    assert tuple(definitions["async"]["properties"]["when"]["enum"]) == MOMENTS


@pytest.mark.parametrize(
    "document",
    [
        {"gate": {"true": {}}},
        {"gate": {"cond": "every(2)"}},
        {"gate": {"cond": "every(2)", "true": {"clipping": [1]}}},
        {"gate": {"cond": "every(2)", "true": {"clipping": {"nrm": 1}}}},
        {"gate": {"cond": "every(2)", "true": {"repeat": 0}}},
        {"gate": {"cond": "every(2)", "true": {"learning_rate": -0.1}}},
        {"gate": {"cond": "every(2)", "true": {"learning_rate": {}}}},
        {"gate": {"cond": "every(2)", "true": {"loss_weights": []}}},
        {"gate": {"cond": "every(2)", "true": {"optimizer": {}}}},
        {"gate": {"cond": "every(2)", "true": {"ascend": 0}}},
        {"gate": {"cond": "every(2)", "true": {"per_example": {"noise": 1}}}},
        {"gate": {"cond": "every(2)", "true": {"per_example": {"clip": 1}, "ascend": 0.1}}},
        {"gate": {"cond": "every(2)", "true": {"variables": "a", "excluded_variables": "b"}}},
        {"two words": {"cond": "every(2)", "true": {}}},
        {"async": {"stop": {"cond": "every(2)"}}},
        {"async": {"stop": {"model": "a.b"}}},
        {"async": {"stop": {"step": "every(2)", "when": "batch_end", "model": "a.b"}}},
    ],
)
def test_the_schema_refuses_what_loopctl_refuses(
    document: Any, schema: Any, tmp_path: Path
) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
    with pytest.raises(ConfigError):
        load_config(write(tmp_path, json.dumps(document), ".json"))
