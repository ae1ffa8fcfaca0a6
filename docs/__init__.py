"""The pages, the measurements behind their figures, and what writes the ones from the others."""
