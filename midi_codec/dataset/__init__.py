"""The dataset on disk: records, TFRecord files and `dataset_info.json`, each writer beside its reader."""
