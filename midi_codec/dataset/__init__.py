"""The dataset on disk: records, TFRecord files and `dataset_info.json`, with writer and reader in one module."""
