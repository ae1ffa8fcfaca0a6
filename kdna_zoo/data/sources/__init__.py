"""Opening a data set: folders of images, parquet files, the Hub."""
