"""Classifies the pictures of a Parquet file in Polars: `python in_polars.py PICTURES.parquet ANSWERS.parquet MODEL WEIGHTS`."""
import sys

import polars as pl
import pyarrow as pa
import resnet

ANSWER = pl.Struct({"label": pl.String, "class": pl.Int32, "probability": pl.Float64, "error": pl.String})


def main(pictures, answers, model, weights):
    network = resnet.ArrowNetwork(model, weights)

    def classify(images):
        return pl.Series(pa.array(network.classify(images.to_arrow())))

    answer = pl.col("image").map_batches(classify, return_dtype=ANSWER, is_elementwise=True).alias("answer")
    rows = pl.scan_parquet(pictures).with_columns(answer).drop("image")
    rows.sink_parquet(answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
