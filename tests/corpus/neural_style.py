"""Neural style: an image is trained to have the content of one and the style of another."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.corpus.case import Case, built, images

FAULTS = {
    "weight of the style": "gradient of painted\n     found    another gradient: image",
    "style of the content": "gradient of painted\n     found    another gradient: image",
    "features for Gram matrices": "gradient of painted\n     found    another gradient: image",
    "deep style forgotten": "gradient of painted\n     found    another gradient: image",
    "variation forgotten": "gradient of painted\n     found    another gradient: image",
    "network trained": "too many: deep/bias, deep/kernel, shallow/bias, shallow/kernel",
    "rate stands": "learning_rate is 0.1, expected ",
}


def case(wrong: str = "") -> Case:
    """The step, with one fault."""
    seen = keras.Input((4, 4, 2))
    shallow = keras.layers.Conv2D(2, 3, padding="same", activation="tanh", name="shallow")(seen)
    deep = keras.layers.Conv2D(3, 3, padding="same", activation="tanh", name="deep")(shallow)
    network = keras.Model(seen, [shallow, deep], name="network")
    image = keras.Variable(tf.zeros((1, 4, 4, 2)), name="image")
    weights = [image, *network.trainable_variables] if wrong == "network trained" else [image]
    slower = keras.optimizers.schedules.ExponentialDecay(0.1, 100, 0.96)
    rate = 0.1 if wrong == "rate stands" else slower
    optimizer = built(keras.optimizers.SGD(rate), weights)

    def gram(x: Any) -> Any:
        flat = tf.reshape(tf.transpose(x, (2, 0, 1)), (x.shape[-1], -1))
        return flat if wrong == "features for Gram matrices" else flat @ tf.transpose(flat)

    def styled(style: Any, made: Any) -> Any:
        size, channels = 16, made.shape[-1]
        return tf.reduce_sum((gram(style) - gram(made)) ** 2) / (4.0 * channels**2 * size**2)

    def variation(x: Any) -> Any:
        a = tf.square(x[:, :3, :3] - x[:, 1:, :3])
        b = tf.square(x[:, :3, :3] - x[:, :3, 1:])
        return tf.reduce_sum((a + b) ** 1.25)

    @tf.function
    def step(content: Any, style: Any) -> None:
        with tf.GradientTape() as tape:
            every = network(tf.concat([content, style, image], axis=0))
            cost = 0.025 * tf.reduce_sum((every[1][2] - every[1][0]) ** 2)
            layers = every[:1] if wrong == "deep style forgotten" else every
            weight = 1.0 if wrong == "weight of the style" else 0.1
            for features in layers:
                like = features[0 if wrong == "style of the content" else 1]
                cost += weight / 2.0 * styled(like, features[2])
            if wrong != "variation forgotten":
                cost += 1e-2 * variation(image)
        optimizer.apply(tape.gradient(cost, weights), weights)

    def painted(content: Any, style: Any) -> Any:
        now, truth, model = network(image), network(content), network(style)
        value = tf.nn.l2_loss(now[1] - truth[1]) / 20.0
        for mine, wanted in zip(now, model, strict=True):
            mine, wanted = (tf.einsum("bijc,bijd->cd", x, x) for x in (mine, wanted))
            value += tf.reduce_mean((mine - wanted) ** 2) / (4.0 * 16.0**2) * 0.05
        down, across = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
        slopes = down[:, :, :-1] ** 2 + across[:, :-1] ** 2
        return value + tf.reduce_sum(slopes**1.25) / 100.0

    one = images(1, 4, 2)
    return Case(
        step,
        (one, one),
        {
            "objective": painted,
            "optimizer": keras.optimizers.SGD(slower),
            "watched": "image",
            "clipping": None,
        },
    )
