"""Read by schemathesis: what strings of our own format look like."""

import schemathesis
from hypothesis import strategies

FILTERS = ["year > 2000", "id == 'topic-1' or year < 1995", 'title != "x"', "year not in [1990, 1991]"]

schemathesis.openapi.format("llara-filter", strategies.sampled_from(FILTERS))
