"""A model directory's fast path from texts to vectors."""
