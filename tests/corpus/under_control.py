"""The steps of this corpus as configs: what is written by hand there, in a few lines here.

Each function takes a step's objectives, as functions of ``(model, data)``, and gives a config for a
model that holds the step's networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl import when
from tests.corpus import ada_match, dp_sgd

Objective = Callable[[Any, Any], Any]
Config = dict[str, Any]


def always(**branch: Any) -> Config:
    """A branch that runs in every step."""
    return {"cond": when.always, True: branch}


def one_objective(objective: Objective) -> Config:
    """All that can be trained, by one objective."""
    return {"learn": always(objective=objective)}


def fixed(network: Any) -> Callable[[Any], Any]:
    """A network through which gradients pass without reaching its weights."""
    weights = [tf.stop_gradient(v) for v in network.trainable_variables]
    kept = [v.value for v in network.non_trainable_variables]
    return lambda x: network.stateless_call(weights, kept, x, training=True)[0]


def accumulation(whole: Objective) -> Config:
    return {"learn": always(objective=whole, accumulate=4)}


def ada_match_(_: Objective) -> Config:
    def adapted(model: Any, data: Any) -> Any:
        weak, strong, label, other_weak, other_strong = data
        every = model.model(tf.concat([weak, strong, other_weak, other_strong], 0), training=True)
        alone = model.model(tf.concat([weak, strong], 0), training=True)
        logits = alone + tf.random.uniform(tf.shape(alone)) * (every[:8] - alone)
        own = tf.nn.softmax(logits[:4])
        sure = tf.nn.softmax(every[8:12])
        sure *= tf.reduce_mean(own, 0) / tf.reduce_mean(sure, 0)
        sure /= tf.reduce_sum(sure, 1, keepdims=True)
        bound = ada_match.TAU * tf.reduce_mean(tf.reduce_max(own, 1))
        counts = tf.cast(tf.reduce_max(sure, 1) >= bound, tf.float32)
        told = tf.reduce_sum(tf.stop_gradient(sure) * tf.nn.log_softmax(every[12:]), 1)
        right = keras.losses.sparse_categorical_crossentropy(label, logits[:4], from_logits=True)
        again = keras.losses.sparse_categorical_crossentropy(label, logits[4:], from_logits=True)
        return {
            "labelled": tf.reduce_mean(right) + tf.reduce_mean(again),
            "guessed": -tf.reduce_mean(told * counts),
        }

    ramp = when.cosine(0, 1, over=ada_match.STEPS / 2, of=when.batches + 7)
    return {"learn": always(objective=adapted, loss_weights={"guessed": ramp})}


def byol(predicted: Objective) -> Config:
    follow = {"decay": 0.99, "into": "teacher", "of": "student"}
    trained = ["student/*", "predictor/*"]
    return {"learn": always(objective=predicted, variables=trained, average=follow)}


def cgan(passed: Objective, told_apart: Objective) -> Config:
    return {
        "judge": always(objective=told_apart, variables="discriminator/*"),
        "forge": always(
            objective=passed, variables="generator/*", optimizer=keras.optimizers.RMSprop(3e-4)
        ),
    }


def ctc(_: Objective) -> Config:
    return {"learn": always(loss=keras.losses.CTC())}


def cyclegan(*_: Objective) -> Config:
    def translated(model: Any, data: Any) -> Any:
        (a, b), to_b, to_a = data, model.a_to_b, model.b_to_a
        fake_a, fake_b = to_a(b, training=True), to_b(a, training=True)
        mean = tf.reduce_mean
        cycle = mean(tf.abs(a - to_a(fake_b))) + mean(tf.abs(b - to_b(fake_a)))
        same = mean(tf.abs(a - to_a(a))) + mean(tf.abs(b - to_b(b)))
        parts = {"cycle": 10.0 * cycle, "same": 5.0 * same}
        for judge, real, fake in ((model.judge_a, a, fake_a), (model.judge_b, b, fake_b)):
            parts[f"pass_{judge.name}"] = mean((1.0 - fixed(judge)(fake)) ** 2)
            on_fake = judge(tf.stop_gradient(fake)) ** 2
            parts[judge.name] = 0.5 * (mean((1.0 - judge(real)) ** 2) + mean(on_fake))
        return parts

    return one_objective(translated)


def dcgan(*_: Objective) -> Config:
    def together(model: Any, data: Any) -> Any:
        """Both gradients are taken before either network is updated."""
        tell, truth = model.discriminator, data
        fake = model.generator(tf.random.normal((tf.shape(truth)[0], 3)), training=True)
        on_real, on_fake = tell(truth, training=True), tell(tf.stop_gradient(fake), training=True)
        told = 0.9 * tf.nn.softplus(-on_real) + 0.1 * tf.nn.softplus(on_real)
        return {
            "told": tf.reduce_mean(told) + tf.reduce_mean(tf.nn.softplus(on_fake)),
            "passed": tf.reduce_mean(tf.nn.softplus(-fixed(tell)(fake))),
        }

    optimizers = {
        "generator/*": keras.optimizers.Adam(1e-3, beta_1=0.5),
        "discriminator/*": keras.optimizers.Adam(1e-4),
    }
    return {"both": always(objective=together, optimizer=optimizers)}


def ddpg(surprise: Objective, blame: Objective) -> Config:
    def followed(name: str) -> Config:
        return {"decay": 0.995, "into": f"target_{name}", "of": name}

    return {
        "judge": always(
            objective=surprise,
            variables="critic/*",
            optimizer=keras.optimizers.Adam(0.002),
            average=followed("critic"),
        ),
        "act": always(
            objective=blame,
            variables="actor/*",
            optimizer=keras.optimizers.Adam(0.001),
            average=followed("actor"),
        ),
    }


def ddpm(denoised: Objective) -> Config:
    follow = {"decay": 0.999, "into": "average", "of": "network"}
    return {"learn": always(objective=denoised, variables="network_*", average=follow)}


def distillation(distilled: Objective) -> Config:
    return {"learn": always(objective=distilled, variables="student/*")}


def dp_sgd_(_: Objective) -> Config:
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    noisy = {"clip": dp_sgd.BOUND, "noise": dp_sgd.NOISE}
    return {"learn": always(loss=crossentropy, per_example=noisy)}


def dqn(surprise: Objective) -> Config:
    return {
        "learn": always(
            objective=surprise,
            variables="online/*",
            clipping={"norm": 1.0},
            average={"decay": 0.995, "into": "target", "of": "online"},
        )
    }


def neural_style(painted: Objective) -> Config:
    return {"paint": always(objective=painted, variables="image")}


def ppo(surrogate: Objective, missed: Objective) -> Config:
    return {
        "act": always(
            objective=surrogate, variables="actor/*", optimizer=keras.optimizers.Adam(3e-4)
        ),
        "judge": always(
            objective=missed, variables="critic/*", optimizer=keras.optimizers.Adam(1e-3)
        ),
    }


def sam(_: Objective) -> Config:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return {"learn": always(loss=loss, ascend=0.05)}


def simsiam(_: Objective) -> Config:
    def apart(told: Any, code: Any) -> Any:
        """Written so that XLA finds a slope where nothing is told: of Keras' cosine it does not."""
        told, code = (tf.math.l2_normalize(z, axis=1) for z in (told, tf.stop_gradient(code)))
        return -tf.reduce_mean(tf.reduce_sum(told * code, axis=1))

    def unlike(model: Any, data: Any) -> Any:
        views = [data + 0.2 * tf.random.normal(tf.shape(data)) for _ in range(2)]
        one, other = (model.encoder(view, training=True) for view in views)
        return (apart(model.predictor(one), other) + apart(model.predictor(other), one)) / 2

    return one_objective(unlike)


