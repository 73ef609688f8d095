"""What a Llama model of a given shape costs: weights, FLOPs of a pass, bytes of activations. Arithmetic only.

A multiplication and an addition count as two FLOPs. Counted are the products of the layers, of attention and
of adapters, and the head only where its rows are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Geometry"]


@dataclass(frozen=True)
class Geometry:
    """A Llama model; the defaults are LLaMA-2-7B.

    >>> f"{Geometry().parameters:,}"
    '6,738,415,616'
    """

    hidden: int = 4096
    layers: int = 32
    ffn: int = 11008
    vocabulary: int = 32_000

    @property
    def layer_products(self) -> int:
        """Weights that every token is multiplied with: four of attention, three of the MLP, in each layer."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)

    @property
    def parameters(self) -> int:
        """All weights: embedding and head, too, and two norms a layer and one at the end."""
        return self.layer_products + 2 * self.vocabulary * self.hidden + (2 * self.layers + 1) * self.hidden

    def lora_parameters(self, rank: int, projections: int) -> int:
        """Weights of adapters on seven projections, or on six (without ``k_proj``)."""
        attention = (projections - 3) * (self.hidden + self.hidden)
        return self.layers * rank * (attention + 3 * (self.hidden + self.ffn))

    def attention_flops(self, length: int | float) -> float:
        """Per token, forward: scores and sums over half of ``length`` positions on average, in each layer."""
        return 2 * length * self.hidden * self.layers

    def forward_flops(self, texts: float, length: float) -> float:
        """Forward pass over ``texts`` texts of ``length`` tokens, without the head."""
        return texts * length * (2 * self.layer_products + self.attention_flops(length))

    def full_training_flops(self, texts: float, length: float, *, heads: int = 0) -> float:
        """Forward, forward recomputed, backward of twice the forward; ``heads`` rows of logits a text."""
        head = texts * heads * 6 * self.hidden * self.vocabulary
        return 4 * self.forward_flops(texts, length) + head

    def lora_training_flops(self, texts: float, length: float, *, forwards: int, adapters: int) -> float:
        """``forwards`` passes forward and one backward, which needs no gradient of the frozen weights.

        ``forwards`` is 1, and one more each for GradCache and for recomputed activations.
        """
        tokens = texts * length
        frozen = tokens * 2 * self.layer_products * (forwards + 1)
        attention = tokens * self.attention_flops(length) * (forwards + 2)
        return frozen + attention + tokens * adapters * (2 * forwards + 4)

    def activation_bytes(self, projections: int) -> int:
        """Estimate for one token in one layer, bfloat16, fused attention, nothing recomputed.

        Two norms keep 6 bytes a number each (a float32 copy, and the scaled one); attention its q, k, v and
        output; the MLP three products. Adapters on ``projections`` layers keep their input after dropout and
        the mask, 3 bytes a number; without any (0), all weights are trained and keep their inputs.
        """
        kept = 2 * 6 * self.hidden + 4 * 2 * self.hidden + 3 * 2 * self.ffn
        if projections == 0:
            return kept + 2 * 2 * self.hidden + 2 * self.ffn
        return kept + (projections - 1) * 3 * self.hidden + 3 * self.ffn
