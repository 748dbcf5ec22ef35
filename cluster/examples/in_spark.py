"""Classifies the pictures of Parquet files in Spark: `python in_spark.py PICTURES.parquet ANSWERS.parquet MODEL WEIGHTS`."""
import sys

import pyarrow as pa
import resnet
from pyspark.sql import SparkSession

ANSWER = "id int, answer struct<label: string, class: int, probability: double, error: string>"


def main(pictures, answers, model, weights):
    def classify(batches):
        network = resnet.ArrowNetwork(model, weights)  # one a task, on the executor
        for rows in batches:
            answer = pa.array(network.classify(rows["image"]))
            yield pa.RecordBatch.from_arrays([rows["id"], answer], ["id", "answer"])

    spark = SparkSession.builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 64).getOrCreate()
    rows = spark.read.parquet(pictures).mapInArrow(classify, ANSWER)
    rows.write.mode("overwrite").parquet(answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
