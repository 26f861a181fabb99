"""`python -m beam_pipelines.inspect`: what is in a dataset, as text, JSON or a page."""
