"""Pieces for other programs: Parquet files with a data-set card, in the layout of the Hugging Face Hub."""
