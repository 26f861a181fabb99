"""The dataset folder: shards, ledgers, `dataset_info.json`."""
