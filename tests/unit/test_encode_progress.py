"""How far an encoding is: told of each batch, and not only of windows of thousands of texts."""

import numpy as np
import pytest
from tiny import SENTENCES

from llara.encoder import Encoder
from llara.model import MINI


@pytest.fixture(scope="module")
def encoder():
    return Encoder(MINI, device="cpu", dtype="float32")


def test_each_batch_is_told_as_it_is_done(encoder):
    texts = [" ".join(SENTENCES[:length]) for length in (1, 4, 2, 5, 3)]
    told: list[int] = []
    windows = encoder.path.vectors(texts, "document", most_texts=2, tick=told.append)
    vectors = np.concatenate(list(windows))
    assert told == [2, 2, 1]
    assert vectors.shape == (5, encoder.dimension)
