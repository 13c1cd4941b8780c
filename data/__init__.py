"""Files that ship with hashlens; found through `indexer.config.data_path`."""
