import numpy as np
import pytest

from inalu.task import arithmetic_dataset


def parts(dataset):
    return [dataset.train, dataset.interpolation, dataset.extrapolation]


def test_shapes_ranges_and_targets():
    dataset = arithmetic_dataset(5000)
    for part, (low, high) in zip(parts(dataset), [(-3, 3), (-3, 3), (10, 15)], strict=True):
        assert (part.x.shape, part.x.dtype) == ((5000, 7), np.float32)
        assert (part.y.shape, part.y.dtype) == ((5000, 1), np.float32)
        assert low <= part.x.min() < low + 0.01 < high - 0.01 < part.x.max() <= high
        x = part.x.astype(np.float64).T
        expected = (x[0] - x[1]) * (x[2] - x[3]) + x[4] * x[5]
        np.testing.assert_array_equal(part.y[:, 0], expected.astype(np.float32))


def test_size_of_the_thesis_is_the_default():
    assert len(arithmetic_dataset().train.x) == 64_000


def test_seeded():
    first, again, other = (arithmetic_dataset(10, seed=s) for s in (1, 1, 2))
    for a, b, c in zip(parts(first), parts(again), parts(other), strict=True):
        np.testing.assert_array_equal(a.x, b.x)
        assert (a.x != c.x).all()
    assert (first.train.x != first.interpolation.x).all()


def test_batches_are_full_shuffled_and_repeatable():
    part = arithmetic_dataset(70).train

    def epochs(seed, *numbers):
        batches = part.batches(32, seed=seed)
        found = []
        for number in numbers:
            batches.on_epoch_begin(number)
            found.append([x.numpy() for x, _ in batches.dataset])
        return found

    first, second = epochs(1, 0, 1)
    assert [x.shape for x in first] == [(32, 7)] * 2
    assert not np.array_equal(first[0], second[0])
    np.testing.assert_array_equal(epochs(1, 0, 1), [first, second])
    # As a run does that was killed in its second epoch.
    np.testing.assert_array_equal(epochs(1, 1), [second])
    assert not np.array_equal(epochs(2, 0), [first])
    for x, y in part.batches(32).dataset:
        lookup = {row.tobytes(): answer for row, answer in zip(part.x, part.y, strict=True)}
        np.testing.assert_array_equal(y, [lookup[row.tobytes()] for row in x.numpy()])


def test_an_epoch_at_once_is_what_the_dataset_gives():
    batches = arithmetic_dataset(70).train.batches(32, seed=3)
    batches.on_epoch_begin(2)
    for whole, parts in zip(batches.arrays(), zip(*batches.dataset, strict=True), strict=True):
        np.testing.assert_array_equal(whole, parts)


def test_too_few_samples_for_a_batch():
    with pytest.raises(ValueError, match="10 samples do not fill a batch of 32"):
        arithmetic_dataset(10).train.batches(32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"low": 3.0}, r"\(3.0, 3.0\) is empty"),
        ({"extrapolation_high": 9.0}, r"\(10.0, 9.0\) is empty"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        arithmetic_dataset(**arguments)