def srgan(*_: Objective) -> Config:
    def together(model: Any, data: Any) -> Any:
        (small, large), tell = data, model.discriminator
        made = model.generator(small, training=True)
        on_large, on_made = tell(large), tell(tf.stop_gradient(made))
        content = tf.reduce_mean((model.features(made) - model.features(large)) ** 2)
        told = tf.nn.softplus(-on_large) + tf.nn.softplus(on_made)
        return {
            "content": content,
            "passed": 1e-3 * tf.reduce_mean(tf.nn.softplus(-fixed(tell)(made))),
            "told": tf.reduce_mean(told),
        }

    return {"both": always(objective=together, variables=["generator/*", "discriminator/*"])}


def triplets(stranger_than: Objective) -> Config:
    return {"learn": always(objective=stranger_than, variables=["top/*", "code/*"])}


def wgan_gp(distance: Objective, admired: Objective) -> Config:
    adam = keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.9)
    return {
        "judge": always(objective=distance, variables="critic/*", repeat=2),
        "admire": always(objective=admired, variables="generator/*", optimizer=adam),
    }


CONFIGS: Mapping[str, Callable[..., Config]] = {
    "accumulation": accumulation,
    "actor_critic": one_objective,
    "ada_match": ada_match_,
    "barlow_twins": one_objective,
    "byol": byol,
    "cgan": cgan,
    "ctc": ctc,
    "cyclegan": cyclegan,
    "dcgan": dcgan,
    "ddpg": ddpg,
    "ddpm": ddpm,
    "distillation": distillation,
    "dp_sgd": dp_sgd_,
    "dqn": dqn,
    "maml": one_objective,
    "masked_autoencoder": one_objective,
    "mixup": one_objective,
    "neural_style": neural_style,
    "ppo": ppo,
    "sam": sam,
    "simclr": one_objective,
    "simsiam": simsiam,
    "srgan": srgan,
    "supervised_contrastive": one_objective,
    "triplets": triplets,
    "vae": one_objective,
    "vq_vae": one_objective,
    "wgan_gp": wgan_gp,
}
"""By the name of the step's module."""
