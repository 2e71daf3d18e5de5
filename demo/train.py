"""Train the classifier whose weights the demo restores: python demo/train.py.

A plain Keras model, saved with plain numpy: initreg takes no part, as with weights that somebody
else saved. The seed is fixed; the same versions of TensorFlow and Keras give the same weights.
"""

from __future__ import annotations

import digits
import numpy as np

with digits.hush():
    import keras
    import tensorflow as tf

EPOCHS = 40
BATCH = 64


def main() -> None:
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    x, y, x_test, y_test = digits.load()
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(64, "relu", name="hidden1")(inputs)
    hidden = keras.layers.Dense(32, "relu", name="hidden2")(hidden)
    model = keras.Model(inputs, keras.layers.Dense(10, name="head")(hidden))
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)

    arrays = {variable.path: np.asarray(variable) for variable in model.weights}
    steps = EPOCHS * -(-len(x) // BATCH)
    digits.WEIGHTS.parent.mkdir(exist_ok=True)
    np.savez(digits.WEIGHTS, **arrays, global_step=np.int64(steps))
    print(f"{digits.WEIGHTS}: {', '.join(arrays)}; accuracy on unseen digits {accuracy:.1%}")


if __name__ == "__main__":
    main()
