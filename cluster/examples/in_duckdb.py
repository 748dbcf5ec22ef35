"""Classifies the pictures of a Parquet file in DuckDB: `python in_duckdb.py PICTURES.parquet ANSWERS.parquet MODEL WEIGHTS`."""
import sys

import duckdb
import pyarrow as pa
import resnet

ANSWER = "STRUCT(label VARCHAR, class INTEGER, probability DOUBLE, error VARCHAR)"


def main(pictures, answers, model, weights):
    network = resnet.ArrowNetwork(model, weights)

    def classify(images):
        return pa.array(network.classify(images.combine_chunks()))

    connection = duckdb.connect()
    connection.create_function(
        "resnet_classify", classify, ["BLOB"], ANSWER, type="arrow", null_handling="special"
    )
    query = "SELECT * EXCLUDE image, resnet_classify(image) AS answer FROM read_parquet(?)"
    connection.execute(f"COPY ({query}) TO '{answers}' (FORMAT parquet)", [pictures])


if __name__ == "__main__":
    main(*sys.argv[1:])
