"""Runs the examples and compares what they answer with the command: `python check.py RESNET WORK`."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
MODEL = [str(ROOT / "models/cifar10/resnet20.yaml"), str(ROOT / "models/cifar10/resnet20.safetensors")]


def main(resnet, work):
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in (ROOT / "examples/pictures").iterdir() if path.suffix != ".md")
    command = [resnet, "run", MODEL[0], "--weights", MODEL[1], "--top", "1", "--format", "jsonl", "--quiet"]
    said = subprocess.run(command + [str(file) for file in files], check=True, capture_output=True).stdout
    top = [json.loads(line)["top"][0] for line in said.splitlines()]
    expected = [(answer["label"], answer["class"], answer["probability"], None) for answer in top]

    # Many rows, so that engines make several batches, with a null and what is no picture among them.
    count = 40 * (len(files) + 2)
    images = [file.read_bytes() for file in files] + [None, b"no picture"]
    images = [images[row % len(images)] for row in range(count)]
    table = pa.table({"id": pa.array(range(count), pa.int32()), "image": pa.array(images, pa.binary())})
    pictures, answers = work / "pictures.parquet", work / "answers.parquet"
    pq.write_table(table, pictures, row_group_size=100)

    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    for example in sorted(HERE.glob("in_*.py")):
        arguments = [sys.executable, example, pictures, answers, *MODEL]
        # Spark writes a folder, and says much while it does.
        shutil.rmtree(answers) if answers.is_dir() else answers.unlink(missing_ok=True)
        done = subprocess.run(arguments, env=environment, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr
        rows = sorted(pq.read_table(answers).to_pylist(), key=lambda row: row["id"])
        assert [row["id"] for row in rows] == list(range(count)), example
        for row in rows:
            kind = row["id"] % (len(files) + 2)
            answer = row["answer"] and tuple(row["answer"][field] for field in ("label", "class", "probability", "error"))
            if kind == len(files):
                assert answer is None, (example, row)
            elif kind == len(files) + 1:
                assert answer[:3] == (None, None, None) and answer[3].startswith("cannot decode"), (example, row)
            else:
                assert answer == expected[kind], (example, row, expected[kind])
        print(f"{example.name}: {count} rows have the command's answers", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
