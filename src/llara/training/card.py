"""What the README of every trained model says of its use."""

from __future__ import annotations

from llara.prompts import get_preset

__all__ = ["how_to_use"]

_STOCK = """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("this directory")"""

_OURS = """import llara  # has the code for this model's prompts

model = llara.load("this directory")"""


def how_to_use(preset: str) -> str:
    """Markdown with the Python to encode by: a model whose prompts no chat template can write needs llara."""
    return f"""```python
{_STOCK if get_preset(preset).joined else _OURS}
queries = model.encode_query(["who wrote it?"])          # NEXT prompt
documents = model.encode_document(["It was written by ..."])  # SELF prompt
print(model.similarity(queries, documents))
```

It is still a causal language model (`AutoModelForCausalLM`)."""
