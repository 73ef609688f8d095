"""Models that compare by dot product are evaluated so, with vectors of any length; none is searched with."""

import numpy as np
import pytest

from llara.corpus import Document
from llara.datasets import Collection
from llara.errors import ModelError
from llara.evaluate import Asked, evaluate

TEXTS = ["wing", "wing of a slab", "heat slab flow shear", "nozzle nozzle", "flow", "slipstream wing heat"]
COLLECTION = Collection(
    "words",
    {f"d{n}": Document(f"d{n}", text) for n, text in enumerate(TEXTS)},
    {"q1": "wing flow", "q2": "heat of the nozzle"},
    {"q1": {"d0": 1}, "q2": {"d3": 1}},
)


def compares_by(retriever, similarity):
    retriever.model.similarity_fn_name = similarity
    retriever.model.save(str(retriever.path))
    return str(retriever.path)


def mean_vectors(retriever, texts):
    """As the model makes them: not of length 1."""
    ids = [[retriever.words.index(word) for word in text.split()] for text in texts]
    return np.array([retriever.word_vectors[each].astype(np.float64).mean(axis=0) for each in ids])


def test_a_dot_product_model_ranks_by_dot_products(other_retriever):
    model = compares_by(other_retriever, "dot")
    [found] = evaluate(models=[model], datasets=[COLLECTION], asked=Asked(depth=10))
    queries = mean_vectors(other_retriever, [f"next: {text}" for text in COLLECTION.queries.values()])
    documents = mean_vectors(other_retriever, TEXTS)
    lengths = np.linalg.norm(documents, axis=1)
    assert lengths.max() > 1.5 * lengths.min()
    for query, products in zip(COLLECTION.queries, queries @ documents.T, strict=True):
        expected = dict(zip(COLLECTION.corpus, products, strict=True))
        assert found.run[query] == pytest.approx(expected, abs=1e-5)
        assert list(found.run[query]) == sorted(expected, key=expected.__getitem__, reverse=True)
    assert found.settings["similarity"] == "dot"


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_a_model_that_compares_by_distances_is_refused_with_the_reason(other_retriever, similarity):
    with pytest.raises(ModelError, match=f"compares by {similarity}"):
        evaluate(models=[compares_by(other_retriever, similarity)], datasets=[COLLECTION])
